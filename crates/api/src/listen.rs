//! Where the server listens: a Unix socket, or a port that only this machine can reach.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::{fs::PermissionsExt, net::UnixStream as BlockingStream},
    path::{Path, PathBuf},
};
use tokio::net::{TcpListener, UnixListener};

/// Why the server could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be made.
    #[error("cannot listen at {address}")]
    Listen {
        /// Where.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody answers at the socket already.
    #[error("another Quarterdeck listens at {address} already; stop it with `qd down`, or use another data directory")]
    Taken {
        /// Where.
        address: String,
    },
    /// The address can be reached from other machines.
    #[error(
        "{address} can be reached from other machines, and without TLS anyone between could read the tokens; listen on 127.0.0.1 or [::1], and reach it from elsewhere through an SSH tunnel or a TLS proxy"
    )]
    NotLoopback {
        /// The address that was given.
        address: SocketAddr,
    },
}

/// Where the server listens. Made by [`Listener::unix`] and [`Listener::tcp`] only, so that what exists is safe.
#[derive(Debug)]
pub struct Listener(pub(crate) Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    Unix { listener: UnixListener, path: PathBuf },
    Tcp(TcpListener),
}

impl Listener {
    /// Listens on a Unix socket that users of this machine with these `mode` bits may connect to (0o600: only the own
    /// user). A socket that an earlier process left behind is replaced.
    ///
    /// # Errors
    /// When somebody answers there already, or the socket cannot be made.
    pub fn unix(path: &Path, mode: u32) -> Result<Listener, Error> {
        let failed = |source| Error::Listen { address: path.display().to_string(), source };
        match BlockingStream::connect(path) {
            Ok(_) => return Err(Error::Taken { address: path.display().to_string() }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
        Ok(Listener(Kind::Unix { listener, path: path.to_owned() }))
    }

    /// Listens on a loopback address.
    ///
    /// # Errors
    /// When the address can be reached from other machines, or cannot be had.
    pub async fn tcp(address: SocketAddr) -> Result<Listener, Error> {
        if !address.ip().is_loopback() {
            return Err(Error::NotLoopback { address });
        }
        let failed = |source| Error::Listen { address: address.to_string(), source };
        TcpListener::bind(address).await.map(|listener| Listener(Kind::Tcp(listener))).map_err(failed)
    }

    /// The port that was bound; `None` for a Unix socket.
    pub fn port(&self) -> Option<u16> {
        match &self.0 {
            Kind::Unix { .. } => None,
            Kind::Tcp(listener) => listener.local_addr().ok().map(|address| address.port()),
        }
    }
}

impl Drop for Kind {
    fn drop(&mut self) {
        if let Kind::Unix { path, .. } = self {
            // A socket file that stays is replaced by the next start.
            let _ = fs::remove_file(path);
        }
    }
}
