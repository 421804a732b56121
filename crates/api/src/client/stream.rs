//! Answers that go on: events and logs.

use super::{Error, connection::Answer};
use crate::message::Line;
use bytes::{Bytes, BytesMut};
use model::Seq;
use std::time::Duration;
use tokio::time::timeout;

/// The longest event, in bytes. An entry has at most 64 KiB.
const MAX_EVENT: usize = 1 << 20;
/// How long an event stream may be silent: several times the interval in which the server says that it is there.
const SILENCE: Duration = Duration::from_secs(60);

/// What is recorded, as it is recorded. When it ends or fails, ask again from [`Events::next_seq`] on.
#[derive(Debug)]
pub struct Events {
    answer: Answer,
    unread: BytesMut,
    next_seq: Option<Seq>,
}

impl Events {
    pub(super) fn new(answer: Answer) -> Events {
        Events { answer, unread: BytesMut::new(), next_seq: None }
    }

    /// The next entry, however long it takes; `None` when the server ends the stream, as it does when it stops.
    pub async fn next(&mut self) -> Option<Result<Line, Error>> {
        loop {
            if let Some(event) = self.take_event() {
                match parse(&event) {
                    Some(Ok(line)) => {
                        self.next_seq = Some(Seq(line.seq.0 + 1));
                        return Some(Ok(line));
                    }
                    Some(Err(source)) => {
                        return Some(Err(Error::Answer { address: self.answer.address().to_owned(), source }));
                    }
                    None => continue,
                }
            }
            if self.unread.len() > MAX_EVENT {
                return Some(Err(Error::TooLong { address: self.answer.address().to_owned(), limit: MAX_EVENT }));
            }
            match timeout(SILENCE, self.answer.chunk()).await {
                Ok(Some(Ok(chunk))) => self.unread.extend_from_slice(&chunk),
                Ok(Some(Err(error))) => return Some(Err(error)),
                Ok(None) => return None,
                Err(_) => {
                    return Some(Err(Error::Timeout { address: self.answer.address().to_owned(), waited: SILENCE }));
                }
            }
        }
    }

    /// Where to go on after the last entry that was read; `None` before the first.
    pub fn next_seq(&self) -> Option<Seq> {
        self.next_seq
    }

    /// A whole event, without the empty line that ends it.
    fn take_event(&mut self) -> Option<Bytes> {
        let end = self.unread.windows(2).position(|two| two == b"\n\n")?;
        let event = self.unread.split_to(end + 2).freeze();
        Some(event.slice(..end))
    }
}

/// The entry an event carries; nothing when it is a comment.
fn parse(event: &[u8]) -> Option<Result<Line, serde_json::Error>> {
    let data = event.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data: "))?;
    Some(serde_json::from_slice(data))
}

/// Captured output, as it comes.
#[derive(Debug)]
pub struct Logs(Answer);

impl Logs {
    pub(super) fn new(answer: Answer) -> Logs {
        Logs(answer)
    }

    /// The next part, however long it takes; `None` at the end. Parts may end within a line.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        self.0.chunk().await
    }
}
