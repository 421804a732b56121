//! Opens the listeners: one for each address in each worker, so that the kernel spreads connections over the workers.

use crate::error::Error;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// How many connections may wait to be accepted, in each worker. The system may allow fewer.
const BACKLOG: i32 = 4096;

/// Open files that are not connections: listeners, runtimes, logs, the control socket, the table file.
const FILES_OF_OUR_OWN: u64 = 128;

/// More connections than this are not accepted, however many files the system allows.
const MAX_CONNECTIONS: u64 = 200_000;

/// How connections begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begins {
    /// With a request.
    InClear,
    /// With a TLS handshake.
    WithTls,
}

impl Begins {
    /// What addresses of what is served there begin with.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Begins::InClear => "http",
            Begins::WithTls => "https",
        }
    }
}

/// One socket that connections come in at.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) begins: Begins,
}

/// The listeners.
pub(crate) struct Listeners {
    /// Where they listen, with the ports they were given, and how connections begin there.
    pub(crate) addresses: Vec<(SocketAddr, Begins)>,
    /// All addresses for the first worker, for the second, and so on.
    pub(crate) per_thread: Vec<Vec<Listener>>,
}

/// Opens all listeners, but for those that are handed over from another proxy: each of these is somebody's, because
/// connections wait in each. What is handed over and not wanted any more is closed.
///
/// # Errors
/// When an address is taken, forbidden or not of this machine. None stays open then.
pub(crate) fn bind(
    wanted: &[(SocketAddr, Begins)],
    threads: usize,
    mut inherited: Vec<(SocketAddr, Listener)>,
) -> Result<Listeners, Error> {
    if wanted.is_empty() {
        return Err(Error::NoAddress);
    }
    let mut listeners = Listeners {
        addresses: Vec::new(),
        per_thread: (0..threads).map(|_| Vec::with_capacity(wanted.len())).collect(),
    };
    for &(wanted, begins) in wanted {
        let failed = |source: io::Error| refusal(wanted, source);
        let fits = |at: &SocketAddr| at.ip() == wanted.ip() && (wanted.port() == 0 || wanted.port() == at.port());
        let (mine, others) = inherited.into_iter().partition(|(at, l)| fits(at) && l.begins == begins);
        inherited = others;
        let mine: Vec<(SocketAddr, Listener)> = mine;
        if let Some(address) = mine.first().map(|(address, _)| *address) {
            let count = mine.len();
            for (place, (_, listener)) in mine.into_iter().enumerate() {
                if let Some(sockets) = listeners.per_thread.get_mut(place % threads) {
                    sockets.push(listener);
                }
            }
            for sockets in listeners.per_thread.iter_mut().skip(count) {
                sockets.push(Listener { socket: open(address, Sharing::WithOurOwn).map_err(failed)?, begins });
            }
            listeners.addresses.push((address, begins));
            continue;
        }
        // Sockets that share a port do not notice other programs of the same user that share it, too. One that does not
        // share does, so it goes first.
        let address = open(wanted, Sharing::Never).and_then(|probe| probe.local_addr()).map_err(failed)?;
        for sockets in &mut listeners.per_thread {
            sockets.push(Listener { socket: open(address, Sharing::WithOurOwn).map_err(failed)?, begins });
        }
        listeners.addresses.push((address, begins));
    }
    Ok(listeners)
}

/// Whether a socket's port may be listened on by another socket of the same user.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    Never,
    WithOurOwn,
}

/// Listens on an address.
///
/// # Errors
/// When it is taken, forbidden or not of this machine.
pub(crate) fn open(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Without it, small responses may wait for an acknowledgement. Accepted sockets are as their listener is.
    socket.set_tcp_nodelay(true)?;
    socket.set_reuse_port(sharing == Sharing::WithOurOwn)?;
    if address.is_ipv6() {
        // `[::]` is all of IPv6 and nothing else, on every machine alike; `0.0.0.0` is asked for by its name.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Why an address cannot be listened on, in words.
pub(crate) fn refusal(address: SocketAddr, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::AddrInUse {
        Error::AddressTaken { address, source }
    } else if source.kind() == io::ErrorKind::PermissionDenied {
        Error::AddressForbidden { address, source }
    } else {
        Error::Address { address, source }
    }
}

/// Asks for as many open files as this user may have. Gives how many connections that allows, each of which may need
/// a second one to an instance.
pub(crate) fn raise_file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = 2 * MAX_CONNECTIONS + FILES_OF_OUR_OWN;
    let allowed = limit.maximum.unwrap_or(wanted).min(wanted);
    let current = limit.current.unwrap_or(wanted);
    let files = match setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum: limit.maximum }) {
        Ok(()) => allowed,
        Err(_) => current,
    };
    usize::try_from(files.saturating_sub(FILES_OF_OUR_OWN) / 2).unwrap_or(usize::MAX).max(16)
}
