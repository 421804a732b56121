//! The ledger, read from its own files: with or without a running server, and also when it may not be written any more.

use super::{
    args::Ledger,
    context::{Context, shown},
    failure::Failure,
};
use crate::render;
use control::{Entry, story};
use ledger::note::Verifier;
use model::Seq;
use serde_json::json;
use std::{collections::VecDeque, path::Path};
use store::{Reader, Verified, verify_export, verify_live};

/// How many entries are read at a time.
const PAGE: usize = 1_024;
/// How many lines of a story are kept, the last ones.
const MOST_LINES: usize = 100_000;

/// Reads, verifies or exports.
pub(crate) fn run(context: &Context, command: &Ledger) -> Result<(), Failure> {
    match command {
        Ledger::Show { from, limit } => show(context, *from, *limit),
        Ledger::Verify { directory, export, key } => {
            verify(context, directory.as_deref().or(export.as_deref()), key.as_deref())
        }
        Ledger::Adopt { yes } => adopt(context, *yes),
        Ledger::Export { directory } => export(context, directory),
    }
}

fn show(context: &Context, from: Option<Seq>, limit: usize) -> Result<(), Failure> {
    let reader = Reader::open(&context.ledger()?)?;
    let size = reader.size()?;
    let from = from.unwrap_or(Seq(size.saturating_sub(limit as u64)));
    let mut left = limit;
    each(&reader, from, |entry| {
        if left == 0 {
            return Ok(false);
        }
        left -= 1;
        context.out.line(&entry, |ink| render::entry(&entry, ink))?;
        Ok(true)
    })
}

/// Tells the story of something, as the server would.
pub(crate) fn story(context: &Context, subject: Option<&str>, all: bool) -> Result<(), Failure> {
    let about = subject.map_or(Ok(story::Subject::Everything), str::parse);
    let about = about.map_err(|what: String| Failure::usage(what, ""))?;
    let reader = Reader::open(&context.ledger()?)?;
    let mut entries: VecDeque<Entry> = VecDeque::new();
    each(&reader, Seq(0), |entry| {
        if about.concerns(&entry) && (all || !story::is_detail(&entry.what)) {
            entries.push_back(entry);
            if entries.len() > MOST_LINES {
                entries.pop_front();
            }
        }
        Ok(true)
    })?;
    if let (Some(subject), true) = (subject, entries.is_empty()) {
        return Err(Failure::other(
            format!("the ledger has nothing about {subject}"),
            "`qd changes` lists what there is",
        ));
    }
    let text = story::tell(&entries);
    context.out.result(&json!({ "subject": subject.unwrap_or("everything"), "text": text }), |_| text.clone())
}

/// Calls with every entry from one on, until told to stop.
fn each(reader: &Reader, from: Seq, mut take: impl FnMut(Entry) -> Result<bool, Failure>) -> Result<(), Failure> {
    let mut next = from;
    loop {
        let page = reader.read_from(next, PAGE)?;
        if page.is_empty() {
            return Ok(());
        }
        for bytes in &page {
            let entry: Entry = ledger::decode(bytes).map_err(|error| {
                let what = format!("entry {next} cannot be understood: {}", runtime::in_full(&error));
                Failure::other(what, "`qd ledger verify` tells whether it was altered, or is of a later version")
            })?;
            next.0 += 1;
            if !take(entry)? {
                return Ok(());
            }
        }
    }
}

fn verify(context: &Context, export: Option<&Path>, key: Option<&str>) -> Result<(), Failure> {
    let trusted: Option<Verifier> = match key {
        Some(text) => Some(text.parse().map_err(|error| {
            let what = format!("this is not a key: {error}");
            Failure::usage(what, "use the text of ledger.vkey, such as NAME+12345678+…")
        })?),
        None => None,
    };
    let progress = |checked| context.out.note(|_| format!("{} checked\n", render::many(checked, "entry")));
    let (place, verified, signer) = match export {
        Some(directory) => {
            let verified = verify_export(directory, trusted.as_ref(), progress).map_err(unsound_export)?;
            (directory.to_owned(), verified, "its key".to_owned())
        }
        None => {
            let place = context.ledger()?;
            let signer = Reader::open(&place)?.verifier()?.name().to_owned();
            (place.dir.clone(), verify_live(&place, trusted.as_ref(), progress)?, signer)
        }
    };
    let Verified { head, signed } = verified;
    let document = json!({ "sound": true, "entries": head.size, "root": head.root, "signed": signed });
    context.out.result(&document, |ink| {
        let unsigned = match head.size - signed {
            0 => String::new(),
            1 => "; the last one is not signed yet".to_owned(),
            n => format!("; the last {} are not signed yet", render::count(n)),
        };
        format!(
            "{} {}: {}, {} of them signed by {signer}{unsigned}\nroot {}\n",
            shown(&place),
            ink.good("is sound"),
            render::many(head.size, "entry"),
            render::count(signed),
            head.root
        )
    })
}

/// An export is a copy: what is said of a damaged ledger, which nobody may write any more, is not true of it.
fn unsound_export(error: store::Error) -> Failure {
    let store::Error::Damaged { dir, wrong } = error else { return Failure::Ledger(error) };
    let what = format!("{} is not a sound export: {}", shown(&dir), runtime::in_full(&wrong));
    Failure::other(what, "do not rely on it; get another copy from where it was made, or export again")
}

fn adopt(context: &Context, yes: bool) -> Result<(), Failure> {
    let place = context.ledger()?;
    let size = Reader::open(&place)?.size()?;
    context.out.note(|ink| {
        let text = format!(
            "What is in {} ({}) is verified and becomes the ledger of this installation, signed by a new key. What the old key signed stays valid for the old history. Do this only when no other copy will be written again.",
            shown(&place.dir),
            render::many(size, "entry")
        );
        render::wrap(&text, ink.width, "")
    });
    context.out.confirm("Adopt it?", yes)?;
    store::Ledger::adopt(&place)?;
    let key = Reader::open(&place)?.verifier()?.to_string();
    context.out.result(&json!({ "adopted": true, "entries": size, "key": key }), |_| {
        format!("Adopted. `qd serve` takes it from here.\nkey  {key}\n")
    })
}

fn export(context: &Context, directory: &Path) -> Result<(), Failure> {
    let reader = Reader::open(&context.ledger()?)?;
    let progress = |written| context.out.note(|_| format!("{} written\n", render::many(written, "entry")));
    let head = reader.export(directory, progress)?;
    let key = reader.verifier()?.to_string();
    let document = json!({ "directory": directory, "entries": head.size, "root": head.root, "key": key });
    context.out.result(&document, |_| {
        format!(
            "{} written to {}\nkey  {key}\nroot {}\nAnyone can check it: qd ledger verify {}\n",
            render::many(head.size, "entry"),
            directory.display(),
            head.root,
            directory.display()
        )
    })
}
