//! Following: what is recorded, as server-sent events that can be resumed at any entry.

use super::story::{PAGE, line, parse};
use crate::{
    Problem,
    body::{Ended, Events, Outlet},
    endpoint::Call,
    message::EventsQuery,
    served::Served,
};
use bytes::Bytes;
use control::{Entry, story::Subject};
use model::{Seq, Time};
use std::{fmt::Write as _, sync::Arc};
use tokio::time::timeout;

pub(super) async fn follow(call: Call<(), EventsQuery, ()>) -> Result<Events, Problem> {
    let length = call.served.control.snapshot().length;
    let resumed = match call.headers.get("last-event-id") {
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.parse::<u64>().ok());
            let id = id.ok_or_else(|| Problem::malformed("the Last-Event-ID is not the position of an entry"))?;
            Some(Seq(id.saturating_add(1)))
        }
        None => None,
    };
    let from = resumed.or(call.query.from).unwrap_or(Seq(length));
    if from.0 > length {
        let message = format!("the ledger has {length} entries, so there is nothing to resume at {from}");
        return Err(Problem::invalid(message, "was the ledger restored from an older copy? Begin again with `from=0`"));
    }
    let about = call.query.about.as_deref().map_or(Ok(Subject::Everything), parse)?;
    let (outlet, flow) = call.served.open_stream()?;
    tokio::spawn(async move {
        // Whoever follows asks again from the last entry that arrived, however this ended.
        let _ = Following { served: call.served, outlet, about, next: from, before: None }.run().await;
    });
    Ok(Events(flow))
}

struct Following {
    served: Arc<Served>,
    outlet: Outlet,
    about: Subject,
    next: Seq,
    /// The time of the entry that was sent last.
    before: Option<Time>,
}

impl Following {
    async fn run(mut self) -> Result<(), Ended> {
        let mut length = self.served.control.length_changes();
        let keep_alive = self.served.bounds.keep_alive;
        self.outlet.send(Ok(Bytes::from(format!(": from {}\n\n", self.next)))).await?;
        loop {
            let durable = *length.borrow_and_update();
            while self.next.0 < durable {
                self.page(durable).await?;
            }
            match self.outlet.wait(timeout(keep_alive, length.changed())).await? {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Ended),
                Err(_) => self.outlet.send(Ok(Bytes::from_static(b": still here\n\n"))).await?,
            }
        }
    }

    /// Sends the next entries below `durable`.
    async fn page(&mut self, durable: u64) -> Result<(), Ended> {
        let entries = self.served.backend.entries(self.next, PAGE).await.map_err(|problem| {
            tracing::warn!(%problem, "an event stream ends, because the ledger cannot be read");
            Ended
        })?;
        let Some(last) = entries.last() else { return Err(Ended) };
        self.next = Seq(last.seq.0 + 1);
        for entry in entries.iter().take_while(|entry| entry.seq.0 < durable) {
            if self.about.concerns(entry) {
                let event = self.event(entry);
                self.outlet.send(Ok(event)).await?;
            }
        }
        self.next = Seq(self.next.0.min(durable));
        Ok(())
    }

    fn event(&mut self, entry: &Entry) -> Bytes {
        let line = line(entry, self.before.unwrap_or(entry.time));
        self.before = Some(entry.time);
        // A line is plain values, which always serialise; JSON text has no line breaks.
        let data = serde_json::to_string(&line).unwrap_or_default();
        let mut event = String::with_capacity(data.len() + 48);
        let _ = write!(event, "event: entry\nid: {}\ndata: {data}\n\n", entry.seq.0);
        event.into()
    }
}
