//! A request that goes to an instance, and what becomes of its response: waited for by others who want the same, and stored when
//! it is whole.
//!
//! Of several requests for the same at once, one goes ahead and the others wait for it: so many, and so long, and no longer than until
//! it is clear that its response cannot be stored. Then each goes on its own. Places whose last response was of no
//! use to others are remembered, and nobody waits there.

use super::{
    Cache, Found, MAX_BODY, Usable,
    answer::Wanted,
    disk::{BLOCK, Extent},
    key::{Key, Selection},
    policy::{Directives, Moments, Terms, Use, has_validator},
    status::{Status, Why},
    store::Entry,
    stored::Stored,
};
use crate::{body::Content, headers::forward_response};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode, Version,
    header::{
        AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, LAST_MODIFIED, TRAILER, TRANSFER_ENCODING,
    },
    response,
};
use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};
use tokio::{sync::watch, time::timeout};

/// How long a request waits for another one to bring what it wants.
const WAIT: Duration = Duration::from_secs(5);

/// How many wait for one.
const WAITING: usize = 1024;

/// How many are waited for at once.
const FLIGHTS: usize = 1024;

/// A request for something that may be stored.
pub(crate) struct Fetch {
    cache: Arc<Cache>,
    key: Key,
    /// The client's fields.
    request: HeaderMap,
    asked: Directives,
    /// What is stored, and not to be used as it is.
    fallback: Option<Arc<Entry>>,
    /// Why it goes on to an instance.
    pub(crate) why: Why,
    judged: Judged,
    /// How often its place had been changed.
    changes: u64,
    /// The generation of the table in force: what is purged by a later one is not stored any more.
    born: u64,
    sent: Instant,
    /// Until when it has waited for another one.
    pub(crate) waited: Option<Instant>,
    lead: Option<Lead>,
}

/// Whether what an instance makes of a request is evidence. Then all of them get it alike: nothing is spared by what one of
/// the releases has stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Judged {
    Yes,
    No,
}

/// What an instance is asked for by several requests at once.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Key, Flight>>);

/// One that has gone ahead.
struct Flight {
    landed: Arc<watch::Sender<bool>>,
    /// As its request is.
    born: u64,
}

/// The right, and the duty, to bring something for all who wait. It ends by being dropped.
struct Lead {
    cache: Arc<Cache>,
    key: Key,
    landed: Arc<watch::Sender<bool>>,
}

enum Place {
    Leads(Lead),
    Follows(watch::Receiver<bool>),
    Alone,
}

impl Fetch {
    #[allow(clippy::too_many_arguments, reason = "it is made in one place, of what was found there")]
    pub(super) fn new(
        cache: &Arc<Cache>,
        key: Key,
        request: &HeaderMap,
        asked: Directives,
        fallback: Option<Arc<Entry>>,
        why: Why,
        judged: Judged,
        born: u64,
        now: Instant,
    ) -> Fetch {
        Fetch {
            cache: Arc::clone(cache),
            changes: cache.changes(&key.place),
            key,
            request: request.clone(),
            asked,
            fallback,
            why,
            judged,
            born,
            sent: now,
            waited: None,
            lead: None,
        }
    }

    /// Goes ahead, or waits for the one that has.
    pub(crate) async fn join(mut self: Box<Fetch>) -> Found {
        // Who wants something new would wait for what is older than the request.
        if self.judged == Judged::Yes || self.asked.is_particular() || self.cache.passes(&self.key.place, &self.request)
        {
            return Found::Fetch(self);
        }
        match self.place() {
            Place::Leads(lead) => self.lead = Some(lead),
            Place::Follows(mut landed) => {
                // In time or not, what is stored decides.
                let _ = timeout(WAIT, landed.wait_for(|landed| *landed)).await;
                self.sent = Instant::now();
                self.waited = Some(self.sent);
            }
            Place::Alone => return Found::Fetch(self),
        }
        // Also for one that leads: another one may have landed since it was looked for.
        self.changes = self.cache.changes(&self.key.place);
        self.born = self.cache.purged.generation();
        let is_gone = |entry: &Arc<Entry>| self.cache.purged.takes(&self.key.place, entry.born);
        self.fallback = self.fallback.take().filter(|entry| !is_gone(entry));
        match self.cache.get(&self.key, &self.request) {
            Some(entry) if entry.terms.usable(&self.asked, Instant::now()) == Use::Fresh => {
                Found::Usable(Usable { entry, status: Status::Collapsed, part: None, behind: None })
            }
            Some(_) | None => Found::Fetch(self),
        }
    }

