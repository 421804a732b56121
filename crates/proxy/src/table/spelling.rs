//! The spellings of a path. Pure.
//!
//! What reads a request after us mostly takes `/login`, `//login` and `/log%69n` for the same, so a route that bounds or bars one of them
//! must have all of them. What an instance is sent stays as its client has spelled it.

use std::borrow::Cow;

/// A path as routes are looked up by it: without escapes of what needs none (RFC 3986, section 6.2.2.2), and with one slash where
/// there are several.
pub(crate) fn spelled(path: &str) -> Cow<'_, str> {
    if !path.as_bytes().windows(2).any(|pair| pair[0] == b'%' || pair == b"//") {
        return Cow::Borrowed(path);
    }
    let mut made = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        let (letter, length) = match escaped(rest.as_bytes()).filter(|byte| is_unreserved(*byte)) {
            Some(byte) => (char::from(byte), 3),
            None => (first, first.len_utf8()),
        };
        if letter != '/' || !made.ends_with('/') {
            made.push(letter);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Cow::Owned(made)
}

/// Whether a path leads elsewhere than it seems, for whoever resolves it: by a segment `.` or `..`, also where its dots are escaped, where
/// the slashes beside it are escaped or turned round, and where parameters follow it (`..;a`).
pub(crate) fn leads_elsewhere(path: &str) -> bool {
    if !path.contains(['.', '%']) {
        return false;
    }
    // How many dots the segment consists of; `None`: it has something else in it.
    let mut dots = Some(0);
    let mut rest = path.as_bytes();
    while let Some(first) = rest.first() {
        let (byte, length) = escaped(rest).map_or((*first, 1), |byte| (byte, 3));
        if matches!(byte, b'/' | b'\\' | b';') && matches!(dots, Some(1 | 2)) {
            return true;
        }
        dots = match byte {
            b'/' | b'\\' => Some(0),
            b'.' => dots.map(|dots| dots + 1),
            _ => None,
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    matches!(dots, Some(1 | 2))
}

/// The byte that an escape at the beginning stands for.
fn escaped(text: &[u8]) -> Option<u8> {
    let &[b'%', high, low, ..] = text else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// What means the same with an escape and without one.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_path_are_one() {
        for (path, expected) in [
            ("/login", "/login"),
            ("/%6cog%69n", "/login"),
            ("//login", "/login"),
            ("///a//b///", "/a/b/"),
            ("/%7Euser/%2D%5F%2e5", "/~user/-_.5"),
            // These mean something else without the escape, or are none.
            ("/a%2Fb", "/a%2Fb"),
            ("/a%3fb", "/a%3fb"),
            ("/%2569", "/%2569"),
            ("/%", "/%"),
            ("/%6", "/%6"),
            ("/%zz//%+1", "/%zz/%+1"),
            ("/\u{fc}//%c3%bc", "/\u{fc}/%c3%bc"),
            ("*", "*"),
        ] {
            assert_eq!(spelled(path), expected, "{path}");
        }
    }

    #[test]
    fn a_path_with_a_way_back_leads_elsewhere() {
        for path in [
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/%2e/",
            "/a/%2E%2e/b",
            "/a/.%2e",
            "/a/..;/b",
            "/a/..;x=y/b",
            "/a/..%3b/b",
            "/a/..%2fb",
            "/a%2f../b",
            "/a%5C..%5cb",
            "/a\\..\\b",
            "..",
        ] {
            assert!(leads_elsewhere(path), "{path}");
        }
        for path in
            ["/", "", "*", "/a.b", "/..a", "/a..", "/...", "/.well-known/x", "/a/%2e%2ex", "/%252e%252e/", "/;../x."]
        {
            assert!(!leads_elsewhere(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn what_is_spelled_best_stays_so(path in "(/|%2e|%2F|%41|%4|\\.|[a-z%]|\u{fc}){0,20}") {
            let once = spelled(&path).into_owned();
            // An escape may appear where one was undone beside a `%` that was none; it is no path that is used then.
            prop_assume!(!once.as_bytes().windows(3).any(|three| escaped(three).is_some_and(is_unreserved)));
            prop_assert_eq!(&spelled(&once), &once);
            prop_assert_eq!(leads_elsewhere(&path), leads_elsewhere(&once));
        }
    }
}
