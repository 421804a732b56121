//! A value in the file with its place, read as what a key needs. Whatever cannot be read says what would be.

use super::{
    problem::Fault,
    words::{self, Unsplittable},
};
use model::{Bytes, Network, NotANetwork, Rate, Ratio, Span};
use std::{net::SocketAddr, ops::Range, path::PathBuf};
use toml::de::{DeArray, DeTable, DeValue};

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Node<'a> {
    pub(super) value: &'a DeValue<'a>,
    pub(super) at: Range<usize>,
}

impl<'a> Node<'a> {
    pub(super) fn new(value: &'a toml::Spanned<DeValue<'a>>) -> Node<'a> {
        Node { value: value.get_ref(), at: value.span() }
    }

    /// The value is not what it should be.
    pub(super) fn fault(&self, what: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault::new(self.at.clone(), what, help)
    }

    /// The value has the wrong type.
    pub(super) fn wrong_type(&self, expected: &str) -> Fault {
        let found = match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.fault(format!("this is {found}, and {expected} is expected here"), "")
    }

    pub(super) fn table(&self) -> Result<&'a DeTable<'a>, Fault> {
        self.value.as_table().ok_or_else(|| self.wrong_type("a table"))
    }

    pub(super) fn text(&self, expected: &str) -> Result<&'a str, Fault> {
        self.value.as_str().ok_or_else(|| self.wrong_type(expected))
    }

    /// A text that is not empty.
    pub(super) fn name(&self) -> Result<String, Fault> {
        match self.text("a text")?.trim() {
            "" => Err(self.fault("this is empty", "")),
            text => Ok(text.to_owned()),
        }
    }

    pub(super) fn path(&self) -> Result<PathBuf, Fault> {
        self.name().map(PathBuf::from)
    }

    pub(super) fn truth(&self) -> Result<bool, Fault> {
        let DeValue::Boolean(truth) = self.value else { return Err(self.wrong_type("true or false")) };
        Ok(*truth)
    }

    pub(super) fn integer(&self, allowed: std::ops::RangeInclusive<u32>) -> Result<u32, Fault> {
        let DeValue::Integer(number) = self.value else { return Err(self.wrong_type("a whole number")) };
        let help = format!("use {} to {}", allowed.start(), allowed.end());
        i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| allowed.contains(n))
            .ok_or_else(|| self.fault(format!("{number} is not possible here"), help))
    }

    /// A number above zero, in thousandths.
    pub(super) fn milli(&self, most: u32) -> Result<u32, Fault> {
        let text = match self.value {
            DeValue::Integer(n) if n.radix() == 10 => n.as_str(),
            DeValue::Float(n) => n.as_str(),
            DeValue::Integer(_)
            | DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => return Err(self.wrong_type("a number such as 1.5")),
        };
        let milli = text.parse().map_or(0.0, |n: f64| (n * 1000.0).round());
        if milli >= 1.0 && milli <= f64::from(most) * 1000.0 {
            Ok(milli as u32)
        } else {
            Err(self.fault(format!("{text} is not possible here"), format!("use 0.001 to {most}")))
        }
    }

    /// A length of time above zero.
    pub(super) fn span(&self) -> Result<Span, Fault> {
        match self.span_or_zero()? {
            Span::ZERO => Err(self.fault("this cannot be zero", "use at least \"1ms\"")),
            span => Ok(span),
        }
    }

    pub(super) fn span_or_zero(&self) -> Result<Span, Fault> {
        let text = self.text("a length of time such as \"10s\"")?;
        Span::parse(text).ok_or_else(|| {
            self.fault(
                format!("`{text}` is not a length of time"),
                "use a number with ms, s, m, h or d: \"250ms\", \"30s\", \"1m30s\"",
            )
        })
    }

    pub(super) fn rate(&self) -> Result<Rate, Fault> {
        let text = self.text("a rate such as \"100/s\"")?;
        Rate::parse(text).ok_or_else(|| {
            self.fault(
                format!("`{text}` is not a rate"),
                "use requests by time, both above zero: \"100/s\", \"1000/10m\"",
            )
        })
    }

    pub(super) fn bytes(&self) -> Result<Bytes, Fault> {
        let text = self.text("a size such as \"64 MiB\"")?;
        Bytes::parse(text).filter(|b| b.0 > 0).ok_or_else(|| {
            self.fault(
                format!("`{text}` is not a size"),
                "use a whole number above 0 with KiB, MiB or GiB (or kB, MB, GB): \"512 MiB\"",
            )
        })
    }

    /// A percentage within these bounds, both exclusive at zero and inclusive above.
    pub(super) fn ratio(&self) -> Result<Ratio, Fault> {
        let text = self.text("a percentage such as \"1 %\"")?;
        let share = text.trim().strip_suffix('%').and_then(|n| n.trim_end().parse().ok());
        share.and_then(|percent: f64| Ratio::from_f64(percent / 100.0)).ok_or_else(|| {
            self.fault(format!("`{text}` is not a percentage"), "use 0 to 100 with a percent sign: \"0.5 %\"")
        })
    }

    pub(super) fn address(&self) -> Result<SocketAddr, Fault> {
        let text = self.text("an address such as \"127.0.0.1:8080\"")?;
        text.parse().map_err(|_| {
            let help = match text.rsplit_once(':') {
                Some(("localhost", port)) => format!("write \"127.0.0.1:{port}\""),
                Some(("" | "*", port)) => format!("write \"0.0.0.0:{port}\" for every network of this machine"),
                Some(_) | None => {
                    "use an IP address and a port: \"127.0.0.1:8080\", \"[::1]:8080\", \"0.0.0.0:80\"".to_owned()
                }
            };
            self.fault(format!("`{text}` is not an address"), help)
        })
    }

    pub(super) fn network(&self) -> Result<Network, Fault> {
        let text = self.text("a network such as \"10.0.0.0/8\"")?;
        text.parse().map_err(|error: NotANetwork| self.fault(error.to_string(), ""))
    }

    /// A list of addresses, at least one.
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>, Fault> {
        match self.list(Node::address)? {
            none if none.is_empty() => Err(self.fault("this names no address", "for example [\"127.0.0.1:8080\"]")),
            addresses => Ok(addresses),
        }
    }

    /// One of these words.
    pub(super) fn one_of<T: Copy>(&self, allowed: &[(&str, T)]) -> Result<T, Fault> {
        let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
        let help = format!("use \"{}\"", names.join("\", \""));
        let text = self.text("a text")?;
        let found = allowed.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        found.ok_or_else(|| self.fault(format!("`{text}` is not known here"), help))
    }

    /// A program and its arguments: a list of words, or a text that is split.
    pub(super) fn command(&self) -> Result<Vec<String>, Fault> {
        let words = match self.value {
            DeValue::Array(_) => self.list(Node::text_owned)?,
            DeValue::String(text) => words::split(text).map_err(|e| match e {
                Unsplittable::Open(quote) => self.fault(format!("the quote {quote} is never closed"), ""),
                Unsplittable::Shell(word) => self.fault(
                    format!("`{word}` has no meaning here: the program is started without a shell"),
                    "to use one, write command = [\"sh\", \"-c\", \"…\"]",
                ),
            })?,
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => return Err(self.wrong_type("a command")),
        };
        if words.first().is_none_or(String::is_empty) {
            return Err(self.fault("this names no program", "for example \"./server --port $PORT\""));
        }
        Ok(words)
    }

    fn text_owned(&self) -> Result<String, Fault> {
        self.text("a text").map(str::to_owned)
    }

    /// A list, each element read by `read`.
    pub(super) fn list<T>(&self, read: impl Fn(&Node<'a>) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
        let list: &DeArray<'a> = self.value.as_array().ok_or_else(|| self.wrong_type("a list such as [\"…\"]"))?;
        list.iter().map(|item| read(&Node::new(item))).collect()
    }
}
