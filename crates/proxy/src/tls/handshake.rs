//! How a connection with TLS begins: bounded in time and in number, and told plainly when it does not.

use super::{Plane, acme::PROTOCOL};
use crate::{connection::linger, stream::Stream, worker::Worker};
use std::{cell::Cell, io, rc::Rc};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// The answer to a request that was sent in clear: browsers show it, and programs log it.
const SENT_IN_CLEAR: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    connection: close\r\ncontent-length: 91\r\n\r\n\
    400 Bad Request\n\nThis port speaks HTTPS, and the request came in clear. Use https:// here.\n";

/// Makes a connection one with TLS. `None`: that failed, or came to nothing, and the connection is over.
pub(crate) async fn meet(worker: &Rc<Worker>, plane: &Plane, mut stream: TcpStream) -> Option<Stream> {
    let limits = &worker.shared.limits;
    let Some(_place) = worker.handshakes.enter(limits.handshakes) else {
        if let Some(withheld) = worker.handshakes_full.pass() {
            tracing::warn!(
                limit = limits.handshakes,
                withheld,
                "as many TLS handshakes are under way as one worker may have; a new connection was closed"
            );
        }
        return None;
    };
    let met = timeout(limits.handshake, async {
        // Not to be taken for garbage by both sides: a request in clear is a common mistake.
        if starts_like_a_request(&stream).await? {
            worker.counts.refused.increment();
            stream.write_all(SENT_IN_CLEAR.as_bytes()).await?;
            linger(Stream::Clear(stream)).await;
            return io::Result::Ok(None);
        }
        let config =
            plane.now().config.clone().ok_or_else(|| io::Error::other("there is no certificate to present"))?;
        let mut stream = TlsAcceptor::from(config).accept(stream).await?;
        // Who speaks this has seen what it looked for, and says nothing.
        if stream.get_ref().1.alpn_protocol() == Some(PROTOCOL) {
            stream.shutdown().await?;
            return Ok(None);
        }
        Ok(Some(stream))
    });
    match met.await {
        Ok(Ok(met)) => met.map(|stream: TlsStream<TcpStream>| Stream::Secured(Box::new(stream))),
        // Whoever only looked whether the port is open has done nothing wrong.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => None,
        Ok(Err(error)) => {
            if let Some(withheld) = worker.handshakes_failed.pass() {
                tracing::info!(%error, withheld, "a TLS handshake failed");
            }
            None
        }
        Err(_) => None,
    }
}

/// Whether the first byte is a letter, as of `GET` or `POST`. TLS begins with the byte 22.
async fn starts_like_a_request(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic())
}

/// How many handshakes are under way in one thread.
#[derive(Default)]
pub(crate) struct Room(Rc<Cell<u32>>);

impl Room {
    /// One more, until what it gives is dropped. `None`: there are as many as there may be.
    fn enter(&self, limit: u32) -> Option<Place> {
        let taken = self.0.get();
        (taken < limit).then(|| {
            self.0.set(taken + 1);
            Place(Rc::clone(&self.0))
        })
    }
}

/// One handshake.
struct Place(Rc<Cell<u32>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_by_whoever_leaves() {
        let room = Room::default();
        let first = room.enter(2);
        let _second = room.enter(2);
        assert!(first.is_some() && room.enter(2).is_none());
        drop(first);
        assert!(room.enter(2).is_some());
    }

    #[test]
    fn the_answer_in_clear_says_its_length() {
        let (head, body) = SENT_IN_CLEAR.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
