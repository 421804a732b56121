//! From one proxy to the next without a connection lost: the listening sockets themselves are passed on.
//!
//! A socket that is closed takes the connections with it that wait to be accepted, also where others share its port. So a
//! newcomer asks the proxy that runs, over a Unix socket in the data directory, and is given the sockets; both accept for a
//! moment; when the newcomer says that it does, the old one stops accepting, gives its place in the directory away, and
//! lets what it has end by itself.
//!
//! ```text
//!  newcomer                                 the one that runs
//!     │ ─ Hello ───────────────────────────▶ │
//!     │ ◀─────────────── Offer, the sockets ─ │   goes on accepting
//!   begins to accept                          │
//!     │ ─ ready ───────────────────────────▶ │   accepts no more, frees the lock and the control socket
//!     │ ◀─────────────────────────── released ─ │   drains, and ends
//!   claims the directory
//! ```
//!
//! Whatever fails before *ready* leaves the one that runs as it was. Every wait has an end. Nothing else is passed on:
//! the table and the guards that have tripped are in the directory, and evidence begins anew.

use crate::{
    error::Error,
    listen::{Begins, Listener},
};
use rustix::{
    io::retry_on_intr,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

/// The name of the socket in the data directory.
pub(crate) const SOCKET: &str = "proxy.handover";
/// The version of what is said here.
const VERSION: u32 = 1;
/// How long either side may take for each thing it says: binding further addresses and starting threads included.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many sockets go with one message; the system allows 253.
const AT_ONCE: usize = 64;
/// The longest message.
const MAX_MESSAGE: usize = 1 << 20;

/// What the newcomer says first.
#[derive(Serialize, Deserialize)]
struct Hello {
    version: u32,
}

/// What it is offered: a socket for each of these, in this order.
#[derive(Serialize, Deserialize)]
struct Offer {
    version: u32,
    sockets: Vec<Place>,
}

/// Where a socket listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Place {
    address: SocketAddr,
    tls: bool,
    /// It is an address of a service, whose connections are carried as they are.
    #[serde(default)]
    tcp: bool,
}

/// What the newcomer says when it accepts connections, and what it is told when the directory is free.
const READY: u8 = b'r';
const RELEASED: u8 = b'f';

/// The sockets that listen.
#[derive(Default)]
pub(crate) struct Sockets {
    /// Those of the configuration.
    pub(crate) listeners: Vec<(SocketAddr, Listener)>,
    /// Those of the table: addresses of services.
    pub(crate) of_services: Vec<(SocketAddr, TcpListener)>,
}

/// What was received from the proxy that runs.
pub(crate) struct Inherited {
    sockets: Sockets,
    stream: UnixStream,
}

/// Asks the proxy that runs in this directory for its sockets.
///
/// # Errors
/// When there is none that can be asked, or it does not answer as it should. It goes on as it was then.
pub(crate) fn ask(data_dir: &Path) -> io::Result<Inherited> {
    let mut stream = UnixStream::connect(data_dir.join(SOCKET))?;
    patient(&stream)?;
    say(&mut stream, &Hello { version: VERSION })?;
    let offer: Offer = hear(&mut stream)?;
    if offer.version != VERSION {
        return Err(io::Error::other(format!("it hands over by version {}, this one by {VERSION}", offer.version)));
    }
    let mut sockets = Vec::with_capacity(offer.sockets.len());
    while sockets.len() < offer.sockets.len() {
        let before = sockets.len();
        receive(&stream, &mut sockets)?;
        if sockets.len() == before {
            return Err(io::Error::other("it sent fewer sockets than it had offered"));
        }
    }
    let mut inherited = Sockets::default();
    for (place, socket) in offer.sockets.into_iter().zip(sockets) {
        let socket = TcpListener::from(socket);
        if socket.local_addr()? != place.address {
            return Err(io::Error::other(format!("what it sent does not listen at {}", place.address)));
        }
        if place.tcp {
            inherited.of_services.push((place.address, socket));
        } else {
            let begins = if place.tls { Begins::WithTls } else { Begins::InClear };
            inherited.listeners.push((place.address, Listener { socket, begins }));
        }
    }
    Ok(Inherited { sockets: inherited, stream })
}

/// A newcomer that accepts connections, but has no place in the directory yet.
pub(crate) struct Arrived(UnixStream);

impl Inherited {
    /// Takes the sockets out; what is left says that they are accepted from.
    pub(crate) fn split(self) -> (Sockets, Arrived) {
        (self.sockets, Arrived(self.stream))
    }
}

impl Arrived {
    /// Says that connections are accepted here, and waits until the other one has given its place away.
    ///
    /// # Errors
    /// When the other one is gone, or does not answer.
    pub(crate) fn ready(mut self) -> Result<(), Error> {
        let mut answer = [0];
        let told = self.0.write_all(&[READY]).and_then(|()| self.0.read_exact(&mut answer));
        match told {
            Ok(()) if answer == [RELEASED] => Ok(()),
            Ok(()) => Err(Error::Handover { source: io::Error::other("it did not say that it has gone") }),
            // It ended meanwhile: what it had is free.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(source) => Err(Error::Handover { source }),
        }
    }
}

