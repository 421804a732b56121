//! TLS to one instance, in one thread: whom it must prove to be, what it is shown, and why a handshake failed.
//!
//! What the service's terms name are files, which are read when the first connection is opened and again when they have changed. What
//! cannot be read is said; what was in force stays. An instance that is not who it must be is never spoken to: there is no way
//! to leave that out.

use super::{certificate::Loaded, clients, keeper::Watch, stamp, stamp::Stamp};
use crate::quiet::Quiet;
use model::{InstanceTls, Protocol};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    crypto::ring,
    pki_types::ServerName,
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufRead as _, AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How many sessions are kept to be resumed: rustls counts eight to one name, and there is one.
const SESSIONS: usize = 8;

/// How long an instance that has asked for a certificate may take to say what it thinks of the one it was shown. In TLS 1.3 the
/// handshake is over before that. Nearly all say something at once; from one that does not, silence is consent.
const WORD: Duration = Duration::from_millis(100);

/// What connections to one instance begin with.
pub(crate) struct ToInstance {
    terms: InstanceTls,
    watch: RefCell<Watch>,
    looked: Cell<Option<Instant>>,
    /// What is in force, or why nothing is.
    ready: RefCell<Result<Ready, String>>,
    trouble: Quiet,
}

/// What was read from the files.
#[derive(Clone)]
struct Ready {
    name: ServerName<'static>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    shows: Arc<Shows>,
}

/// What an instance is shown when it asks.
#[derive(Debug)]
struct Shows {
    key: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

impl ToInstance {
    /// On these terms. Nothing is read yet.
    pub(crate) fn new(terms: InstanceTls) -> ToInstance {
        let ready = RefCell::new(Err("its certificates were not read yet".to_owned()));
        ToInstance { terms, watch: RefCell::default(), looked: Cell::default(), ready, trouble: Quiet::default() }
    }

    /// Makes a connection one with TLS, once the instance has proved who it is, and been told who we are. Files are looked at
    /// again after `look`.
    ///
    /// # Errors
    /// When one of the two is not so, in words for people.
    pub(crate) async fn meet<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        protocol: Protocol,
        look: Duration,
    ) -> io::Result<TlsStream<S>> {
        self.look(look);
        let Ready { name, http1, http2, shows } = self.ready.borrow().clone().map_err(io::Error::other)?;
        let config = match protocol {
            Protocol::Http1 => http1,
            Protocol::Http2 => http2,
        };
        let mut stream =
            TlsConnector::from(config).connect(name, stream).await.map_err(|error| self.in_words(error))?;
        if shows.asked.load(Ordering::Relaxed) {
            // Nothing was said against it in time: it goes on.
            timeout(WORD, word(&mut stream)).await.unwrap_or(Ok(())).map_err(|error| self.in_words(error))?;
        }
        Ok(stream)
    }

    /// Tells the operator of a connection that the instance has ended because of what TLS is.
    pub(crate) fn ended(&self, error: &(dyn std::error::Error + 'static)) {
        let mut source = Some(error);
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
                && let Some(error) = error.downcast_ref::<rustls::Error>()
            {
                if let Some(withheld) = self.trouble.pass() {
                    let why = self.why(error);
                    tracing::warn!(name = self.terms.name, %why, withheld, "TLS with an instance broke off");
                }
                return;
            }
            source = error.source();
        }
    }

    /// Reads the files when it is time to, and they have changed.
    fn look(&self, every: Duration) {
        let now = Instant::now();
        if self.looked.get().is_some_and(|last| now.duration_since(last) < every) {
            return;
        }
        self.looked.set(Some(now));
        let shown = self.terms.shown.as_ref();
        let stamps = [
            Stamp::of(&self.terms.ca),
            shown.and_then(|s| Stamp::of(&s.certificate)),
            shown.and_then(|s| Stamp::of(&s.key)),
        ];
        if !self.watch.borrow_mut().is_due(stamps) {
            return;
        }
        match Ready::read(&self.terms) {
            Ok(ready) => *self.ready.borrow_mut() = Ok(ready),
            Err(error) => {
                let mut before = self.ready.borrow_mut();
                match &mut *before {
                    Ok(_) => tracing::error!(%error, "TLS to an instance goes on with the certificates before"),
                    Err(why) => *why = error.to_string(),
                }
            }
        }
    }

