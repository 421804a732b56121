//! What stands in a file: its header, its size, and words that must not occur.

use super::Complaint;

/// Above this many lines a file is listed, so that it is split before it grows.
pub(super) const LONG: usize = 600;
/// Above this many lines a file needs a reason in its header.
const TOO_LONG: usize = 1_000;
/// How the reason begins.
const REASON: &str = "//! Long because ";

/// Names that say nothing about what is inside.
const VAGUE: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "types", "core", "misc"];

/// Words of unfinished work, of tests that do not run, and of waiting blindly. Each in two parts, lest it be found here.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("TO", "DO", "finish it, or open an issue and say nothing here"),
    ("FIX", "ME", "mend it, or open an issue and say nothing here"),
    ("to", "do!(", "nothing half-done is kept"),
    ("unimple", "mented!(", "nothing half-done is kept"),
    ("#[ig", "nore", "a test that does not run is none: delete it or mend it"),
    ("thread::", "sleep", "wait on a predicate with a deadline"),
];

/// Where directories of one particular machine begin. In two parts, as above.
const MACHINE_PATHS: &[(&str, &str)] = &[("/ro", "ot/"), ("/wo", "rk/"), ("/ho", "me/"), ("/Us", "ers/")];

/// Checks one file of text; `path` is relative to the root.
pub(super) fn check(path: &str, text: &str) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let at = || format!("{path}:{}", number + 1);
        for (a, b) in MACHINE_PATHS {
            if begins_word(line, &format!("{a}{b}")) {
                complaints.push(Complaint::new(at(), format!("`{a}{b}` is a path of one machine")));
            }
        }
        if path.ends_with(".rs") {
            for (a, b, instead) in FORBIDDEN {
                if line.contains(&format!("{a}{b}")) {
                    complaints.push(Complaint::new(at(), format!("`{a}{b}`: {instead}")));
                }
            }
        }
    }
    if path.ends_with(".rs") {
        complaints.extend(shape(path, text).into_iter().map(|what| Complaint::new(path, what)));
    }
    complaints
}

fn shape(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let name = path.rsplit('/').next().unwrap_or(path);
    let module = match name.strip_suffix(".rs") {
        Some("mod") => path.rsplit('/').nth(1).unwrap_or_default(),
        stem => stem.unwrap_or_default(),
    };
    if VAGUE.contains(&module) {
        complaints.push(format!("`{module}` is no name: say what is inside"));
    }
    // Unit tests beside their module need no header: the module has one.
    if name != "tests.rs" && !text.trim_start().starts_with("//!") {
        complaints.push("begin with `//!`: what this is, what it is not, what must always hold".to_owned());
    }
    let lines = text.lines().count();
    if lines > TOO_LONG && !text.lines().take_while(|line| line.starts_with("//!")).any(|line| line.starts_with(REASON))
    {
        complaints.push(format!("{lines} lines: split it, or give a reason in the header: `{REASON}…`"));
    }
    complaints
}

/// Whether `word` occurs where a path begins: not in the middle of another one.
fn begins_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(i, _)| {
        let before = line[..i].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || "_-.$}~*/".contains(c)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> String {
        check(path, text).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_module_without_a_header_is_named_and_its_unit_tests_are_not() {
        assert_eq!(complaints("crates/a/src/b.rs", "//! What b is.\nfn b() {}\n"), "");
        assert!(complaints("crates/a/src/b.rs", "fn b() {}\n").starts_with("crates/a/src/b.rs: begin with"));
        assert_eq!(complaints("crates/a/src/tests.rs", "use super::*;\n"), "");
    }

    #[test]
    fn unfinished_work_is_found_with_its_line() {
        let text = format!("//! B.\n// {}{}: later\n", "TO", "DO");
        assert!(complaints("b.rs", &text).starts_with("b.rs:2: "), "{}", complaints("b.rs", &text));
        assert_eq!(complaints("b.md", &text), "");
    }

    #[test]
    fn every_forbidden_word_is_found() {
        for (a, b, _) in FORBIDDEN {
            assert_ne!(complaints("b.rs", &format!("//! B.\nx {a}{b} y\n")), "", "{a}{b}");
        }
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = format!("//! B.\n{}", "fn b() {}\n".repeat(1_000));
        assert!(complaints("b.rs", &long).contains("1001 lines"));
        assert_eq!(complaints("b.rs", &format!("//! B.\n{REASON}it is one table.\n{}", "x\n".repeat(1_000))), "");
    }

    #[test]
    fn a_vague_name_is_refused() {
        assert!(complaints("crates/a/src/utils.rs", "//! U.\n").contains("is no name"));
        assert!(complaints("crates/a/src/common/mod.rs", "//! U.\n").contains("is no name"));
    }

    #[test]
    fn a_path_of_one_machine_is_found_but_not_one_that_only_looks_like_it() {
        let path = format!("/ho{}", "me/me/x");
        assert!(complaints("a.md", &format!("see `{path}`")).contains("a.md:1"));
        assert_eq!(complaints("a.md", &format!("see https://example.org{path} and $X{path}")), "");
    }
}
