//! The thread that keeps certificates: reads the terms and the files they name, and puts what has changed in force.
//!
//! A file is read again when it has changed and has then stayed the same for one look, so that nothing half-written is
//! taken. What cannot be used is said once and loudly, and shown in every report; what was in force stays.

use super::{
    InForce, Plane,
    acme::{self, Acme},
    certificate::{self, Loaded},
    clients::Believed,
    local::Local,
    names::Names,
    remind::Reminder,
    stamp::{self, Stamp},
};
use crate::{
    config::{CertificateFiles, Terms, Tls},
    error::Error,
    quiet::Quiet,
    report::wall_clock,
    shared::Shared,
};
use model::{Certificate, Time};
use rustls::{
    ServerConfig,
    crypto::ring::{self, Ticketer},
    server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use std::{
    fmt::Display,
    io, mem,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};
use tokio::{
    runtime::Builder,
    sync::oneshot,
    time::{MissedTickBehavior, interval},
};

/// What is offered to clients by ALPN, in order of preference.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Keeps certificates.
pub(crate) struct Keeper {
    plane: Arc<Plane>,
    shared: Arc<Shared>,
    terms_at: PathBuf,
    watch: Watch,
    terms: Terms,
    sources: Vec<Source>,
    /// Where the local authority is kept.
    local_at: PathBuf,
    local: Option<Local>,
    acme: Acme,
    believed: Believed,
    trouble: Quiet,
    tickets: Arc<dyn ProducesTickets>,
}

/// The keeper's thread. It ends after this is dropped.
pub(crate) struct Keeping {
    /// To wait for.
    pub(crate) thread: JoinHandle<()>,
    /// Held, not used: the thread sees when it is dropped.
    pub(crate) end: oneshot::Sender<()>,
}

impl Keeper {
    /// Puts in force what is there now. What cannot be used does not keep the data plane from starting: it may carry
    /// requests in clear and for other hosts.
    ///
    /// # Errors
    /// When the system has no random numbers for the keys of tickets.
    pub(crate) fn new(tls: &Tls, data_dir: &Path, plane: Arc<Plane>, shared: Arc<Shared>) -> Result<Keeper, Error> {
        let tickets = Ticketer::new().map_err(|error| Error::Resources {
            what: "random numbers for TLS session tickets",
            source: io::Error::other(error),
        })?;
        let local_at = data_dir.join("tls");
        let acme = Acme::new(local_at.join("acme"), Arc::clone(&plane.shown), Arc::clone(&shared));
        let mut keeper = Keeper {
            plane,
            shared,
            terms_at: tls.terms.clone(),
            watch: Watch::default(),
            terms: Terms::default(),
            sources: Vec::new(),
            local_at,
            local: None,
            acme,
            believed: Believed::default(),
            trouble: Quiet::default(),
            tickets,
        };
        keeper.look();
        Ok(keeper)
    }

    /// Goes on looking, in a thread of its own.
    ///
    /// # Errors
    /// When the system gives no thread or no runtime.
    pub(crate) fn start(self) -> Result<Keeping, Error> {
        let resources = |source| Error::Resources { what: "the thread that keeps certificates", source };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(resources)?;
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("certificates".into());
        let run = move || {
            runtime.block_on(self.run(ended));
            // A name that is still looked up keeps nobody waiting.
            runtime.shutdown_background();
        };
        let thread = thread.spawn(run).map_err(resources)?;
        Ok(Keeping { thread, end })
    }

    async fn run(mut self, mut ended: oneshot::Receiver<()>) {
        let mut tables = self.shared.changed.subscribe();
        let mut tick = interval(self.shared.limits.look);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut ended => return,
                _ = tick.tick() => self.look(),
                // Other routes may be other hosts.
                _ = tables.changed() => self.look(),
                () = self.acme.ended(wall_clock) => self.look(),
            }
            // Whoever takes over asks from now on.
            match *self.shared.stop.borrow() {
                None => self.acme.ask(wall_clock()),
                Some(_) => self.acme.rest(),
            }
        }
    }

    fn look(&mut self) {
        let mut anew = self.read_terms();
        for source in &mut self.sources {
            anew |= source.look();
        }
        anew |= self.renew_local();
        if self.believed.keep(self.terms.clients.as_ref()) {
            self.renew_tickets();
            anew = true;
        }
        anew |= self.look_at_authority();
        if anew {
            self.put_in_force();
        }
        let now = wall_clock();
        self.sources.iter_mut().for_each(|source| source.remind(now));
        self.acme.remind(now);
    }

    /// Whether there are other terms than before.
    fn read_terms(&mut self) -> bool {
        if !self.watch.is_due([Stamp::of(&self.terms_at), None]) {
            return false;
        }
        let read = stamp::read(&self.terms_at).and_then(|bytes| Ok(serde_json::from_slice::<Terms>(&bytes)?));
        match read {
            Ok(terms) => {
                let mut before = mem::take(&mut self.sources);
                for files in &terms.certificates {
                    let known = before.iter().position(|source| source.files == *files);
                    let source = known.map_or_else(|| Source::new(files.clone()), |at| before.swap_remove(at));
                    self.sources.push(source);
                }
                self.terms = terms;
                true
            }
            Err(error) => {
                let path = self.terms_at.display();
                tracing::error!(%path, %error, "the terms of TLS cannot be read; those before stay in force");
                false
            }
        }
    }

    /// Whether there is another certificate for development, or none any more.
    fn renew_local(&mut self) -> bool {
        if !self.terms.local {
            return self.local.take().is_some();
        }
        let now = wall_clock();
        let renewed = match self.local.take().map_or_else(|| Local::open(&self.local_at, now), Ok) {
            Ok(local) => {
                let table = self.shared.table.load();
                let hosts = table.hosts().filter_map(|host| str::from_utf8(host).ok());
                self.local.insert(local).renew(hosts, now)
            }
            Err(error) => Err(error),
        };
        renewed.unwrap_or_else(|error| {
            if let Some(withheld) = self.trouble.pass() {
                tracing::error!(%error, withheld, "there is no local certificate");
            }
            false
        })
    }

    /// Whether there are other certificates from an authority, or others that should be there.
    fn look_at_authority(&mut self) -> bool {
        let from_files =
            |host: &str| self.sources.iter().any(|source| source.loaded.as_ref().is_some_and(|l| l.is_for(host)));
        self.acme.keep(self.terms.acme.as_ref(), from_files)
    }

    /// Nobody who was believed before resumes as somebody who is believed now.
    fn renew_tickets(&mut self) {
        match Ticketer::new() {
            Ok(tickets) => self.tickets = tickets,
            Err(error) => tracing::error!(%error, "there are no random numbers for TLS session tickets"),
        }
    }

    fn put_in_force(&self) {
        let issued = self.local.as_ref().and_then(|local| Some((local, local.issued.as_ref()?)));
        let own = self.sources.iter().filter_map(|source| source.loaded.as_ref());
        // Who names no host was told an address.
        let addressed = self.local.as_ref().and_then(|local| local.addressed.as_ref());
        let all = own.chain(self.acme.held()).chain(addressed).chain(issued.map(|(_, loaded)| loaded));
        let proofs = self.acme.is_on().then(|| Arc::clone(&self.plane.shown));
        let names = Names::new(all, issued.map(|(_, loaded)| loaded)).with_proofs(proofs);
        let verifier = self.believed.verifier();
        // An authority that looks for a proof is answered before there is anything else to present.
        let config = if let Err(error) = &verifier {
            tracing::error!(%error, "clients cannot be checked: connections with TLS are closed");
            None
        } else if names.is_empty() && !self.acme.is_on() {
            tracing::error!("there is no certificate to present: connections with TLS are closed");
            None
        } else {
            let verifier = verifier.ok().flatten().unwrap_or_else(WebPkiClientVerifier::no_client_auth);
            match server_config(names, verifier, self.acme.is_on(), Arc::clone(&self.tickets)) {
                Ok(config) => Some(Arc::new(config)),
                Err(error) => {
                    tracing::error!(%error, "these certificates cannot be put in force; those before stay");
                    return;
                }
            }
        };
        let local = issued
            .map(|(local, loaded)| certificate::describe(&local.trusted_at.display().to_string(), Some(loaded), None));
        let from_files = self.sources.iter().map(Source::certificate);
        let certificates = from_files.chain(self.acme.certificates()).chain(local).collect();
        let Terms { redirect, hsts, .. } = self.terms;
        self.plane.in_force.store(Arc::new(InForce { config, redirect, hsts, certificates }));
    }
}