    /// Becomes the one that asks, behind an answer. `false`: somebody does already, or too many do.
    pub(super) fn take_lead(&mut self) -> bool {
        match self.place() {
            Place::Leads(lead) => self.lead = Some(lead),
            Place::Follows(_) | Place::Alone => return false,
        }
        true
    }

    fn place(&self) -> Place {
        let mut flights = self.cache.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What one brings that was sent before a purge is of no use to those who come after it.
        let known = flights.get(&self.key).filter(|flight| !self.cache.purged.takes(&self.key.place, flight.born));
        if let Some(Flight { landed, .. }) = known {
            let has_room = landed.receiver_count() < WAITING;
            return if has_room { Place::Follows(landed.subscribe()) } else { Place::Alone };
        }
        if flights.len() >= FLIGHTS {
            return Place::Alone;
        }
        let landed = Arc::new(watch::Sender::new(false));
        flights.insert(self.key.clone(), Flight { landed: Arc::clone(&landed), born: self.born });
        Place::Leads(Lead { cache: Arc::clone(&self.cache), key: self.key.clone(), landed })
    }

    /// Asks the instance whether what is stored still holds, instead of what the client asked.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        let Some(entry) = self.asks_about() else { return };
        for (from, to) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            match entry.headers.get(from) {
                Some(value) => drop(headers.insert(to, value.clone())),
                None => drop(headers.remove(to)),
            }
        }
    }

    fn asks_about(&self) -> Option<&Arc<Entry>> {
        self.fallback.as_ref().filter(|entry| self.judged == Judged::No && has_validator(&entry.headers))
    }

    /// The answer when the instance says that what is stored still holds, which is stored anew. `None`: it was not asked.
    pub(crate) fn still_holds(&self, head: &response::Parts) -> Option<Response<Content>> {
        let entry = self.asks_about().filter(|_| head.status == StatusCode::NOT_MODIFIED)?;
        let mut sent = head.headers.clone();
        forward_response(&mut sent, None);
        let mut headers = entry.headers.clone();
        let kept = [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_TYPE, CONTENT_RANGE];
        for name in sent.keys().filter(|name| !kept.contains(name)) {
            headers.remove(name);
            headers.extend(sent.get_all(name).iter().map(|value| (name.clone(), value.clone())));
        }
        let at = self.moments();
        let terms = Terms::anew(&headers, at);
        let is_for_others = terms.is_some_and(|terms| terms.is_fresh(at.received));
        self.cache.set_passes(&self.key.place, &self.request, !is_for_others);
        headers.remove(AGE);
        let anew = Entry {
            status: entry.status,
            headers,
            body: entry.body.clone(),
            terms: terms.unwrap_or(entry.terms),
            selection: entry.selection.clone(),
            born: self.born,
        };
        let answer = anew.answer(&self.request, Wanted::Whole, Status::After(304), at.received);
        match terms {
            Some(_) => self.store(anew),
            None => self.cache.remove(&self.key),
        }
        Some(answer)
    }

    /// The answer when the instance has failed, as far as what is stored may be one then.
    pub(crate) fn on_error(&self, status: Status) -> Option<Response<Content>> {
        let now = Instant::now();
        let is_there = |entry: &&Arc<Entry>| !self.cache.purged.takes(&self.key.place, entry.born);
        let entry = self.fallback.as_ref().filter(is_there);
        let entry = entry.filter(|entry| entry.terms.serves_on_error(&self.asked, now))?;
        Some(entry.answer(&self.request, Wanted::Whole, status, now))
    }

    /// Keeps what comes now, if it may be stored. Whoever waits for it goes on if it may not.
    pub(crate) fn keep(self: Box<Fetch>, head: &response::Parts) -> Option<Box<Collector>> {
        let collector = self.collector(head);
        // What is not fresh when it comes is of no use to those who wait for it, either. One that has failed, or has only said that its
        // client knows it, says nothing of the next one.
        if head.status != StatusCode::NOT_MODIFIED && !head.status.is_server_error() {
            let is_for_others = collector.as_ref().is_some_and(|(_, _, terms, _)| terms.is_fresh(Instant::now()));
            self.cache.set_passes(&self.key.place, &self.request, !is_for_others);
        }
        let (status, headers, terms, selection) = collector?;
        Some(Box::new(Collector { fetch: self, status, headers, terms, selection, body: Vec::new(), extent: None }))
    }

    fn collector(&self, head: &response::Parts) -> Option<(StatusCode, HeaderMap, Terms, Selection)> {
        let has_end = head.version >= Version::HTTP_2
            || head.headers.contains_key(CONTENT_LENGTH)
            || head.headers.contains_key(TRANSFER_ENCODING)
            || head.status == StatusCode::NO_CONTENT;
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        // What ends with its connection may have been cut off.
        if !has_end || length.is_some_and(|length| length > self.cache.largest()) || head.headers.contains_key(TRAILER)
        {
            return None;
        }
        let mut headers = head.headers.clone();
        forward_response(&mut headers, None);
        let at = self.moments();
        let terms = Terms::of(&self.request, head.status, &headers, at)?;
        let selection = Selection::of(&headers, &self.request)?;
        headers.remove(AGE);
        if !headers.contains_key(DATE)
            && let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(at.wall))
        {
            headers.insert(DATE, date);
        }
        Some((head.status, headers, terms, selection))
    }

    fn moments(&self) -> Moments {
        Moments { sent: self.sent, received: Instant::now(), wall: SystemTime::now() }
    }

    /// Stores what has come, unless its place was changed meanwhile.
    fn store(&self, entry: Entry) {
        if self.is_unchanged() {
            self.cache.put(self.key.clone(), entry);
        }
    }

    fn is_unchanged(&self) -> bool {
        self.cache.changes(&self.key.place) == self.changes
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut flights = self.cache.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        // After a purge another one may have gone ahead.
        if flights.get(&self.key).is_some_and(|flight| Arc::ptr_eq(&flight.landed, &self.landed)) {
            flights.remove(&self.key);
        }
        drop(flights);
        self.landed.send_replace(true);
    }
}

