//! Waits for changes and shows how they go: in place on a terminal, else a line whenever something happens.
//!
//! It only looks. A change goes on whatever becomes of this process, and of the server for a while.

use super::{context::Context, failure::Failure, live::Live};
use crate::{render, serve::clock::wall};
use control::{
    change::{Outcome, Phase},
    view::ChangeView,
};
use model::ChangeId;
use serde_json::json;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How often is looked.
const LOOK: Duration = Duration::from_millis(250);
/// How long the server may be away, such as while it is restarted.
const AWAY: Duration = Duration::from_secs(60);

/// How often a log gets a line when nothing happens.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// What counts as having ended as asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// The change is promoted or has succeeded.
    Done,
    /// The change is undone.
    Undone,
}

impl Wanted {
    /// Whether this is how it should end; `None` while nothing is certain.
    fn judge(self, view: &ChangeView) -> Option<bool> {
        match (self, view.phase, view.outcome) {
            (Wanted::Done, Phase::HoldingBack, _) => Some(true),
            (_, _, None) => None,
            (Wanted::Done, _, Some(outcome)) => Some(outcome == Outcome::Succeeded),
            (Wanted::Undone, _, Some(outcome)) => Some(matches!(outcome, Outcome::RolledBack | Outcome::Cancelled)),
        }
    }
}

/// Follows changes until each has ended, or is promoted.
pub(crate) async fn follow(context: &Context, changes: &[ChangeId], wanted: Wanted) -> Result<(), Failure> {
    tokio::select! {
        ended = watch(context, changes, wanted) => ended,
        _ = tokio::signal::ctrl_c() => {
            let ids: Vec<String> = changes.iter().map(ChangeId::to_string).collect();
            context.out.note(|ink| {
                let first = ids.first().map_or("", String::as_str);
                let text = format!("{} goes on. Follow it with `qd change {first} --follow`, undo it with `qd cancel {first}`.", ids.join(", "));
                format!("\n{}", render::wrap(&text, ink.width, ""))
            });
            Err(Failure::Interrupted)
        }
    }
}

async fn watch(context: &Context, changes: &[ChangeId], wanted: Wanted) -> Result<(), Failure> {
    let client = context.client()?;
    let mut teller = Teller::new(context);
    let mut views: BTreeMap<ChangeId, ChangeView> = BTreeMap::new();
    let mut away_since: Option<Instant> = None;
    let mut as_asked = true;
    let mut waiting: Vec<ChangeId> = changes.to_vec();
    while !waiting.is_empty() {
        for id in waiting.clone() {
            let view = match client.change(id).await.map_err(Failure::from) {
                Ok(view) => view,
                Err(failure) if failure.is_passing() => {
                    let since = *away_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > AWAY {
                        return Err(failure);
                    }
                    teller.away();
                    break;
                }
                Err(failure) => return Err(failure),
            };
            away_since = None;
            let ended = wanted.judge(&view);
            teller.tell(&view, ended.is_some())?;
            views.insert(id, view);
            if let Some(good) = ended {
                as_asked &= good;
                waiting.retain(|other| *other != id);
            }
        }
        teller.show(waiting.iter().filter_map(|id| views.get(id)));
        if !waiting.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
    }
    if as_asked { Ok(()) } else { Err(Failure::Undone) }
}

/// Tells what is new.
struct Teller<'c> {
    context: &'c Context,
    live: Live,
    told: BTreeMap<ChangeId, (String, Instant)>,
    is_away: bool,
}

impl<'c> Teller<'c> {
    fn new(context: &'c Context) -> Teller<'c> {
        Teller { context, live: Live::new(context.out.rows), told: BTreeMap::new(), is_away: false }
    }

    /// A change was looked at.
    fn tell(&mut self, view: &ChangeView, ended: bool) -> Result<(), Failure> {
        self.is_away = false;
        let out = &self.context.out;
        // What a program reads has every figure; what a person reads in a log is what happens, and a sign of life.
        let new = if out.json { serde_json::to_string(view).unwrap_or_default() } else { render::progress_line(view) };
        let told = self.told.get(&view.id);
        let is_news = told.is_none_or(|(old, _)| *old != new);
        let is_long_ago = told.is_some_and(|(_, at)| at.elapsed() > SIGN_OF_LIFE);
        if is_news || is_long_ago {
            self.told.insert(view.id, (new.clone(), Instant::now()));
        }
        if out.json {
            return if is_news { out.line(&json!({ "change": view }), |_| String::new()) } else { Ok(()) };
        }
        if ended {
            self.live.clear();
            return out.write(&render::outcome(view, out.ink));
        }
        if (is_news || is_long_ago) && !out.live {
            out.note(|_| format!("{new}{}\n", render::figures_line(view)));
        }
        Ok(())
    }

    /// Shows the changes that are under way, where they can be shown in place.
    fn show<'v>(&mut self, views: impl Iterator<Item = &'v ChangeView>) {
        if self.context.out.live && !self.is_away {
            let now = wall();
            self.live.show(&views.map(|v| render::change(v, now, self.context.out.notes)).collect::<String>());
        }
    }

    /// The server does not answer for the moment.
    fn away(&mut self) {
        if !self.is_away {
            self.is_away = true;
            self.live.clear();
            self.context.out.note(|ink| {
                let text = "Quarterdeck does not answer. Services and their traffic go on, and a failing release is still stopped; waiting for it to come back.";
                render::wrap(&ink.warn(text), ink.width, "")
            });
        }
    }
}
