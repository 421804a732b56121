//! What is written down of a request: one line, when all of it is over, however it ended.

use crate::{
    admit::Asked,
    assign::Point,
    clerk::hand_in,
    connection::Client,
    lane::Lane,
    origin::Origin,
    refusal::Refusal,
    settings::{AccessLog, LogFormat, Settings},
    tally::Outcome,
    worker::Worker,
};
use http::{
    HeaderName,
    header::{REFERER, USER_AGENT},
};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use model::{InstanceId, ReleaseId, RouteName, ServiceKey};
use serde::Serialize;
use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// How much of a field, or of a path, is written.
const MOST: usize = 1024;

/// The identity of a trace (W3C).
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request that is to be written down. It is when this is dropped.
pub(crate) struct Record {
    worker: Rc<Worker>,
    settings: Arc<Settings>,
    began: Instant,
    at: Timestamp,
    client: String,
    method: String,
    host: String,
    target: String,
    protocol: &'static str,
    referer: String,
    agent: String,
    trace: String,
    answered: Answered,
}

/// What became of it.
#[derive(Default)]
struct Answered {
    status: u16,
    bytes: u64,
    outcome: Option<Outcome>,
    service: Option<ServiceKey>,
    release: Option<ReleaseId>,
    instance: Option<InstanceId>,
    route: Option<RouteName>,
    /// Which bound was met, and who has set it.
    bound: Option<(&'static str, &'static str)>,
}

impl Record {
    /// Of a request that has just arrived. `None`: nothing is written down.
    pub(crate) fn begin(
        client: &Client,
        request: &impl Asked,
        protocol: &'static str,
        origin: &Origin,
        began: Instant,
    ) -> Option<Box<Record>> {
        let worker = &client.worker;
        worker.lines.as_ref()?;
        let settings = worker.shared.settings.load();
        let log = settings.access_log.as_ref()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.get(..MOST).unwrap_or(bytes)).into_owned();
        let field = |name: &HeaderName| request.fields(name).next().map(text).unwrap_or_default();
        let target = if log.query { request.target() } else { request.path() };
        let trace = field(&TRACEPARENT);
        Some(Box::new(Record {
            worker: Rc::clone(worker),
            began,
            at: Timestamp::now(),
            client: text(origin.address().as_bytes()),
            method: text(request.method().as_bytes()),
            host: text(request.host()),
            target: text(target.as_bytes()),
            protocol,
            referer: if log.query { field(&REFERER) } else { without_query(field(&REFERER)) },
            agent: field(&USER_AGENT),
            trace: trace.split('-').nth(1).unwrap_or_default().to_owned(),
            answered: Answered::default(),
            settings: Arc::clone(&settings),
        }))
    }

    /// The client is given this status.
    pub(crate) fn status(&mut self, status: u16) {
        self.answered.status = status;
    }

    /// So many bytes of a body were passed on.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.answered.bytes += bytes as u64;
    }

    /// It is one for this service, by a route of this name or of none.
    pub(crate) fn found(&mut self, service: &ServiceKey, route: Option<&RouteName>) {
        self.answered.service = Some(service.clone());
        self.answered.route = route.cloned();
    }

    /// It was not answered, for this.
    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        self.answered.bound = refusal.bound();
    }

    /// Who answered, and how that ended. `of`: the arm, and the position of what its route says itself.
    pub(crate) fn settle(
        &mut self,
        lane: &Lane,
        of: (usize, Option<usize>),
        instance: Option<InstanceId>,
        outcome: Outcome,
    ) {
        let (service, (arm, own)) = (&lane.service, of);
        let bounds = service.bounds.of(own);
        self.answered.outcome = Some(outcome);
        if outcome == Outcome::Timeout {
            // Either nothing had come, or no more.
            self.answered.bound = Some(match self.answered.status {
                0 => ("response_timeout", bounds.response_timeout.by.name()),
                _ => ("idle_timeout", bounds.idle_timeout.by.name()),
            });
        }
        if self.answered.status == 0 {
            self.answered.status = outcome.status();
        }
        self.answered.release = service.arms.get(arm).map(|arm| arm.release);
        self.answered.instance = instance;
    }

    /// It was cut after it had been settled.
    pub(crate) fn cut(&mut self) {
        self.answered.outcome = Some(Outcome::Cut);
    }

    fn is_written(&self, log: &AccessLog) -> bool {
        let went_well = match self.answered.outcome {
            Some(Outcome::Answered | Outcome::Cached) => self.answered.status < 500,
            None => self.answered.status < 400,
            Some(_) => false,
        };
        !went_well || Point::from_uniform(self.worker.random.next()).is_below(log.sample)
    }

    fn line(&self, format: LogFormat, took: Duration) -> Vec<u8> {
        let mut line = match format {
            LogFormat::Json => serde_json::to_vec(&Line::of(self, took)).unwrap_or_default(),
            LogFormat::Combined => self.combined().into_bytes(),
        };
        line.push(b'\n');
        line
    }

    fn combined(&self) -> String {
        let Answered { status, bytes, .. } = self.answered;
        let at = Zoned::new(self.at, TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S %z");
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { quoted(text) };
        format!(
            "{} - - [{at}] \"{} {} {}\" {status} {bytes} \"{}\" \"{}\"",
            quoted(&self.client),
            quoted(&self.method),
            quoted(&self.target),
            self.protocol,
            or_dash(&self.referer),
            or_dash(&self.agent),
        )
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let (Some(log), Some(lines)) = (&self.settings.access_log, &self.worker.lines) else { return };
        if self.is_written(log) && !hand_in(lines, self.line(log.format, self.began.elapsed())) {
            self.worker.counts.unwritten.increment();
        }
    }
}

/// A line of JSON. What is not there is left out.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    client: &'a str,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    protocol: &'a str,
    status: u16,
    bytes: u64,
    ms: f64,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_by: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    referer: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    agent: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace: &'a str,
}

impl<'a> Line<'a> {
    fn of(record: &'a Record, took: Duration) -> Line<'a> {
        let Answered { status, bytes, outcome, service, release, instance, route, bound } = &record.answered;
        Line {
            time: format!("{:.3}", record.at),
            client: &record.client,
            method: &record.method,
            host: &record.host,
            path: &record.target,
            protocol: record.protocol,
            status: *status,
            bytes: *bytes,
            ms: (took.as_secs_f64() * 1e6).round() / 1e3,
            outcome: outcome.map_or("ours", Outcome::name),
            service: service.as_ref().map(ToString::to_string),
            release: release.map(|release| release.to_string()),
            instance: instance.map(|instance| instance.to_string()),
            route: route.as_ref().map(RouteName::as_str),
            bound: bound.map(|(bound, _)| bound),
            bound_by: bound.map(|(_, by)| by),
            referer: &record.referer,
            agent: &record.agent,
            trace: &record.trace,
        }
    }
}

pub(crate) fn without_query(mut address: String) -> String {
    if let Some(at) = address.find(['?', '#']) {
        address.truncate(at);
    }
    address
}

/// What can stand between quotes in one line.
fn quoted(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\x{:02x}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_writes_lines_of_their_own() {
        assert_eq!(quoted("a\" \"b\\\n200"), r#"a\" \"b\\\x0a200"#);
    }

    #[test]
    fn what_follows_a_path_is_not_written() {
        assert_eq!(without_query("https://a.test/b?token=1".into()), "https://a.test/b");
        assert_eq!(without_query("https://a.test/b#c?d".into()), "https://a.test/b");
    }
}
