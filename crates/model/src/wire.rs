//! How the processes of one installation talk: over Unix sockets, in frames of a length (4 bytes, big endian) and that
//! many bytes of JSON. Both sides say [`Hello`] first; a side that does not know the other's version hangs up.

use crate::{ChangeId, Evidence, ProxyReport, RouteTable, Span, Time};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of the messages below. Raised when a change would not be understood by the older side.
pub const VERSION: u32 = 1;

/// The longest frame: 16 MiB.
pub const MAX_FRAME: usize = 16 << 20;

/// The first message of either side.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The sender's [`VERSION`].
    pub version: u32,
    /// The sender's process id.
    pub pid: u32,
    /// When the sender started.
    pub started: Time,
    /// Which build of this program it is; empty when it is too old to say. Only whether two are the same means anything.
    #[serde(default)]
    pub build: String,
}

/// From `qd serve` to `qd proxy`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToProxy {
    /// First message.
    Hello(Hello),
    /// Obey this table, unless it is older than the one in force.
    SetRoutes(RouteTable),
    /// Accept no more connections, let those in flight end for at most this long, then exit.
    Shutdown(Span),
}

/// From `qd proxy` to `qd serve`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromProxy {
    /// First message.
    Hello(Hello),
    /// Everything counted so far. Sent when a table was taken, when something is in flight or changed, and at least once a second.
    Report(ProxyReport),
    /// A guard tripped just now: its canary gets no more requests.
    Tripped {
        /// The guard's change.
        change: ChangeId,
        /// The evidence, with its verdict.
        evidence: Evidence,
    },
}

/// Why bytes could not be read as a message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The length is above [`MAX_FRAME`].
    #[error("a frame of {0} bytes is longer than the {MAX_FRAME} allowed")]
    TooLong(usize),
    /// The frame is not a message of the expected type.
    #[error("a frame is not the message expected here")]
    Malformed(#[source] serde_json::Error),
}

/// A message as a frame.
///
/// # Errors
/// When it is longer than [`MAX_FRAME`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Error> {
    let body = serde_json::to_vec(message).map_err(Error::Malformed)?;
    if body.len() > MAX_FRAME {
        return Err(Error::TooLong(body.len()));
    }
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// Reads frames out of a stream of bytes, however they are cut.
#[derive(Default, Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Takes what was read. Holds at most one frame and what came with it.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one.
    ///
    /// # Errors
    /// When a frame is too long or not a `T`. The stream is of no use after that.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let Some(head) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length > MAX_FRAME {
            return Err(Error::TooLong(length));
        }
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        let message = serde_json::from_slice(&self.buffer[4..4 + length]).map_err(Error::Malformed)?;
        self.buffer.drain(..4 + length);
        Ok(Some(message))
    }
}
