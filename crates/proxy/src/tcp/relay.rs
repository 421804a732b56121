//! Bytes both ways until both sides are done: read and written by turns in each direction, so that they come at the pace of
//! the slower side. A direction that waits has no buffer, one that is under way has one.
//!
//! When one side has said its last, the other is told, and may go on.

use super::reset;
use crate::{
    buffers::{Buffer, Buffers},
    lifeline::{Leaving, Lifeline, Overdue},
    tally::Outcome,
    ticket::Ticket,
    upstream::Socket,
    worker::Worker,
};
use std::{
    future::poll_fn,
    io, mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// Carries a connection until it ends, and counts how.
///
/// It is answered with the first bytes that come from the instance. One that ends without them is answered, too, if the
/// client was done first: there are protocols in which nothing ever comes back.
pub(super) async fn carry(worker: &Rc<Worker>, client: TcpStream, instance: Socket, ticket: Ticket) {
    let idle = ticket.bounds().idle_timeout.value.duration();
    let lifeline = Lifeline::new(idle, Leaving::Spread(worker.random.next()));
    let buffers = Rc::clone(&worker.buffers);
    let mut pair = Pair { client, instance, up: Flow::default(), down: Flow::default(), ticket, lifeline, buffers };
    let end = poll_fn(|cx| pair.poll(cx)).await;
    pair.finish(&end);
}

/// The two sides of a connection.
struct Pair {
    client: TcpStream,
    instance: Socket,
    /// From the client to the instance.
    up: Flow,
    /// From the instance to the client.
    down: Flow,
    ticket: Ticket,
    lifeline: Lifeline,
    buffers: Rc<Buffers>,
}

/// How a connection ended.
enum End {
    /// Both sides were done.
    InOrder,
    /// The client was gone.
    ClientBroke,
    /// The instance was gone.
    InstanceBroke,
    /// It was ended here.
    Overdue(Overdue),
}

impl Pair {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let down = self.down.poll(cx, &self.buffers, &mut self.instance, &mut self.client);
        self.count();
        let has_said_all = match down {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(Broken::Reading)) => return Poll::Ready(End::InstanceBroke),
            Poll::Ready(Err(Broken::Writing)) => return Poll::Ready(End::ClientBroke),
            Poll::Pending => false,
        };
        let up = self.up.poll(cx, &self.buffers, &mut self.client, &mut self.instance);
        if let Some(at) = self.up.heard_at.take().filter(|_| self.down.read == 0) {
            self.ticket.asked(at);
        }
        match (up, has_said_all) {
            (Poll::Ready(Ok(())), true) if self.up.stage == Stage::Broken => return Poll::Ready(End::InstanceBroke),
            // It was done, and is gone: what the client still says is no matter.
            (Poll::Ready(Ok(()) | Err(Broken::Writing)), true) => return Poll::Ready(End::InOrder),
            (Poll::Ready(Err(Broken::Reading)), _) => return Poll::Ready(End::ClientBroke),
            // What it had said before it was gone has still to arrive.
            (Poll::Ready(Ok(()) | Err(Broken::Writing)) | Poll::Pending, _) => {}
        }
        if mem::take(&mut self.up.moved) | mem::take(&mut self.down.moved) {
            self.lifeline.touch();
        }
        match self.ticket.upstream() {
            Some(upstream) => self.lifeline.poll(cx, upstream).map(End::Overdue),
            None => Poll::Pending,
        }
    }

    /// Counts the connection as soon as it is clear as what.
    fn count(&mut self) {
        if self.down.read > 0 {
            self.ticket.settle(Outcome::Answered);
        } else if self.down.has_ended() && !self.up.has_ended() {
            // It hung up on a client that it had told nothing.
            self.ticket.settle(Outcome::Reset);
        }
    }

    fn finish(mut self, end: &End) {
        match end {
            End::InOrder => return self.ticket.settle(Outcome::Answered),
            End::InstanceBroke => self.ticket.settle(Outcome::Reset),
            // Counted when the ticket is dropped, if it was not answered.
            End::ClientBroke => {}
            // A client that has asked for nothing is owed no answer.
            End::Overdue(Overdue::Silent) if self.up.read == 0 => {}
            End::Overdue(Overdue::Silent) => self.ticket.settle(Outcome::Timeout),
            End::Overdue(Overdue::Drained) => self.ticket.cut(),
        }
        reset(&self.client);
        self.instance.reset();
    }
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// What was read and is not written yet.
    held: Option<Buffer>,
    stage: Stage,
    /// How many bytes were read.
    read: u64,
    /// Whether there was nothing to read the last time.
    waits: bool,
    /// When something came last, bytes or the end, that had been waited for.
    heard_at: Option<Instant>,
    /// Whether bytes have moved since this was last looked at.
    moved: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    /// More may come.
    #[default]
    Open,
    /// The end has come and is to be passed on.
    Ended,
    /// It was passed on.
    Over,
    /// Nobody takes anything any more.
    Broken,
}

/// What failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Broken {
    Reading,
    Writing,
}

impl Flow {
    /// Moves what can be moved. Ready when all of it has gone to its end.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Rc<Buffers>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), Broken>> {
        loop {
            if ready!(self.poll_write(cx, to)).is_err() {
                (self.stage, self.held) = (Stage::Broken, None);
                return Poll::Ready(Err(Broken::Writing));
            }
            match self.stage {
                Stage::Open => {
                    if ready!(self.poll_read(cx, buffers, from)).is_err() {
                        return Poll::Ready(Err(Broken::Reading));
                    }
                }
                // Everything was written: `poll_write` has passed the end on, too.
                Stage::Ended => self.stage = Stage::Over,
                Stage::Over | Stage::Broken => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Writes what is held, and the end behind it.
    fn poll_write(&mut self, cx: &mut Context<'_>, to: &mut (impl AsyncWrite + Unpin)) -> Poll<io::Result<()>> {
        while let Some(held) = self.held.as_mut().filter(|held| !held.is_empty()) {
            match ready!(Pin::new(&mut *to).poll_write(cx, held.filled()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => held.consume(written),
            }
            self.moved = true;
        }
        self.held = None;
        match self.stage {
            Stage::Ended => Pin::new(to).poll_shutdown(cx),
            Stage::Open | Stage::Over | Stage::Broken => Poll::Ready(Ok(())),
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Rc<Buffers>,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<()>> {
        let mut buffer = buffers.take();
        let Poll::Ready(read) = buffer.poll_fill(cx, Pin::new(from)) else {
            self.waits = true;
            return Poll::Pending;
        };
        match read? {
            0 => self.stage = Stage::Ended,
            read => {
                self.read += read as u64;
                self.held = Some(buffer);
            }
        }
        self.moved = true;
        if mem::take(&mut self.waits) {
            self.heard_at = Some(Instant::now());
        }
        Poll::Ready(Ok(()))
    }

    /// Whether nothing more comes.
    fn has_ended(&self) -> bool {
        match self.stage {
            Stage::Open | Stage::Broken => false,
            Stage::Ended | Stage::Over => true,
        }
    }
}
