//! The rules of the house that no compiler knows, as a test. STYLE.md says why each of them exists.
//!
//! Each part takes what it judges as values and returns complaints, so that the rules themselves are tested.

mod crates;
mod docs;
mod source;

use crate::{error::Error, workspace::Workspace};
use std::fmt;

/// A place and what is wrong there.
#[derive(Debug, PartialEq)]
struct Complaint {
    at: String,
    what: String,
}

impl Complaint {
    fn new(at: impl Into<String>, what: impl Into<String>) -> Complaint {
        Complaint { at: at.into(), what: what.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// Prints every complaint, and fails when there is one.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Error> {
    let files = workspace.files()?;
    let mut complaints = crates::check(workspace)?;
    let mut long = Vec::new();
    let mut pages = Vec::new();
    for path in &files {
        let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
        if !["rs", "md", "toml", "sh", "html", "css", "ts", "js", "svelte", "py", "yml", "yaml", "json"]
            .contains(&extension)
        {
            continue;
        }
        let text = workspace.read(path)?;
        complaints.extend(source::check(path, &text));
        if extension == "rs" && text.lines().count() > source::LONG {
            long.push(format!("{path} ({} lines)", text.lines().count()));
        }
        if extension == "md" {
            pages.push((path.clone(), text));
        }
    }
    complaints.extend(docs::check(&files, &pages));
    complaints.extend(docs::check_decisions(&pages));
    if !long.is_empty() {
        println!("long, to be split before they grow: {}", long.join(", "));
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    println!("{} files, {} complaints", files.len(), complaints.len());
    if complaints.is_empty() { Ok(()) } else { Err(Error::Untidy(complaints.len())) }
}