/// A response that is being stored while it passes: in memory at first, and on disk when it is too large for that. What is not
/// completed is forgotten.
pub(crate) struct Collector {
    fetch: Box<Fetch>,
    status: StatusCode,
    headers: HeaderMap,
    terms: Terms,
    selection: Selection,
    /// What has come, behind what is on disk.
    body: Vec<u8>,
    /// What is on disk.
    extent: Option<Extent>,
}

impl Collector {
    /// A piece of its body passes. `false`: it is too much.
    pub(crate) fn take(&mut self, piece: &[u8]) -> bool {
        let cache = &self.fetch.cache;
        // Bodies under way take a part of what stored ones may, but one of them always fits.
        let most = (cache.budget.memory.0 / 8).max(MAX_BODY as u64);
        let before = cache.collecting.fetch_add(piece.len() as u64, Relaxed);
        self.body.extend_from_slice(piece);
        let most_here = if self.extent.is_some() { BLOCK } else { MAX_BODY };
        match self.body.len() <= most_here {
            true => before + piece.len() as u64 <= most,
            false => self.spill(),
        }
    }

    /// Hands the whole blocks of what has come over to the disk. `false`: there is none, or it has no room.
    fn spill(&mut self) -> bool {
        let cache = Arc::clone(&self.fetch.cache);
        let so_far = self.extent.as_ref().map_or(0, Extent::len) + self.body.len() as u64;
        let Some(disk) = cache.disk.as_ref().filter(|disk| so_far <= disk.largest()) else {
            cache.set_passes(&self.fetch.key.place, &self.fetch.request, true);
            return false;
        };
        let rest = self.body.split_off(self.body.len() - self.body.len() % BLOCK);
        self.release();
        let blocks = mem::replace(&mut self.body, rest);
        let extent = self.extent.get_or_insert_with(|| disk.begin());
        disk.append(extent, blocks.into())
    }

    /// It has passed as a whole, and is stored.
    pub(crate) fn complete(mut self: Box<Collector>) {
        if !self.fetch.is_unchanged() {
            return;
        }
        self.release();
        let cache = Arc::clone(&self.fetch.cache);
        let rest = Bytes::from(mem::take(&mut self.body).into_boxed_slice());
        let body = match (self.extent.take(), &cache.disk) {
            (Some(mut extent), Some(disk)) => {
                if !disk.append(&mut extent, rest) {
                    return;
                }
                Stored::Disk(extent.into())
            }
            (Some(_), None) => return,
            (None, _) => Stored::Memory(rest),
        };
        let mut headers = mem::take(&mut self.headers);
        if self.status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let selection = mem::take(&mut self.selection);
        let entry = Entry { status: self.status, headers, body, terms: self.terms, selection, born: self.fetch.born };
        match (&entry.body, &cache.disk) {
            // Found when it can be read. Those who wait for it wait until then.
            (Stored::Disk(_), Some(disk)) => drop(disk.then(move || self.fetch.store(entry))),
            (Stored::Disk(_), None) | (Stored::Memory(_), _) => self.fetch.store(entry),
        }
    }

    fn release(&self) {
        self.fetch.cache.collecting.fetch_sub(self.body.len() as u64, Relaxed);
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.release();
    }
}
