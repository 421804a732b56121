//! One connection from `qd serve`: frames in, frames out, hello first.

use model::{
    Time,
    wire::{self, Decoder, FromProxy, Hello, ToProxy},
};
use std::{io, process, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

/// How long a peer may take to read what it is sent.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("the other side closed it")]
    Closed,
    #[error("it broke: {0}")]
    Broken(io::Error),
    #[error("the other side does not read what it is sent")]
    Deaf,
    #[error("what came is not understood: {0}")]
    Nonsense(wire::Error),
    #[error("the other side speaks version {0}, this one version {ours}", ours = wire::VERSION)]
    OtherVersion(u32),
    #[error("the other side did not say hello first")]
    Rude,
}

/// One connection.
pub(crate) struct Peer {
    stream: UnixStream,
    decoder: Decoder,
    chunk: Vec<u8>,
    welcome: bool,
}

impl Peer {
    /// That was just accepted.
    pub(crate) fn new(stream: UnixStream) -> Peer {
        Peer { stream, decoder: Decoder::default(), chunk: vec![0; 16 << 10], welcome: false }
    }

    /// Whether it has said hello in a version that is understood. It is told nothing before.
    pub(crate) fn is_welcome(&self) -> bool {
        self.welcome
    }

    /// Says hello.
    pub(crate) async fn hello(&mut self, started: Time) -> Result<(), Ended> {
        self.say(&FromProxy::Hello(Hello {
            version: wire::VERSION,
            pid: process::id(),
            started,
            build: crate::build(),
        }))
        .await
    }

    /// The next message. Losing interest half-way loses nothing.
    pub(crate) async fn hear(&mut self) -> Result<ToProxy, Ended> {
        loop {
            if let Some(message) = self.decoder.next_message::<ToProxy>().map_err(Ended::Nonsense)? {
                return self.check(message);
            }
            match self.stream.read(&mut self.chunk).await.map_err(Ended::Broken)? {
                0 => return Err(Ended::Closed),
                n => self.decoder.push(self.chunk.get(..n).unwrap_or_default()),
            }
        }
    }

    /// Sends a message.
    pub(crate) async fn say(&mut self, message: &FromProxy) -> Result<(), Ended> {
        let frame = wire::encode(message).map_err(Ended::Nonsense)?;
        match timeout(PATIENCE, self.stream.write_all(&frame)).await {
            Ok(written) => written.map_err(Ended::Broken),
            Err(_) => Err(Ended::Deaf),
        }
    }

    fn check(&mut self, message: ToProxy) -> Result<ToProxy, Ended> {
        match &message {
            ToProxy::Hello(hello) if hello.version == wire::VERSION => {
                self.welcome = true;
                Ok(message)
            }
            ToProxy::Hello(hello) => Err(Ended::OtherVersion(hello.version)),
            ToProxy::SetRoutes(_) | ToProxy::Shutdown(_) if self.welcome => Ok(message),
            ToProxy::SetRoutes(_) | ToProxy::Shutdown(_) => Err(Ended::Rude),
        }
    }
}
