//! Certificates from an authority, by ACME (RFC 8555): which hosts have one, which get one next, and what is told of them.
//!
//! Level-triggered, as everything here: [`Acme::keep`] is told what is wanted now, [`Acme::ask`] begins the order that is
//! due, and at most one is under way, as a task beside the keeper's other work. What was issued is in files ([`store`]), so
//! that a restart asks for nothing. A host that failed is left alone for a while, and longer each time.
//!
//! Start reading at [`order`], the life of one order.

mod account;
mod error;
mod exchange;
mod order;
mod proof;
mod schedule;
mod store;

pub(super) use proof::{PROTOCOL, Shown, is_look};
pub(super) use schedule::Wanted;

use super::{
    certificate::{self, Loaded},
    remind::Reminder,
};
use crate::{config, shared::Shared};
use error::Error;
use model::{Certificate, Span, Time};
use order::Job;
use proof::Way;
use ring::rand::{SecureRandom as _, SystemRandom};
use schedule::{MAX_HOSTS, is_due, pause};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use store::Store;
use tokio::task::JoinSet;

/// What is had, and asked for, from one authority.
pub(super) struct Acme {
    /// Where all authorities are kept.
    at: PathBuf,
    shown: Arc<Shown>,
    shared: Arc<Shared>,
    /// With whom. `None`: with nobody.
    with: Option<(Arc<config::Acme>, Store)>,
    hosts: BTreeMap<String, Host>,
    /// Those that have come and gone, too, as long as there is a file.
    known: BTreeSet<String>,
    beyond: usize,
    /// The order that is under way.
    under_way: JoinSet<Result<Loaded, Error>>,
    /// For whom it is.
    busy: Option<String>,
    changed: bool,
}

/// One host that gets its certificate here.
#[derive(Default)]
struct Host {
    held: Option<Loaded>,
    /// In a row.
    failures: u32,
    /// How often the authority has looked in vain: each time the other way is tried next, and the one that worked is kept.
    unseen: u32,
    /// Not before then.
    next: Option<Time>,
    problem: Option<String>,
    reminder: Reminder,
}

impl Acme {
    /// For nobody yet. What is issued is kept below this directory.
    pub(super) fn new(at: PathBuf, shown: Arc<Shown>, shared: Arc<Shared>) -> Acme {
        Acme {
            at,
            shown,
            shared,
            with: None,
            hosts: BTreeMap::new(),
            known: BTreeSet::new(),
            beyond: 0,
            under_way: JoinSet::new(),
            busy: None,
            changed: false,
        }
    }

    /// Whether there is an authority.
    pub(super) fn is_on(&self) -> bool {
        self.with.is_some()
    }

    /// Whether something has changed since this was asked last. `has_file`: whether a host has a certificate from files.
    pub(super) fn keep(&mut self, terms: Option<&config::Acme>, has_file: impl Fn(&str) -> bool) -> bool {
        if self.with.as_ref().map(|(known, _)| &**known) != terms {
            self.rest();
            self.hosts.clear();
            self.with = terms.map(|terms| (Arc::new(terms.clone()), Store::new(&self.at, &terms.directory)));
            self.known = self.with.as_ref().map(|(_, store)| store.hosts()).unwrap_or_default();
            self.changed = true;
        }
        let Some((terms, store)) = &self.with else { return std::mem::take(&mut self.changed) };
        let table = self.shared.table.load();
        let hosts = table.hosts().filter_map(|host| str::from_utf8(host).ok());
        let Wanted { hosts, beyond } = Wanted::new(&terms.hosts, hosts, has_file, &self.known);
        let before = self.hosts.len();
        self.hosts.retain(|host, _| hosts.contains(host));
        self.changed |= self.hosts.len() != before || self.beyond != beyond;
        self.beyond = beyond;
        for host in hosts {
            if !self.hosts.contains_key(&host) {
                let found = match store.certificate(&host) {
                    Ok(held) => Host { held, ..Host::default() },
                    Err(error) => Host { problem: Some(error.to_string()), ..Host::default() },
                };
                self.known.insert(host.clone());
                self.hosts.insert(host, found);
                self.changed = true;
            }
        }
        std::mem::take(&mut self.changed)
    }