/// Sockets as they are kept to be handed over: doubles of those that the workers accept from.
#[derive(Clone, Default)]
pub(crate) struct Offered {
    sockets: Vec<(Place, Arc<TcpListener>)>,
}

impl Offered {
    /// Doubles of these listeners.
    ///
    /// # Errors
    /// When the system gives no more files.
    pub(crate) fn of<'a>(listeners: impl IntoIterator<Item = &'a Listener>) -> io::Result<Offered> {
        let double = |listener: &Listener| {
            let tls = listener.begins == Begins::WithTls;
            let place = Place { address: listener.socket.local_addr()?, tls, tcp: false };
            Ok((place, Arc::new(listener.socket.try_clone()?)))
        };
        Ok(Offered { sockets: listeners.into_iter().map(double).collect::<io::Result<_>>()? })
    }

    /// With those of services, as they are now.
    pub(crate) fn with(&self, of_services: impl Iterator<Item = (SocketAddr, Arc<TcpListener>)>) -> Offered {
        let place = |address| Place { address, tls: false, tcp: true };
        let of_services = of_services.map(|(address, socket)| (place(address), socket));
        Offered { sockets: self.sockets.iter().cloned().chain(of_services).collect() }
    }

    /// Serves a newcomer until it accepts connections. Blocks; everything it waits for has an end.
    ///
    /// # Errors
    /// When it did not come so far: then nothing has changed.
    pub(crate) fn give(&self, mut stream: UnixStream) -> io::Result<Leaving> {
        patient(&stream)?;
        let hello: Hello = hear(&mut stream)?;
        let places = if hello.version == VERSION { &self.sockets[..] } else { &[] };
        say(&mut stream, &Offer { version: VERSION, sockets: places.iter().map(|(place, _)| *place).collect() })?;
        for some in places.chunks(AT_ONCE) {
            send(&stream, &some.iter().map(|(_, socket)| socket.as_fd()).collect::<Vec<_>>())?;
        }
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        if answer == [READY] { Ok(Leaving(stream)) } else { Err(io::Error::other("it did not say that it is ready")) }
    }
}

/// A proxy whose connections somebody else accepts now.
pub(crate) struct Leaving(UnixStream);

impl Leaving {
    /// Says that the place in the directory is free. Whoever does not hear it finds out.
    pub(crate) fn released(mut self) {
        let _ = self.0.write_all(&[RELEASED]);
    }
}

fn patient(stream: &UnixStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

fn say<T: Serialize>(stream: &mut UnixStream, message: &T) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    stream.write_all(&(text.len() as u32).to_be_bytes())?;
    stream.write_all(&text)
}

fn hear<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_MESSAGE {
        return Err(io::Error::other("what it says is too long"));
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Sends sockets with one byte, because a message without any is none.
fn send(stream: &UnixStream, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::Error::other("too many sockets for one message"));
    }
    let bytes = [IoSlice::new(&[0])];
    retry_on_intr(|| sendmsg(stream, &bytes, &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

fn receive(stream: &UnixStream, sockets: &mut Vec<OwnedFd>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    retry_on_intr(|| recvmsg(stream, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC))?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            sockets.extend(received);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::TcpStream, thread};

    fn listeners(count: usize) -> Vec<Listener> {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        (0..count).map(|_| Listener { socket: listen(), begins: Begins::InClear }).collect()
    }

    #[test]
    fn what_waits_to_be_accepted_goes_over_with_its_socket() {
        let own = listeners(150);
        let offered = Offered::of(&own).unwrap();
        let address = own[149].socket.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let (mine, theirs) = UnixStream::pair().unwrap();
        let old = thread::spawn(move || offered.give(mine).map(Leaving::released));
        let dir = tempfile::tempdir().unwrap();
        // By hand what `ask` does after it has connected.
        let mut stream = theirs;
        patient(&stream).unwrap();
        say(&mut stream, &Hello { version: VERSION }).unwrap();
        let offer: Offer = hear(&mut stream).unwrap();
        let mut sockets = Vec::new();
        while sockets.len() < offer.sockets.len() {
            receive(&stream, &mut sockets).unwrap();
        }
        drop(own);
        Arrived(stream).ready().unwrap();
        old.join().unwrap().unwrap();
        let last = TcpListener::from(sockets.pop().unwrap());
        client.write_all(b"x").unwrap();
        let mut byte = [0];
        last.accept().unwrap().0.read_exact(&mut byte).unwrap();
        assert_eq!((&byte, last.local_addr().unwrap()), (b"x", address));
        drop(dir);
    }

    #[test]
    fn a_newcomer_that_dies_or_speaks_otherwise_changes_nothing() {
        let own = listeners(2);
        let offered = Offered::of(&own).unwrap();
        for said in [&b""[..], b"\0\0\0\x02{}", b"\xff\xff\xff\xff", b"\0\0\0\x0d{\"version\":1}"] {
            let (mine, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(said).unwrap();
            drop(theirs);
            assert!(offered.give(mine).is_err());
        }
        own[0].socket.set_nonblocking(true).unwrap();
        let address = own[0].socket.local_addr().unwrap();
        let _client = TcpStream::connect(address).unwrap();
    }
}
