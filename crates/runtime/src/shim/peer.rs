//! The shim's side of its connections.

use super::protocol::{Handover, Status, ToShim};
use crate::{Error, layout};
use model::wire;
use rustix::{fs::Mode, process};
use std::{
    io::{self, Read as _, Write as _},
    os::{
        fd::AsFd as _,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    time::Duration,
};

/// How long the driver may take to hand over the port and the secrets.
const HANDOVER_WAIT: Duration = Duration::from_secs(10);

/// The first connection is standard input, and its first message is what to run with.
pub(super) fn take_handover() -> Result<(UnixStream, Handover), Error> {
    let take = || -> io::Result<(UnixStream, Handover)> {
        let mut driver = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        driver.set_read_timeout(Some(HANDOVER_WAIT))?;
        let mut head = [0; 4];
        driver.read_exact(&mut head)?;
        let length = u32::from_be_bytes(head) as usize;
        if length > wire::MAX_FRAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = zeroize::Zeroizing::new(vec![0; length]);
        driver.read_exact(&mut body)?;
        Ok((driver, serde_json::from_slice(&body)?))
    };
    take().map_err(|e| Error::system("take over from the driver", e))
}

/// Listens in the current directory, so that the path is short; only this user may connect.
pub(super) fn listen() -> Result<UnixListener, Error> {
    let path = Path::new(layout::SOCKET);
    let listen = || {
        let _ = std::fs::remove_file(path);
        let mask = process::umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        process::umask(mask);
        listener.and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
    };
    listen().map_err(|e| Error::file("listen on", path, e))
}

/// A connection to whoever is interested. One that does not keep up is closed.
pub(super) struct Peer {
    pub(super) stream: UnixStream,
    decoder: wire::Decoder,
    pub(super) open: bool,
}

impl Peer {
    pub(super) fn new(stream: UnixStream) -> Option<Peer> {
        stream.set_nonblocking(true).ok()?;
        Some(Peer { stream, decoder: wire::Decoder::default(), open: true })
    }

    pub(super) fn tell(&mut self, status: &Status) {
        self.open &= wire::encode(status).is_ok_and(|frame| self.stream.write_all(&frame).is_ok());
    }

    pub(super) fn read(&mut self) -> Vec<ToShim> {
        let mut buffer = [0; 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.open = false,
            Ok(n) => self.decoder.push(&buffer[..n]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.open = false,
        }
        let mut orders = Vec::new();
        loop {
            match self.decoder.next_message() {
                Ok(Some(order)) => orders.push(order),
                Ok(None) => return orders,
                Err(_) => {
                    self.open = false;
                    return orders;
                }
            }
        }
    }
}
