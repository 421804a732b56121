//! Why the data plane could not begin, in words for whoever has to make it begin.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why [`run`](crate::run) could not begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing to listen on.
    #[error("no address to listen on was given: set at least one, such as 0.0.0.0:8080")]
    NoAddress,
    /// Some other program listens there.
    #[error(
        "{address} is already taken by another program: stop that one (`ss -ltnp 'sport = :{port}'` names it) or \
         choose another address",
        port = .address.port()
    )]
    AddressTaken {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address may not be listened on.
    #[error(
        "listening on {address} is not permitted: ports below 1024 need the capability CAP_NET_BIND_SERVICE; grant it, \
         or choose a higher port"
    )]
    AddressForbidden {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address cannot be listened on for another reason.
    #[error("listening on {address} failed: check that this machine has that address")]
    Address {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Another proxy holds the data directory.
    #[error("another proxy{} runs on {}: stop it first, or use another data directory", in_brackets(.pid), .data_dir.display())]
    AlreadyRunning {
        /// The data directory both want.
        data_dir: PathBuf,
        /// The other one's process id, when it could be read.
        pid: Option<u32>,
    },
    /// A file in the data directory cannot be used.
    #[error("{} cannot be used by the proxy: make it writable for this user, or use another data directory", .path.display())]
    DataDir {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The control socket cannot be opened.
    #[error(
        "the control socket {} cannot be opened: its directory must be writable and its whole path shorter than 108 \
         bytes",
        .path.display()
    )]
    ControlSocket {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The proxy that runs did not hand over.
    #[error("the proxy that runs did not hand over its listeners; it goes on")]
    Handover {
        /// What went wrong.
        source: io::Error,
    },
    /// A thread, a runtime or a signal handler could not be had.
    #[error("the system refused what the proxy needs to run ({what}): raise its limits on threads and open files")]
    Resources {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

fn in_brackets(pid: &Option<u32>) -> String {
    pid.map_or(String::new(), |pid| format!(" (process {pid})"))
}
