//! The typed client: what the command line and the tests speak to Quarterdeck through.
//!
//! A connection per request, because connections to a local socket cost nothing and cannot be found broken. Every wait
//! is bounded; every failure says what to do next ([`Error::hint`]).

mod connection;
mod error;
mod stream;
mod upload;

pub use error::Error;
pub use stream::{Events, Logs};

use crate::message::{
    Artifact, ChangesQuery, CommandRequest, Entries, EntriesQuery, EventsQuery, Health, LogQuery, PlanRequest, Secrets,
    SecretsStored, ShutdownRequest, Stopping, Story, StoryQuery, Submitted, Whoami,
};
use bytes::Bytes;
use connection::{Answer, Target};
use control::{
    change::Plan,
    view::{ChangeView, ServiceView, Status},
};
use http::Method;
use model::{ChangeId, Digest, Seq, ServiceKey};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

/// How long an ordinary answer may take: longer than the server's own bound, so that the server is heard first.
const PATIENCE: Duration = Duration::from_secs(75);
/// How long handing over an artifact may take.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(3_600);

/// A client of one Quarterdeck.
#[derive(Clone, Debug)]
pub struct Client {
    target: Target,
}

impl Client {
    /// A client over the Unix socket, where one's operating-system user is who one is.
    pub fn unix(socket: impl Into<PathBuf>) -> Client {
        Client { target: Target::Unix(socket.into()) }
    }

    /// A client over loopback TCP, where the token is who one is.
    pub fn tcp(address: SocketAddr, token: impl Into<String>) -> Client {
        Client { target: Target::Tcp { address, token: token.into() } }
    }

    /// That Quarterdeck runs, and whether it takes commands.
    pub async fn health(&self) -> Result<Health, Error> {
        self.get("/v1/health", &()).await
    }

    /// Who one is there.
    pub async fn whoami(&self) -> Result<Whoami, Error> {
        self.get("/v1/whoami", &()).await
    }

    /// Everything at a glance.
    pub async fn status(&self) -> Result<Status, Error> {
        self.get("/v1/status", &()).await
    }

    /// One service.
    pub async fn service(&self, service: &ServiceKey) -> Result<ServiceView, Error> {
        self.get(&format!("/v1/services/{}", segment(service)), &()).await
    }

    /// Changes, the newest first; `open`: only those that are open (or are not).
    pub async fn changes(&self, open: Option<bool>) -> Result<Vec<ChangeView>, Error> {
        self.get("/v1/changes", &ChangesQuery { open }).await
    }

    /// One change.
    pub async fn change(&self, change: ChangeId) -> Result<ChangeView, Error> {
        self.get(&format!("/v1/changes/{change}"), &()).await
    }

    /// What a command would do.
    pub async fn plan(&self, request: &PlanRequest) -> Result<Plan, Error> {
        self.send(Method::POST, "/v1/plans", request).await
    }

    /// Gives a command. When this returns without error, it is in the ledger.
    pub async fn command(&self, request: &CommandRequest) -> Result<Submitted, Error> {
        self.send(Method::POST, "/v1/commands", request).await
    }

    /// The story of a change, a service or an instance; `None`: of everything.
    pub async fn story(&self, subject: Option<&str>, details: bool) -> Result<Story, Error> {
        let path = subject.map_or_else(|| "/v1/story".to_owned(), |s| format!("/v1/story/{}", segment(s)));
        self.get(&path, &StoryQuery { details }).await
    }

    /// A part of the ledger.
    pub async fn entries(&self, from: Seq, limit: Option<usize>) -> Result<Entries, Error> {
        self.get("/v1/entries", &EntriesQuery { from, limit }).await
    }

    /// What is recorded, as it is recorded: from an entry on, or (`None`) from now on; all of it, or what is `about` a
    /// change, a service or an instance.
    pub async fn events(&self, from: Option<Seq>, about: Option<&str>) -> Result<Events, Error> {
        let query = EventsQuery { from, about: about.map(ToOwned::to_owned) };
        Ok(Events::new(self.open("/v1/events", &query).await?))
    }

    /// Captured output of a service.
    pub async fn logs(&self, service: &ServiceKey, query: &LogQuery) -> Result<Logs, Error> {
        Ok(Logs::new(self.open(&format!("/v1/logs/{}", segment(service)), query).await?))
    }

    /// Hands over an artifact: `write` writes a tar archive, on a thread of its own, as fast as it is taken.
    ///
    /// # Errors
    /// [`Error::Source`] when `write` fails; nothing is kept of it then.
    pub async fn put_artifact<W>(&self, write: W) -> Result<Artifact, Error>
    where
        W: FnOnce(&mut dyn io::Write) -> io::Result<()> + Send + 'static,
    {
        let (body, written) = upload::body(write);
        let asked = self.target.ask(Method::PUT, "/v1/artifacts", Some("application/x-tar"), body, UPLOAD_PATIENCE);
        let (answer, written) = tokio::join!(asked, written);
        // A source that failed explains everything after it; a server that hung up is no failure of the source.
        written.map_err(Error::Source)?;
        answer?.decoded().await
    }

    /// Replaces the secrets of a service; the digest is for its configuration.
    pub async fn put_secrets(&self, service: &ServiceKey, secrets: &Secrets) -> Result<Digest, Error> {
        let path = format!("/v1/secrets/{}", segment(service));
        self.send::<_, SecretsStored>(Method::PUT, &path, secrets).await.map(|stored| stored.digest)
    }

    /// Begins to stop Quarterdeck.
    pub async fn shutdown(&self, request: ShutdownRequest) -> Result<Stopping, Error> {
        self.send(Method::POST, "/v1/shutdown", &request).await
    }

    async fn get<A: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<A, Error> {
        self.open(path, query).await?.decoded().await
    }

    async fn open(&self, path: &str, query: &impl Serialize) -> Result<Answer, Error> {
        // The queries are structs of plain values, which always encode.
        let query = serde_urlencoded::to_string(query).unwrap_or_default();
        let path = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        self.target.ask(Method::GET, &path, None, connection::body(Bytes::new()), PATIENCE).await
    }

    async fn send<M: Serialize, A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        message: &M,
    ) -> Result<A, Error> {
        let body = serde_json::to_vec(message).map_err(|source| Error::Source(source.into()))?;
        let body = connection::body(body.into());
        self.target.ask(method, path, Some("application/json"), body, PATIENCE).await?.decoded().await
    }
}

/// A value as one segment of a path.
fn segment(value: impl fmt::Display) -> String {
    utf8_percent_encode(&value.to_string(), NON_ALPHANUMERIC).to_string()
}
