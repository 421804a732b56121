//! The part of PromQL in which releases are judged: a share of the requests, or a quantile of their latency, with numbers
//! added and multiplied. Not a general parser: a query is read as a whole, as what it measures, or not at all.
//!
//! Start reading at [`read`]; what is measured is told by `measured.rs` below it.

use super::{condition::number_length, measure::Unread};

/// The longest query read, in bytes.
const MAX_BYTES: usize = 10_000;
/// The deepest that parts may be nested.
const MAX_DEPTH: usize = 40;

/// A query.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Query {
    Number(f64),
    Selector(Selector),
    Call {
        name: String,
        of: Vec<Query>,
    },
    Both {
        sign: char,
        left: Box<Query>,
        right: Box<Query>,
    },
    /// With a number where there is no result.
    Or(Box<Query>),
}

/// Which series are selected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Selector {
    pub(super) metric: String,
    pub(super) matchers: Vec<Matcher>,
}

/// A condition on a label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Matcher {
    pub(super) label: String,
    /// `=`, `!=`, `=~` or `!~`.
    pub(super) sign: String,
    pub(super) value: String,
}

/// Reads a query.
pub(super) fn read(text: &str) -> Result<Query, Unread> {
    let unread = |what| Unread::new(what, "write the limit yourself: `failures < …` or `pNN < …`");
    if text.len() > MAX_BYTES {
        return Err(unread(format!("this query has {} bytes, and at most {MAX_BYTES} are read", text.len())));
    }
    let mut reader = Reader { tokens: tokens(text).map_err(unread)?, at: 0, depth: 0 };
    let query = reader.either().map_err(unread)?;
    match reader.tokens.get(reader.at) {
        Some(token) => Err(unread(format!("{} is not known in a query here", token.shown()))),
        None => Ok(query),
    }
}