fn server_config(
    names: Names,
    verifier: Arc<dyn ClientCertVerifier>,
    with_authority: bool,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(names));
    let looks = with_authority.then_some(acme::PROTOCOL);
    config.alpn_protocols = PROTOCOLS.into_iter().chain(looks).map(<[u8]>::to_vec).collect();
    // Tickets are kept by the clients; a store of our own would be a lock that all threads share.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets;
    Ok(config)
}

/// A certificate from files.
struct Source {
    files: CertificateFiles,
    watch: Watch,
    loaded: Option<Loaded>,
    problem: Option<String>,
    reminder: Reminder,
}

impl Source {
    fn new(files: CertificateFiles) -> Source {
        Source { files, watch: Watch::default(), loaded: None, problem: None, reminder: Reminder::default() }
    }

    /// Whether something has changed.
    fn look(&mut self) -> bool {
        if !self.watch.is_due([Stamp::of(&self.files.chain), Stamp::of(&self.files.key)]) {
            return false;
        }
        match Loaded::read(&self.files) {
            Ok(loaded) => {
                tracing::info!(certificate = %self.name(), hosts = loaded.names.join(", "), "certificate in force");
                self.loaded = Some(loaded);
                self.problem = None;
                self.reminder = Reminder::default();
                if let Some(warning) = certificate::exposed(&self.files.key) {
                    tracing::warn!("{warning}");
                }
            }
            Err(error) => {
                let instead = match self.loaded {
                    Some(_) => "the one before stays in force",
                    None => "its hosts cannot be reached with TLS",
                };
                tracing::error!(certificate = %self.name(), %error, "a certificate cannot be used; {instead}");
                self.problem = Some(error.to_string());
            }
        }
        true
    }

