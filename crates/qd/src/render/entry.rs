//! Entries of the ledger as lines.

use super::Ink;
use control::Entry;

/// An entry: where it stands, when it was recorded, who did it, what it says.
pub(crate) fn entry(entry: &Entry, ink: Ink) -> String {
    let time = i64::try_from(entry.time.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let time =
        time.map_or_else(|| format!("{} ms", entry.time.0), |t| t.strftime("%Y-%m-%d %H:%M:%S.%3fZ").to_string());
    let why = entry.why.as_ref().map_or(String::new(), |why| format!(" — “{why}”"));
    format!(
        "{} {} {} {}{}\n",
        ink.dim(format!("{:>6}", entry.seq.to_string())),
        ink.dim(time),
        ink.bold(&entry.actor),
        entry.what.sentence(),
        ink.dim(why)
    )
}
