//! Conditions on a measured result as Argo Rollouts writes them (`result[0] >= 0.95`), read as the bounds that the result
//! must keep for a release to pass.
//!
//! What always holds: a condition is read as a whole or not at all. What says only what happens without a result is
//! recognised and set aside, because missing data decides nothing here.

use super::measure::{Bound, Comparison, Unread};

/// The longest condition read, in bytes.
const MAX_BYTES: usize = 500;
/// The deepest that parts may be nested.
const MAX_DEPTH: usize = 20;

/// What a condition asks of the result.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Asked {
    /// All of these must hold.
    pub(super) bounds: Vec<Bound>,
    /// It also says what holds without a result.
    pub(super) without_result: bool,
}

/// Whether a release passes when the condition is true or when it is false.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Passes {
    WhenTrue,
    WhenFalse,
}

impl Passes {
    fn turned(self) -> Passes {
        match self {
            Passes::WhenTrue => Passes::WhenFalse,
            Passes::WhenFalse => Passes::WhenTrue,
        }
    }
}

/// What a condition asks of the result for a release to pass.
pub(super) fn read(text: &str, passes: Passes) -> Result<Asked, Unread> {
    let unread = |what: String| Unread::new(what, INSTEAD);
    if text.len() > MAX_BYTES {
        return Err(unread(format!("this condition has {} bytes, and at most {MAX_BYTES} are read", text.len())));
    }
    let mut reader = Reader { words: words(text).map_err(unread)?, at: 0, depth: 0, defaulted: false };
    let test = reader.alternatives().map_err(unread)?;
    if let Some(word) = reader.words.get(reader.at) {
        return Err(unread(format!("`{word}` is not known in a condition")));
    }
    let mut asked = asked(&test, passes).map_err(unread)?;
    asked.without_result |= reader.defaulted;
    Ok(asked)
}

const INSTEAD: &str = "bounds on `result` or `result[0]` are read, with <, <=, >, >= and a number, joined by &&";

/// A condition.
enum Test {
    Bound(Bound),
    /// Whether there is a result. Which way round does not matter: missing data decides nothing here.
    Presence,
    Not(Box<Test>),
    All(Vec<Test>),
    Any(Vec<Test>),
}

fn asked(test: &Test, passes: Passes) -> Result<Asked, String> {
    let parts = |tests: &[Test]| tests.iter().map(|test| asked(test, passes)).collect::<Result<Vec<_>, _>>();
    match (test, passes) {
        (Test::Bound(bound), Passes::WhenTrue) => Ok(Asked { bounds: vec![*bound], without_result: false }),
        (Test::Bound(Bound { comparison, number }), Passes::WhenFalse) => Ok(Asked {
            bounds: vec![Bound { comparison: comparison.negated(), number: *number }],
            without_result: false,
        }),
        (Test::Presence, _) => Ok(Asked { bounds: Vec::new(), without_result: true }),
        (Test::Not(test), _) => asked(test, passes.turned()),
        // All must hold: `a && b` to be true, `a || b` to be false.
        (Test::All(tests), Passes::WhenTrue) | (Test::Any(tests), Passes::WhenFalse) => {
            Ok(parts(tests)?.into_iter().fold(Asked::default(), |mut all, part| {
                all.bounds.extend(part.bounds);
                all.without_result |= part.without_result;
                all
            }))
        }
        (Test::All(tests), Passes::WhenFalse) | (Test::Any(tests), Passes::WhenTrue) => {
            let mut with_bounds = parts(tests)?.into_iter().filter(|part| !part.bounds.is_empty());
            match (with_bounds.next(), with_bounds.next()) {
                (Some(one), None) => Ok(Asked { without_result: true, ..one }),
                (None, _) => Ok(Asked { bounds: Vec::new(), without_result: true }),
                (Some(_), Some(_)) => {
                    Err("a release passes here in more than one way, and limits hold all at once".to_owned())
                }
            }
        }
    }
}

/// What stands on one side of a comparison.
enum Side {
    Number(f64),
    Result,
    /// `len(result)`.
    Length,
    /// Something true or false.
    Test(Test),
}

struct Reader {
    words: Vec<String>,
    at: usize,
    depth: usize,
    /// A number stands in for a result that is missing.
    defaulted: bool,
}

impl Reader {
    fn peek(&self) -> &str {
        self.words.get(self.at).map_or("", String::as_str)
    }