    /// Says, now and then, that it should be renewed.
    fn remind(&mut self, now: Time) {
        if let Some(loaded) = &self.loaded {
            self.reminder.remind(&self.files.chain.display().to_string(), loaded, now);
        }
    }

    fn certificate(&self) -> Certificate {
        certificate::describe(&self.name().to_string(), self.loaded.as_ref(), self.problem.clone())
    }

    fn name(&self) -> impl Display {
        self.files.chain.display()
    }
}

/// When files are to be read: at first, and when they have changed and stayed so from one look to the next.
/// Three at most.
#[derive(Default)]
pub(super) struct Watch {
    last: Option<Stamps>,
    read: Option<Stamps>,
}

type Stamps = [Option<Stamp>; 3];

impl Watch {
    /// Whether they are to be read now.
    pub(super) fn is_due<const N: usize>(&mut self, stamps: [Option<Stamp>; N]) -> bool {
        let mut now = Stamps::default();
        now.iter_mut().zip(stamps).for_each(|(now, stamp)| *now = stamp);
        let settled = self.last.is_none_or(|last| last == now);
        self.last = Some(now);
        if !settled || self.read == Some(now) {
            return false;
        }
        self.read = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_is_read_once_it_has_settled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut watch = Watch::default();
        let mut look = || watch.is_due([Stamp::of(&path), None]);
        assert!(look(), "at first, even if there is none: reading it says so");
        assert!(!look());
        fs::write(&path, "half").unwrap();
        assert!(!look(), "just now");
        fs::write(&path, "the whole").unwrap();
        assert!(!look(), "still written");
        assert!(look());
        assert!(!look());
        fs::remove_file(&path).unwrap();
        assert!(!look());
        assert!(look(), "gone for good");
    }
}