#[derive(Clone, PartialEq, Debug)]
enum Token {
    Number(f64),
    Name(String),
    Text(String),
    Sign(String),
    /// A window such as `[5m]`. How long it is does not matter.
    Window,
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Token::Number(number) => format!("`{number}`"),
            Token::Name(name) | Token::Sign(name) => format!("`{name}`"),
            Token::Text(_) => "a text".to_owned(),
            Token::Window => "a window".to_owned(),
        }
    }
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Reader {
    fn accept(&mut self, sign: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Sign(found)) if found == sign);
        self.at += usize::from(is);
        is
    }

    fn accept_name(&mut self, any_of: &[&str]) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Name(found)) if any_of.contains(&found.as_str()));
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.accept(sign) {
            return Ok(());
        }
        Err(match self.tokens.get(self.at) {
            Some(token) => format!("{} stands where `{sign}` is expected", token.shown()),
            None => format!("the query ends where `{sign}` is expected"),
        })
    }

    fn either(&mut self) -> Result<Query, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("the query is nested more than {MAX_DEPTH} deep"));
        }
        let mut query = self.sum()?;
        while self.accept_name(&["or"]) {
            if self.accept_name(&["on"]) {
                self.labels()?;
            }
            match self.sum()? {
                Query::Call { name, of } if name == "vector" && matches!(of[..], [Query::Number(_)]) => {}
                Query::Number(_) | Query::Selector(_) | Query::Call { .. } | Query::Both { .. } | Query::Or(_) => {
                    return Err("`or` is known only before `vector(NUMBER)`".to_owned());
                }
            }
            query = Query::Or(Box::new(query));
        }
        self.depth -= 1;
        Ok(query)
    }

    fn sum(&mut self) -> Result<Query, String> {
        self.chain(&["+", "-"], Self::product)
    }

    fn product(&mut self) -> Result<Query, String> {
        self.chain(&["*", "/"], Self::operand)
    }

    fn chain(&mut self, signs: &[&'static str], part: fn(&mut Self) -> Result<Query, String>) -> Result<Query, String> {
        let mut left = part(self)?;
        while let Some(sign) = signs.iter().find(|sign| self.accept(sign)) {
            let right = part(self)?;
            let sign = sign.chars().next().unwrap_or('+');
            left = match (left, right) {
                (Query::Number(a), Query::Number(b)) => Query::Number(match sign {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    _ => a / b,
                }),
                (left, right) => Query::Both { sign, left: Box::new(left), right: Box::new(right) },
            };
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Query, String> {
        if self.accept("-") {
            return match self.tokens.get(self.at) {
                Some(Token::Number(number)) => {
                    let negated = -number;
                    self.at += 1;
                    Ok(Query::Number(negated))
                }
                Some(Token::Name(_) | Token::Text(_) | Token::Sign(_) | Token::Window) | None => {
                    Err("`-` is known before a number only".to_owned())
                }
            };
        }
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        let query = match token {
            Some(Token::Number(number)) => return Ok(Query::Number(number)),
            Some(Token::Sign(sign)) if sign == "(" => {
                let inner = self.either()?;
                self.expect(")")?;
                inner
            }
            Some(Token::Sign(sign)) if sign == "{" => {
                return Err("a selector without the name of a metric is not known here".to_owned());
            }
            Some(Token::Name(name)) => self.named(name)?,
            Some(other) => return Err(format!("{} stands where a value is expected", other.shown())),
            None => return Err("the query ends where a value is expected".to_owned()),
        };
        if self.tokens.get(self.at) == Some(&Token::Window) {
            self.at += 1;
        }
        Ok(query)
    }

    /// A metric, or a function.
    fn named(&mut self, name: String) -> Result<Query, String> {
        if self.accept_name(&["by", "without"]) {
            self.labels()?;
        }
        if !self.accept("(") {
            let matchers = if self.accept("{") { self.matchers()? } else { Vec::new() };
            return Ok(Query::Selector(Selector { metric: name, matchers }));
        }
        let mut of = Vec::new();
        while !self.accept(")") {
            if !of.is_empty() {
                // What is missing is more often the end.
                if !self.accept(",") {
                    self.expect(")")?;
                }
            }
            of.push(self.either()?);
        }
        if self.accept_name(&["by", "without"]) {
            self.labels()?;
        }
        Ok(Query::Call { name, of })
    }

    fn labels(&mut self) -> Result<(), String> {
        self.expect("(")?;
        while !self.accept(")") {
            match self.tokens.get(self.at) {
                Some(Token::Name(_)) => self.at += 1,
                Some(Token::Sign(sign)) if sign == "," => self.at += 1,
                Some(Token::Number(_) | Token::Text(_) | Token::Sign(_) | Token::Window) | None => {
                    return Err("labels are expected between these parentheses".to_owned());
                }
            }
        }
        Ok(())
    }

    fn matchers(&mut self) -> Result<Vec<Matcher>, String> {
        let mut all = Vec::new();
        while !self.accept("}") {
            if !all.is_empty() {
                self.expect(",")?;
                if self.accept("}") {
                    break;
                }
            }
            match self.tokens.get(self.at..self.at + 3) {
                Some([Token::Name(label), Token::Sign(sign), Token::Text(value)])
                    if matches!(sign.as_str(), "=" | "!=" | "=~" | "!~") =>
                {
                    all.push(Matcher { label: label.clone(), sign: sign.clone(), value: value.clone() });
                    self.at += 3;
                }
                Some(_) | None => return Err("a label, a sign and a text are expected between these braces".to_owned()),
            }
        }
        Ok(all)
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '#' => {
                rest = rest.find('\n').map_or("", |end| &rest[end..]).trim_start();
                continue;
            }
            _ if rest.starts_with("{{") => return Err("a placeholder stands in the query outside of a text".to_owned()),
            '"' | '\'' | '`' => {
                let (text, length) = quoted(rest, first).ok_or("a text in the query has no end")?;
                (Token::Text(text), length)
            }
            '[' => {
                let end = rest.find(']').ok_or("a window in the query has no end")?;
                (Token::Window, end + 1)
            }
            c if c.is_ascii_digit() || (c == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) => {
                let length = number_length(rest);
                let number = rest[..length].parse().map_err(|_| format!("`{}` is no number", &rest[..length]))?;
                (Token::Number(number), length)
            }
            c if c.is_ascii_alphabetic() || c == '_' || c == ':' => {
                let length =
                    rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
                (Token::Name(rest[..length].to_owned()), length)
            }
            c => {
                let double = ["=~", "!~", "!=", "==", ">=", "<="].into_iter().any(|sign| rest.starts_with(sign));
                let length = if double { 2 } else { c.len_utf8() };
                (Token::Sign(rest[..length].to_owned()), length)
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// A text in quotes, and how long it is with them.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((value, at + 1)),
            '\\' if quote != '`' => match chars.next()?.1 {
                escaped @ ('\\' | '"' | '\'') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            c => value.push(c),
        }
    }
    None
}