    /// Begins the order that is due, unless one is under way.
    pub(super) fn ask(&mut self, now: Time) {
        let Some((terms, store)) = self.with.as_ref().filter(|_| self.busy.is_none()) else { return };
        let validity = |host: &Host| host.held.as_ref().map(|held| held.validity);
        let due = self
            .hosts
            .iter()
            .filter(|(_, host)| is_due(validity(host), now) && host.next.is_none_or(|next| now >= next));
        // Hosts that fail again and again keep no other waiting.
        let Some((name, host)) = due.min_by_key(|(_, host)| (host.failures, host.next)) else { return };
        let job = Job {
            terms: Arc::clone(terms),
            host: name.clone(),
            ways: ways(&self.shared, host.unseen),
            store: store.clone(),
            shown: Arc::clone(&self.shown),
            wait: self.shared.limits.acme_poll,
        };
        self.busy = Some(name.clone());
        self.under_way.spawn(async move { job.run().await });
    }

    /// Gives up what is under way: another data plane takes over, or another authority is asked.
    pub(super) fn rest(&mut self) {
        self.under_way.abort_all();
        self.under_way = JoinSet::new();
        self.busy = None;
    }

    /// Waits for the order that is under way to end. May be dropped and called again.
    pub(super) async fn ended(&mut self, now: impl Fn() -> Time) {
        let Some(ended) = self.under_way.join_next().await else { return pending().await };
        self.changed = true;
        let ended = ended.unwrap_or(Err(Error::Gone));
        let Some(name) = self.busy.take() else { return };
        // Nobody may want it any more; then it is in its file.
        let Some(host) = self.hosts.get_mut(&name) else { return };
        let (first, now) = (self.shared.limits.acme_pause, now());
        match ended {
            Ok(held) => {
                let valid_for = held.validity.until.since(now);
                tracing::info!(host = name, %valid_for, "the authority issued a certificate");
                // One that ends at once must not be followed by another at once.
                *host =
                    Host { held: Some(held), next: Some(now + span(first)), unseen: host.unseen, ..Host::default() };
            }
            Err(error) => {
                host.failures = host.failures.saturating_add(1);
                let is_unseen = matches!(error, Error::NotProved { .. });
                host.unseen = host.unseen.wrapping_add(u32::from(is_unseen));
                let pause = match is_unseen && host.failures == 1 && ways(&self.shared, 0).len() > 1 {
                    // The other way has not been tried yet.
                    true => Duration::ZERO,
                    false => pause(host.failures, first, error.retry_after(), chance()),
                };
                host.next = Some(now + span(pause));
                host.problem = Some(error.to_string());
                let next = span(pause);
                match &host.held {
                    Some(held) => {
                        let left = held.validity.until.since(now);
                        tracing::warn!(host = name, %error, %left, %next, "a certificate was not renewed; next try later");
                    }
                    None => tracing::warn!(host = name, %error, %next, "there is no certificate yet; next try later"),
                }
            }
        }
    }

    /// Says, now and then, of whatever could not be renewed and ends soon.
    pub(super) fn remind(&mut self, now: Time) {
        for (name, host) in &mut self.hosts {
            if let (Some(held), Some(_)) = (&host.held, &host.problem) {
                host.reminder.remind(name, held, now);
            }
        }
    }

    /// What can be presented.
    pub(super) fn held(&self) -> impl Iterator<Item = &Loaded> {
        self.hosts.values().filter_map(|host| host.held.as_ref())
    }

    /// For reports: each host, and that there are too many.
    pub(super) fn certificates(&self) -> Vec<Certificate> {
        let Some((terms, _)) = &self.with else { return Vec::new() };
        let authority = terms.directory.trim_start_matches("https://").split('/').next().unwrap_or_default();
        let of_host = |(name, host): (&String, &Host)| Certificate {
            next_try: host.next.filter(|_| host.problem.is_some()),
            ..certificate::describe(&format!("{name} from {authority}"), host.held.as_ref(), host.problem.clone())
        };
        let beyond = (self.beyond > 0).then(|| {
            let problem = format!(
                "{} more hosts than {MAX_HOSTS} are not asked for: name those that need one as `hosts` under [proxy.tls.acme], or \
                 give the others certificates from files",
                self.beyond
            );
            certificate::describe(authority, None, Some(problem))
        });
        self.hosts.iter().map(of_host).chain(beyond).collect()
    }
}

/// How an authority may look, the way to be tried next first.
fn ways(shared: &Shared, unseen: u32) -> Vec<Way> {
    Way::in_order(shared.listening.iter().map(|(_, begins)| *begins), unseen)
}

fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Anything; without random numbers, the middle.
fn chance() -> u8 {
    let mut byte = [u8::MAX / 2];
    // What was there stays.
    let _ = SystemRandom::new().fill(&mut byte);
    byte[0]
}
