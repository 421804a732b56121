//! A connection to an instance below HTTP: a TCP port or a Unix socket, in clear.

use model::Address;
use std::{
    fs,
    io::{self, IoSlice},
    os::unix::fs::MetadataExt as _,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::sleep,
};

/// How long until an instance is asked again whose queue of new connections is full. A Unix socket refuses then at once, where a
/// port would let one wait: it is waited for here, for as long as connecting may take.
const QUEUE_FULL: Duration = Duration::from_millis(2);

/// A connection. Which of the two it is decides nothing beyond this file, and is looked at once for each call of the system.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects, however long that takes.
    ///
    /// # Errors
    /// When the instance refuses, or somebody else listens there.
    pub(crate) async fn connect(address: &Address) -> io::Result<Socket> {
        match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            Address::Unix(path) => loop {
                match UnixStream::connect(path).await {
                    Ok(stream) => return is_the_instances(&stream, path).map(|()| Socket::Unix(stream)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(QUEUE_FULL).await,
                    Err(error) => return Err(error),
                }
            },
        }
    }

    /// Reads what is there already.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.try_read(buffer),
            Socket::Unix(stream) => stream.try_read(buffer),
        }
    }

    /// Makes it end with a reset instead of in order, once it is closed. A Unix socket has no such end.
    pub(crate) fn reset(&self) {
        match self {
            // One that cannot is gone already.
            Socket::Tcp(stream) => drop(socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))),
            Socket::Unix(_) => {}
        }
    }
}

/// The directory of an instance's socket is its user's, who may put a link to any other socket in its place, such as one at
/// which this process, but not that user, is listened to. So whoever listens must be who the directory belongs to.
fn is_the_instances(stream: &UnixStream, path: &str) -> io::Result<()> {
    let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
    let (owner, listens) = (fs::metadata(directory)?.uid(), stream.peer_cred()?.uid());
    if listens == owner {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("uid {listens} listens there, and not uid {owner}, as which the instance runs"),
    ))
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Socket::Tcp(stream) => stream.is_write_vectored(),
            Socket::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