    fn next(&mut self) -> String {
        let word = self.peek().to_owned();
        self.at += 1;
        word
    }

    fn accept(&mut self, any_of: &[&str]) -> bool {
        let is = any_of.contains(&self.peek());
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        match self.next() {
            found if found == word => Ok(()),
            found if found.is_empty() => Err(format!("it ends where `{word}` is expected")),
            found => Err(format!("`{found}` stands where `{word}` is expected")),
        }
    }

    fn alternatives(&mut self) -> Result<Test, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} deep"));
        }
        let mut tests = vec![self.conjunction()?];
        while self.accept(&["||", "or"]) {
            tests.push(self.conjunction()?);
        }
        self.depth -= 1;
        Ok(if tests.len() == 1 { tests.remove(0) } else { Test::Any(tests) })
    }

    fn conjunction(&mut self) -> Result<Test, String> {
        let mut tests = vec![self.comparison()?];
        while self.accept(&["&&", "and"]) {
            tests.push(self.comparison()?);
        }
        Ok(if tests.len() == 1 { tests.remove(0) } else { Test::All(tests) })
    }

    fn comparison(&mut self) -> Result<Test, String> {
        let mut negated = false;
        while self.accept(&["!", "not"]) {
            negated = !negated;
        }
        let left = self.side()?;
        let sign = self.peek().to_owned();
        let test = if matches!(sign.as_str(), "<" | "<=" | ">" | ">=" | "==" | "!=") {
            self.at += 1;
            let right = self.side()?;
            compared(left, &sign, right)?
        } else if let Side::Test(test) = left {
            test
        } else {
            return Err("a comparison is missing".to_owned());
        };
        Ok(if negated { Test::Not(Box::new(test)) } else { test })
    }

    fn side(&mut self) -> Result<Side, String> {
        let word = self.next();
        if let Ok(number) = word.parse::<f64>() {
            return if number.is_finite() { Ok(Side::Number(number)) } else { Err(format!("`{word}` is no number")) };
        }
        match word.as_str() {
            "-" => match self.side()? {
                Side::Number(number) => Ok(Side::Number(-number)),
                Side::Result | Side::Length | Side::Test(_) => Err("`-` is not known before this".to_owned()),
            },
            "(" => {
                let test = self.alternatives()?;
                self.expect(")")?;
                Ok(Side::Test(test))
            }
            "#" => Ok(Side::Result),
            "result" => self.result(),
            "len" | "isNaN" | "isNil" | "isInf" | "asFloat" | "float" | "default" | "all" => self.call(&word),
            "" => Err("it ends where a value is expected".to_owned()),
            other => Err(format!("`{other}` is not known in a condition")),
        }
    }

    fn result(&mut self) -> Result<Side, String> {
        if self.accept(&["["]) {
            match self.next().as_str() {
                "0" => self.expect("]")?,
                other => return Err(format!("`result[{other}]` is not the one value of a query")),
            }
        }
        if self.peek() == "." || self.peek() == "[" {
            return Err("this asks for a part of the result, and a query gives a number".to_owned());
        }
        Ok(Side::Result)
    }

    fn call(&mut self, name: &str) -> Result<Side, String> {
        self.expect("(")?;
        let Side::Result = self.side()? else { return Err(format!("`{name}` takes the result")) };
        let side = match name {
            "len" => Side::Length,
            "isNaN" | "isNil" | "isInf" => Side::Test(Test::Presence),
            "default" => {
                self.expect(",")?;
                let Side::Number(_) = self.side()? else { return Err("`default` takes a number".to_owned()) };
                self.defaulted = true;
                Side::Result
            }
            "all" => {
                self.expect(",")?;
                let braced = self.accept(&["{"]);
                let test = self.alternatives()?;
                if braced {
                    self.expect("}")?;
                }
                Side::Test(test)
            }
            _ => Side::Result,
        };
        self.expect(")")?;
        Ok(side)
    }
}

fn compared(left: Side, sign: &str, right: Side) -> Result<Test, String> {
    match (left, right) {
        (Side::Length, Side::Number(_)) | (Side::Number(_), Side::Length) => Ok(Test::Presence),
        (Side::Result, Side::Number(number)) => {
            let comparison = Comparison::read(sign).ok_or_else(|| no_bound(sign))?;
            Ok(Test::Bound(Bound { comparison, number }))
        }
        (Side::Number(number), Side::Result) => {
            let comparison = Comparison::read(sign).ok_or_else(|| no_bound(sign))?.turned();
            Ok(Test::Bound(Bound { comparison, number }))
        }
        (Side::Number(_) | Side::Result | Side::Length | Side::Test(_), _) => {
            Err("a comparison is read between the result and a number".to_owned())
        }
    }
}

