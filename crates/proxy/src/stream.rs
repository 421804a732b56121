//! A client's connection below HTTP: in clear, or with TLS.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// The protocol both sides have agreed on for HTTP/2.
const HTTP2: &[u8] = b"h2";

/// A connection. Those with TLS are boxed: their buffers would be part of every connection.
pub(crate) enum Stream {
    /// In clear.
    Clear(TcpStream),
    /// With TLS, after the handshake.
    Secured(Box<TlsStream<TcpStream>>),
}

/// Which HTTP is to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Agreed {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Nothing was said: the first bytes tell.
    Open,
}

impl Stream {
    /// What both sides have agreed to speak.
    pub(crate) fn agreed(&self) -> Agreed {
        match self {
            Stream::Clear(_) => Agreed::Open,
            Stream::Secured(stream) => match stream.get_ref().1.alpn_protocol() {
                Some(HTTP2) => Agreed::Http2,
                Some(_) => Agreed::Http1,
                None => Agreed::Open,
            },
        }
    }

    /// The certificate that the client has shown, in DER. It has been checked.
    pub(crate) fn certificate(&self) -> Option<&[u8]> {
        match self {
            Stream::Clear(_) => None,
            Stream::Secured(stream) => stream.get_ref().1.peer_certificates()?.first().map(|shown| shown.as_ref()),
        }
    }

    /// Whether what is flushed has left this process. In clear there is nothing to flush.
    pub(crate) fn holds_back(&self) -> bool {
        match self {
            Stream::Clear(_) => false,
            Stream::Secured(_) => true,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Clear(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Secured(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Clear(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Secured(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Clear(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Secured(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Clear(stream) => stream.is_write_vectored(),
            Stream::Secured(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Secured(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Secured(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