    fn in_words(&self, error: io::Error) -> io::Error {
        let known =
            error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).map(|error| self.why(error));
        known.map_or(error, io::Error::other)
    }

    fn why(&self, error: &rustls::Error) -> String {
        if let rustls::Error::InvalidCertificate(problem) = error
            && let Some(why) = self.not_believed(problem)
        {
            return why;
        }
        if let rustls::Error::AlertReceived(alert) = error {
            return match &self.terms.shown {
                None if *alert == AlertDescription::CertificateRequired => {
                    "it asks for a certificate: set `certificate` and `key` under instance_tls".to_owned()
                }
                None => format!("it ends the connection: {alert:?}"),
                Some(_) => format!("it does not take the certificate it was shown, or the connection: {alert:?}"),
            };
        }
        match matches!(error, rustls::Error::InvalidMessage(_)) {
            true => format!("it does not speak TLS, or in another way: {error}"),
            false => error.to_string(),
        }
    }

    /// Why its certificate is not taken, where something can be done about it.
    fn not_believed(&self, problem: &CertificateError) -> Option<String> {
        use CertificateError as Is;
        let (name, ca) = (&self.terms.name, self.terms.ca.display());
        if matches!(problem, Is::Expired | Is::ExpiredContext { .. }) {
            return Some("its certificate has ended: renew it".to_owned());
        }
        if matches!(problem, Is::NotValidYet | Is::NotValidYetContext { .. }) {
            return Some("its certificate has not begun yet: check the clock".to_owned());
        }
        if matches!(problem, Is::NotValidForName | Is::NotValidForNameContext { .. }) {
            let set = "set `name` under instance_tls to a name that it has";
            return Some(format!("its certificate is not for `{name}`: {set}"));
        }
        // Authorities may have the same name, and other keys.
        let strange = matches!(problem, Is::UnknownIssuer | Is::BadSignature);
        strange.then(|| format!("its certificate is of no authority in {ca}"))
    }
}

impl Ready {
    fn read(terms: &InstanceTls) -> io::Result<Ready> {
        let in_file = |path: &Path| {
            let path = path.display().to_string();
            move |error: io::Error| io::Error::other(format!("{path}: {error}"))
        };
        let name = ServerName::try_from(terms.name.clone())
            .map_err(|_| io::Error::other(format!("`{}` is no name of a host", terms.name)))?;
        let roots = Arc::new(clients::authorities(&terms.ca).map_err(in_file(&terms.ca))?);
        let key = terms.shown.as_ref().map(|shown| {
            let certificate = stamp::read(&shown.certificate).map_err(in_file(&shown.certificate))?;
            let key = stamp::read(&shown.key).map_err(in_file(&shown.key))?;
            let (at, key_at) = (shown.certificate.display().to_string(), shown.key.display().to_string());
            Loaded::of_anybody(&certificate, &key, &at, &key_at).map(|loaded| loaded.key).map_err(io::Error::other)
        });
        let shows = Arc::new(Shows { key: key.transpose()?, asked: AtomicBool::new(false) });
        let config =
            |protocol: &[u8]| config(Arc::clone(&roots), Arc::clone(&shows), protocol).map_err(io::Error::other);
        Ok(Ready { name, http1: config(b"http/1.1")?, http2: config(b"h2")?, shows })
    }
}

fn config(roots: Arc<RootCertStore>, shows: Arc<Shows>, protocol: &[u8]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12])?.with_root_certificates(roots);
    let mut config = builder.with_client_cert_resolver(shows);
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

/// Until the other side has said something after the handshake: a ticket, the first bytes, or that it is over.
async fn word<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut TlsStream<S>) -> io::Result<()> {
    poll_fn(|cx| {
        match Pin::new(&mut *stream).poll_fill_buf(cx) {
            Poll::Ready(Ok([])) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(_)) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {}
        }
        match stream.get_ref().1.tls13_tickets_received() {
            0 => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    })
    .await
}

#[cfg(test)]
mod tests;