fn no_bound(sign: &str) -> String {
    format!("`{sign}` is no bound: a measured share or latency is never exactly a number")
}

/// The words of a condition.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            number_length(rest)
        } else if first.is_alphabetic() || first == '_' {
            rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())
        } else if matches!(first, '"' | '\'' | '`') {
            return Err("it compares texts".to_owned());
        } else {
            let double = ["&&", "||", "<=", ">=", "==", "!="].into_iter().any(|sign| rest.starts_with(sign));
            if double { 2 } else { first.len_utf8() }
        };
        words.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    Ok(words)
}

/// How long the number is that a text begins with.
pub(super) fn number_length(text: &str) -> usize {
    let digits = |from: usize| text[from..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |i| from + i);
    let mut end = digits(0);
    if text[end..].starts_with('.') {
        end = digits(end + 1);
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, passes: Passes, expected: Expect) {
        let shown = match read(text, passes) {
            Ok(Asked { bounds, without_result }) => {
                let bounds: Vec<_> = bounds.iter().map(|b| format!("{:?} {}", b.comparison, b.number)).collect();
                format!("{}{}", bounds.join(", "), if without_result { " (or no result)" } else { "" })
            }
            Err(unread) => format!("not read: {}", unread.what),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn bounds_are_read_in_every_form_they_are_written_in() {
        use Passes::{WhenFalse, WhenTrue};
        check("result[0] >= 0.95", WhenTrue, expect!["GreaterOrEqual 0.95"]);
        check("0.95 <= result", WhenTrue, expect!["GreaterOrEqual 0.95"]);
        check("result[0] >= 10", WhenFalse, expect!["Less 10"]);
        check("!(result > 1e-2)", WhenTrue, expect!["LessOrEqual 0.01"]);
        check("asFloat(result[0]) < .5 and result[0] > -1", WhenTrue, expect!["Less 0.5, Greater -1"]);
        check("result[0] < 0.9 || result[0] > 1.1", WhenFalse, expect!["GreaterOrEqual 0.9, LessOrEqual 1.1"]);
        check("all(result, {# < 1000})", WhenTrue, expect!["Less 1000"]);
    }

    #[test]
    fn what_holds_without_a_result_is_set_aside() {
        use Passes::{WhenFalse, WhenTrue};
        check("len(result) == 0 || result[0] >= 0.95", WhenTrue, expect!["GreaterOrEqual 0.95 (or no result)"]);
        check("len(result) > 0 && result[0] < 0.95", WhenFalse, expect!["GreaterOrEqual 0.95 (or no result)"]);
        check("isNaN(result) or result >= 0.95", WhenTrue, expect!["GreaterOrEqual 0.95 (or no result)"]);
        check("default(result, 0) < 0.05", WhenTrue, expect!["Less 0.05 (or no result)"]);
    }

    #[test]
    fn everything_else_is_not_read_and_says_why() {
        use Passes::WhenTrue;
        check("result == 'true'", WhenTrue, expect!["not read: it compares texts"]);
        check(
            "result.ok && result.n >= 0.9",
            WhenTrue,
            expect!["not read: this asks for a part of the result, and a query gives a number"],
        );
        check(
            "result[0] == 1",
            WhenTrue,
            expect!["not read: `==` is no bound: a measured share or latency is never exactly a number"],
        );
        check(
            "result[0] < 1 || result[0] > 5",
            WhenTrue,
            expect!["not read: a release passes here in more than one way, and limits hold all at once"],
        );
        check("result[1] > 0", WhenTrue, expect!["not read: `result[1]` is not the one value of a query"]);
        check("result[0] * 100 > 95", WhenTrue, expect!["not read: a comparison is missing"]);
        check("result[0] >=", WhenTrue, expect!["not read: it ends where a value is expected"]);
        check("", WhenTrue, expect!["not read: it ends where a value is expected"]);
        check("true", WhenTrue, expect!["not read: `true` is not known in a condition"]);
        check(&"(".repeat(100), WhenTrue, expect!["not read: it is nested more than 20 deep"]);
        check("result[0] > 1 2", WhenTrue, expect!["not read: `2` is not known in a condition"]);
    }
}
