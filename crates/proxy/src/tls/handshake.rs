//! How a connection with TLS begins: bounded in time and in number, and told plainly when it does not.

use super::{Plane, acme::PROTOCOL};
use crate::{connection::linger, stream::Stream, worker::Worker};
use std::{cell::RefCell, collections::BTreeMap, io, rc::Rc};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::Notify, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// The answer to a request that was sent in clear: browsers show it, and programs log it.
const SENT_IN_CLEAR: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    connection: close\r\ncontent-length: 91\r\n\r\n\
    400 Bad Request\n\nThis port speaks HTTPS, and the request came in clear. Use https:// here.\n";

/// Makes a connection one with TLS. `None`: that failed, or came to nothing, and the connection is over.
pub(crate) async fn meet(worker: &Rc<Worker>, plane: &Plane, mut stream: TcpStream) -> Option<Stream> {
    let limits = &worker.shared.limits;
    let place = worker.handshakes.enter(limits.handshakes);
    if place.is_anothers
        && let Some(withheld) = worker.handshakes_full.pass()
    {
        tracing::warn!(
            limit = limits.handshakes,
            withheld,
            "as many TLS handshakes are under way as one worker may have; the one that takes longest was given up for a new one"
        );
    }
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
    let met = tokio::select! {
        met = met => met,
        () = place.given_up.notified() => return None,
    };
    match met {
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

/// The handshakes that are under way in one thread, in the order in which they have begun. When there is no room for another one, the
/// oldest is given up: whoever holds all places and does nothing with them would otherwise keep everybody out.
#[derive(Default)]
pub(crate) struct Room(Rc<RefCell<Places>>);

#[derive(Default)]
struct Places {
    begun: u64,
    under_way: BTreeMap<u64, Rc<Notify>>,
}

impl Room {
    /// One more, until what it gives is dropped.
    fn enter(&self, limit: u32) -> Place {
        let mut places = self.0.borrow_mut();
        let mut is_anothers = false;
        while places.under_way.len() >= limit.max(1) as usize
            && let Some((_, oldest)) = places.under_way.pop_first()
        {
            oldest.notify_one();
            is_anothers = true;
        }
        places.begun += 1;
        let (number, given_up) = (places.begun, Rc::<Notify>::default());
        places.under_way.insert(number, Rc::clone(&given_up));
        Place { places: Rc::clone(&self.0), number, given_up, is_anothers }
    }
}

/// One handshake.
struct Place {
    places: Rc<RefCell<Places>>,
    number: u64,
    /// Told when a newer one needs the place.
    given_up: Rc<Notify>,
    /// Whether an older one was given up for it.
    is_anothers: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.borrow_mut().under_way.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    #[test]
    fn room_is_made_by_whoever_leaves_or_else_by_the_oldest() {
        let room = Room::default();
        let (first, second) = (room.enter(2), room.enter(2));
        let is_told = |place: &Place| {
            let told = pin!(place.given_up.notified());
            told.poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        drop(first);
        let third = room.enter(2);
        assert!(!third.is_anothers && !is_told(&second));
        let fourth = room.enter(2);
        assert!(fourth.is_anothers && is_told(&second) && !is_told(&third) && !is_told(&fourth));
        drop(second);
        assert_eq!(room.0.borrow().under_way.len(), 2);
        drop((third, fourth));
        assert!(room.0.borrow().under_way.is_empty());
    }

    #[test]
    fn the_answer_in_clear_says_its_length() {
        let (head, body) = SENT_IN_CLEAR.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
