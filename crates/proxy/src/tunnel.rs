//! Connections that have switched to another protocol, such as WebSocket: bytes in both directions until one side is
//! done, both are silent for too long, or the instance is drained.

use crate::{
    client_io::Busy,
    connection::Client,
    lifeline::{Lifeline, Overdue},
    ticket::Ticket,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::{future::poll_fn, io, pin::pin, rc::Rc, task::Poll, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    sync::Notify,
    time::timeout,
};

/// How much is read at a time, in each direction.
const CHUNK: usize = 8 << 10;

/// How long the two sides may take to switch, once both have agreed to.
const SWITCH: Duration = Duration::from_secs(10);

/// Carries a switched connection until it ends. Its ticket has been settled: the answer was the switch. Until it ends its
/// client owes us no further request.
pub(crate) async fn carry(
    client: Rc<Client>,
    downstream: OnUpgrade,
    upstream: OnUpgrade,
    mut ticket: Ticket,
    mut lifeline: Lifeline,
) {
    let _busy = Busy::new(client.pace());
    let both = async { tokio::try_join!(downstream, upstream) };
    let Ok(Ok((downstream, upstream))) = timeout(SWITCH, both).await else { return };
    let (from_client, to_client) = split(TokioIo::new(downstream));
    let (from_instance, to_instance) = split(TokioIo::new(upstream));
    let moved = Notify::new();
    let mut relayed = pin!(async {
        tokio::try_join!(relay(from_client, to_instance, &moved), relay(from_instance, to_client, &moved))
    });
    let mut progress = pin!(moved.notified());
    let overdue = poll_fn(|cx| {
        if relayed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        while progress.as_mut().poll(cx).is_ready() {
            progress.set(moved.notified());
            lifeline.touch();
        }
        match ticket.upstream() {
            Some(upstream) => lifeline.poll(cx, upstream).map(Some),
            None => Poll::Pending,
        }
    })
    .await;
    match overdue {
        Some(Overdue::Drained) => ticket.cut(),
        Some(Overdue::Silent) | None => {}
    }
}

async fn relay(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, moved: &Notify) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk).await? {
            0 => return to.shutdown().await,
            n => to.write_all(chunk.get(..n).unwrap_or_default()).await?,
        }
        moved.notify_one();
    }
}
