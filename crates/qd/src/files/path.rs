//! What the path of a request names: a path below the directory that is served, and never one that leads out of it.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};

/// The only hidden directory that is served: what others expect to find at a fixed place (RFC 8615).
const WELL_KNOWN: &[u8] = b".well-known";

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    /// Relative, of names only.
    pub(super) path: PathBuf,
    pub(super) form: Form,
}

/// How it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// As a file is.
    File,
    /// As a directory is, with a slash at the end.
    Directory,
}

/// Takes a path apart; `None` for what no file can be meant by.
pub(super) fn wanted(path: &str) -> Option<Wanted> {
    let path = path.strip_prefix('/')?;
    if path.is_empty() {
        return Some(Wanted { path: PathBuf::new(), form: Form::Directory });
    }
    let (path, form) = path.strip_suffix('/').map_or((path, Form::File), |path| (path, Form::Directory));
    let names: Option<PathBuf> = path.split('/').enumerate().map(|(depth, part)| name(depth, part)).collect();
    names.map(|path| Wanted { path, form })
}

/// The name that a part of a path stands for. Decoded once and then checked, so that no way of writing it matters.
fn name(depth: usize, part: &str) -> Option<OsString> {
    let name = decoded(part.as_bytes())?;
    let is_hidden = name.starts_with(b".") && !(depth == 0 && name == WELL_KNOWN);
    let is_name = !name.is_empty() && !is_hidden && !name.contains(&b'/') && !name.contains(&0);
    is_name.then(|| OsString::from_vec(name))
}

fn decoded(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    loop {
        match text {
            [] => return Some(bytes),
            [b'%', high, low, rest @ ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                text = rest;
            }
            [b'%', ..] => return None,
            [byte, rest @ ..] => {
                bytes.push(*byte);
                text = rest;
            }
        }
    }
}

/// Where a client that asked for a directory as if it were a file is sent: relative to what it asked for, so that this
/// holds wherever a route puts the site, and names no host.
pub(super) fn with_slash(path: &str, query: Option<&str>) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("./{last}/{query}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{os::unix::ffi::OsStrExt as _, path::Component};

    fn check(path: &str, expected: Option<(&str, Form)>) {
        let found = wanted(path);
        let found = found.as_ref().map(|wanted| (wanted.path.to_str().unwrap(), wanted.form));
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn names_are_decoded_once() {
        check("/", Some(("", Form::Directory)));
        check("/a/b.html", Some(("a/b.html", Form::File)));
        check("/a/", Some(("a", Form::Directory)));
        check("/a%20b%c3%A4", Some(("a bä", Form::File)));
        check("/100%25", Some(("100%", Form::File)));
        check("/%252e%252e", Some(("%2e%2e", Form::File)));
        check("/a..b/c.", Some(("a..b/c.", Form::File)));
    }

    #[test]
    fn what_could_lead_elsewhere_names_nothing() {
        for path in [
            "",
            "a",
            "*",
            "//",
            "//evil.example",
            "/a//b",
            "/..",
            "/../a",
            "/a/..",
            "/%2e%2e/",
            "/.%2E/a",
            "/.",
            "/./a",
            "/..%2f..%2fetc/passwd",
            "/a%2fb",
            "/a%00b",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
        ] {
            check(path, None);
        }
    }

    #[test]
    fn hidden_files_are_not_there_but_for_the_well_known() {
        for path in ["/.git/config", "/a/.env", "/%2egit/config", "/a/.well-known/b", "/.well-known/.git"] {
            check(path, None);
        }
        check("/.well-known/security.txt", Some((".well-known/security.txt", Form::File)));
    }

    #[test]
    fn a_redirect_stays_at_its_place() {
        assert_eq!(with_slash("/a/b", None), "./b/");
        assert_eq!(with_slash("/a%20b", Some("x=1")), "./a%20b/?x=1");
        assert_eq!(with_slash("/a:b", None), "./a:b/");
    }

    proptest! {
        #[test]
        fn nothing_escapes(path in "/([a./%\\\\]|%2[eEfF]|%5c|%00|\\.\\.){0,24}") {
            if let Some(wanted) = wanted(&path) {
                let is_name = |part| matches!(part, Component::Normal(name) if !name.as_bytes().contains(&0));
                prop_assert!(wanted.path.components().all(is_name), "{:?}", wanted);
                prop_assert!(wanted.path.is_relative());
            }
        }

        #[test]
        fn what_is_written_in_full_is_found(name in "[a-zA-Z0-9 äß%?#&+]{1,12}") {
            let written: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let found = wanted(&format!("/{written}")).unwrap();
            prop_assert_eq!(found.path.to_str(), Some(name.as_str()));
        }
    }
}
