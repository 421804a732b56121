//! One order, from the question to the certificate (RFC 8555, section 7.4): ordered, proved, signed, fetched, kept.

use super::{
    account::Session,
    error::{Error, Problem},
    exchange::Answer,
    proof::{Proof, Shown, Way},
    store::Store,
};
use crate::{config::Acme, tls::certificate::Loaded};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// How long an order may take in all.
pub(super) const TIME: Duration = Duration::from_secs(180);

/// The longest wait between two looks at how far the authority is, even if it asks for a longer one.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The most proofs of one order. One host needs one.
const MAX_PROOFS: usize = 4;

/// What is to be had.
pub(super) struct Job {
    /// From whom.
    pub(super) terms: Arc<Acme>,
    /// For whom.
    pub(super) host: String,
    /// How it may be proved, the best first.
    pub(super) ways: Vec<Way>,
    /// Where it is kept.
    pub(super) store: Store,
    /// Where proofs are shown.
    pub(super) shown: Arc<Shown>,
    /// The first wait between two looks; each is twice as long as the one before.
    pub(super) wait: Duration,
}

/// How far something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
    Deactivated,
    Expired,
    Revoked,
}

#[derive(Deserialize)]
struct Order {
    status: Status,
    #[serde(default)]
    authorizations: Vec<String>,
    finalize: String,
    certificate: Option<String>,
    #[serde(default)]
    error: Problem,
}

#[derive(Deserialize)]
struct Authorization {
    status: Status,
    challenges: Vec<Challenge>,
}

#[derive(Deserialize)]
struct Challenge {
    #[serde(rename = "type")]
    kind: String,
    url: String,
    status: Status,
    #[serde(default)]
    token: String,
    #[serde(default)]
    error: Problem,
}

impl Challenge {
    /// Whether the authority has looked in vain and does not look again by itself: some leave it to whoever asks to ask once
    /// more (RFC 8555, section 8.2).
    fn is_given_up(&self) -> bool {
        self.status == Status::Pending && self.error != Problem::default()
    }
}

impl Job {
    /// Gets a certificate and keeps it.
    ///
    /// # Errors
    /// When there is none, with what stands in the way.
    pub(super) async fn run(&self) -> Result<Loaded, Error> {
        timeout(TIME, self.obtain_with_an_account()).await.unwrap_or(Err(Error::Overdue))
    }

    /// Obtains; once more with another account where the authority does not know ours, as one that was set up anew does not.
    async fn obtain_with_an_account(&self) -> Result<Loaded, Error> {
        match self.obtain().await {
            Err(error) if error.is("accountDoesNotExist") => {
                tracing::info!(authority = %self.terms.directory, "the authority does not know our account any more");
                self.store.forget();
                self.obtain().await
            }
            had => had,
        }
    }

    async fn obtain(&self) -> Result<Loaded, Error> {
        let mut session = Session::open(&self.terms, &self.store).await?;
        let answer = session.order(&self.host).await?;
        let url = answer.field("location")?;
        let order: Order = answer.read("an order")?;
        for authorization in order.authorizations.iter().take(MAX_PROOFS) {
            self.prove(&mut session, authorization).await?;
        }
        let key = KeyPair::generate()?;
        let order = self.watch(&mut session, &url, "an order", |order: &Order| order.status != Status::Pending).await?;
        let order = match order.status {
            Status::Ready => {
                let mut params = CertificateParams::new(vec![self.host.clone()])?;
                // Names of subjects are not looked at any more, and authorities leave them out.
                params.distinguished_name = DistinguishedName::new();
                let request = BASE64.encode(params.serialize_request(&key)?.der());
                session.post(&order.finalize, Some(&json!({ "csr": request }))).await?;
                let is_over = |order: &Order| !matches!(order.status, Status::Ready | Status::Processing);
                self.watch(&mut session, &url, "an order", is_over).await?
            }
            Status::Pending
            | Status::Processing
            | Status::Valid
            | Status::Invalid
            | Status::Deactivated
            | Status::Expired
            | Status::Revoked => order,
        };
        let Some(certificate) = order.certificate.filter(|_| order.status == Status::Valid) else {
            return Err(Error::Invalid(order.error));
        };
        let chain = session.get(&certificate).await?;
        let (chain, key) = (String::from_utf8_lossy(&chain.body), key.serialize_pem());
        let loaded = Loaded::new(chain.as_bytes(), key.as_bytes(), "what the authority issued", "its key")?;
        if !loaded.names.contains(&self.host) {
            return Err(Error::OtherHost);
        }
        self.store.keep_certificate(&self.host, &chain, &key)?;
        Ok(loaded)
    }

    /// Shows what the authority asks for until it has looked.
    async fn prove(&self, session: &mut Session, url: &str) -> Result<(), Error> {
        let authorization: Authorization = session.get(url).await?.read("an authorization")?;
        // Proved lately, for another order.
        if authorization.status == Status::Valid {
            return Ok(());
        }
        let offered = |way: &Way| Some((*way, authorization.challenges.iter().find(|c| c.kind == way.name())?));
        let (way, challenge) = self.ways.iter().find_map(offered).ok_or(Error::NoWay)?;
        let text = session.proof(&challenge.token);
        let showing = self.shown.show(Proof::new(way, &self.host, &challenge.token, text)?);
        session.post(&challenge.url, Some(&json!({}))).await?;
        let is_ours = |challenge: &&Challenge| challenge.kind == way.name();
        let is_over = |found: &Authorization| {
            found.status != Status::Pending || found.challenges.iter().find(is_ours).is_some_and(Challenge::is_given_up)
        };
        let found = self.watch(session, url, "an authorization", is_over).await?;
        drop(showing);
        match found.status {
            Status::Valid => Ok(()),
            Status::Pending
            | Status::Ready
            | Status::Processing
            | Status::Invalid
            | Status::Deactivated
            | Status::Expired
            | Status::Revoked => {
                let problem = found.challenges.iter().find(is_ours).map(|ours| ours.error.clone());
                Err(Error::NotProved { way, problem: problem.unwrap_or_default() })
            }
        }
    }

    /// Looks until something is so. The time of the whole order bounds it.
    async fn watch<T: DeserializeOwned>(
        &self,
        session: &mut Session,
        url: &str,
        what: &'static str,
        is_so: impl Fn(&T) -> bool,
    ) -> Result<T, Error> {
        let mut wait = self.wait;
        loop {
            let answer: Answer = session.get(url).await?;
            let found = answer.read(what)?;
            if is_so(&found) {
                return Ok(found);
            }
            sleep(answer.retry_after().unwrap_or(wait).min(MAX_WAIT)).await;
            wait = (wait * 2).min(MAX_WAIT);
        }
    }
}
