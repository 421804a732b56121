//! Files of `KEY=value` lines: environment and secrets. No error text ever repeats a value.

use std::collections::BTreeMap;

/// What is wrong with a line: its number from 1, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BadLine(pub(super) usize, pub(super) &'static str);

/// Reads the lines. Empty lines and those that begin with `#` are nothing; `export ` before a key and quotes around a
/// whole value are taken off; a later line wins.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, String>, BadLine> {
    let mut all = BTreeMap::new();
    for (number, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or(BadLine(number, "there is no `=` in it"))?;
        let name = name.trim_end();
        if let Some(why) = unfit(name) {
            return Err(BadLine(number, why));
        }
        let value = value.trim_start();
        let bare = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q)).unwrap_or(value);
        if bare.contains('\0') {
            return Err(BadLine(number, "its value contains a NUL byte"));
        }
        all.insert(name.to_owned(), bare.to_owned());
    }
    Ok(all)
}

/// Why this cannot be set in the environment of a service, if it cannot.
pub(super) fn unfit(name: &str) -> Option<&'static str> {
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match name {
        "PORT" => Some("PORT is given to each instance by Quarterdeck"),
        _ if name.starts_with("QUARTERDECK_") => Some("names that begin with QUARTERDECK_ are Quarterdeck's own"),
        _ if !valid => Some("use letters, digits and `_` for a name, not beginning with a digit"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_as_people_write_them() {
        let text = "# a comment\n\nA=1\nexport B = two words \nC=\"quo=ted\"\nD='x'\nE=\nA=2\n";
        let expected = [("A", "2"), ("B", "two words"), ("C", "quo=ted"), ("D", "x"), ("E", "")];
        assert_eq!(parse(text).unwrap(), expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        assert_eq!(parse("A=1\nhunter2").unwrap_err().0, 2);
        assert_eq!(parse("1A=1").unwrap_err().0, 1);
        assert_eq!(parse("PORT=80").unwrap_err().0, 1);
    }
}
