//! A place in a document: a value, the path that leads to it, and which of its keys are known. Reading goes from one place
//! to the next, so that whatever is said about a value can say where it stands.
//!
//! What always holds: a key is read, or its fate is told. [`Spot::account`] has a word for every key that nobody reads.

use super::{
    finding::Findings,
    yaml::{Mark, Node, Value, cut},
};
use crate::config::nearest;

/// A value, where it is written and how it is reached.
#[derive(Clone, Debug)]
pub(super) struct Spot<'d> {
    /// Which of the files.
    pub(super) file: usize,
    /// Such as `spec.metrics[0].interval`.
    pub(super) path: String,
    /// Where a reader should look: at a plain value itself, else at the key that leads to it.
    pub(super) mark: &'d Mark,
    /// The key that leads to it.
    pub(super) key: Option<&'d Mark>,
    pub(super) node: &'d Node,
}

/// What becomes of a key that is known and not read.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    /// It is read, and whoever reads it tells what came of it.
    Read,
    /// It names something, for people or for other documents.
    Name,
    /// It needs no counterpart, for this reason.
    NotNeeded(&'static str),
    /// It has no counterpart: why, and what to do instead.
    Left(&'static str, &'static str),
}

/// A key and its fate.
pub(super) type Known = (&'static str, Fate);

impl<'d> Spot<'d> {
    /// The root of a document.
    pub(super) fn root(file: usize, node: &'d Node) -> Spot<'d> {
        Spot { file, path: String::new(), mark: &node.mark, key: None, node }
    }

    /// The value of a key, unless it says nothing.
    pub(super) fn get(&self, name: &str) -> Option<Spot<'d>> {
        self.entries().find(|(key, _)| *key == name).map(|(_, spot)| spot)
    }

    /// The value behind several keys.
    pub(super) fn follow(&self, names: &[&str]) -> Option<Spot<'d>> {
        names.iter().try_fold(self.clone(), |spot, name| spot.get(name))
    }

    /// The keys that say something.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'d str, Spot<'d>)> + use<'d> {
        let entries: &'d [_] = if let Value::Map(entries) = &self.node.value { entries } else { &[] };
        let (file, path) = (self.file, self.path.clone());
        entries.iter().filter(|(_, node)| node.value != Value::Null).map(move |(key, node)| {
            let name: &'d str = &key.name;
            let separator = if path.is_empty() { "" } else { "." };
            let mark = if matches!(node.value, Value::Scalar(_)) { &node.mark } else { &key.mark };
            (name, Spot { file, path: format!("{path}{separator}{}", cut(name)), mark, key: Some(&key.mark), node })
        })
    }

    /// The values of a list.
    pub(super) fn items(&self) -> impl Iterator<Item = Spot<'d>> + use<'d> {
        let items: &'d [Node] = if let Value::List(items) = &self.node.value { items } else { &[] };
        let (file, path) = (self.file, self.path.clone());
        items.iter().enumerate().map(move |(i, node)| Spot {
            file,
            path: format!("{path}[{i}]"),
            mark: &node.mark,
            key: None,
            node,
        })
    }

    /// A plain value.
    pub(super) fn text(&self) -> Option<&'d str> {
        if let Value::Scalar(text) = &self.node.value { Some(text) } else { None }
    }

    /// A plain value that is a number, quoted or not.
    pub(super) fn number(&self) -> Option<f64> {
        self.text()?.trim().parse().ok().filter(|n: &f64| n.is_finite())
    }

    /// The name in the metadata of a document.
    pub(super) fn name(&self) -> Option<&'d str> {
        self.follow(&["metadata", "name"])?.text()
    }

    /// The value as it is shown, when it is a plain one.
    pub(super) fn shown(&self) -> Option<String> {
        self.text().map(cut)
    }

    /// What kind of value this is.
    fn sort(&self) -> &'static str {
        match self.node.value {
            Value::Null => "empty",
            Value::Scalar(_) => "a plain value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The list, or a word on what stands there instead.
    pub(super) fn list(&self, findings: &mut Findings) -> Vec<Spot<'d>> {
        if !matches!(self.node.value, Value::List(_)) {
            findings.left(
                self,
                format!("this is {}, and a list is expected here", self.sort()),
                "begin each part with `- `",
            );
        }
        self.items().collect()
    }

    /// Whether this is a map; has a word on every key that is not read.
    pub(super) fn account(&self, known: &[Known], findings: &mut Findings) -> bool {
        if !matches!(self.node.value, Value::Map(_)) {
            findings.left(self, format!("this is {}, and a map is expected here", self.sort()), "");
            return false;
        }
        for (name, spot) in self.entries() {
            match known.iter().find(|(key, _)| *key == name).map(|(_, fate)| *fate) {
                Some(Fate::Read | Fate::Name) => {}
                Some(Fate::NotNeeded(why)) => findings.not_needed(&spot, why),
                Some(Fate::Left(what, instead)) => findings.left(&spot, what, instead),
                None => {
                    let spot = Spot { mark: spot.key.unwrap_or(spot.mark), ..spot };
                    let near = nearest(name, known.iter().map(|(key, _)| *key));
                    let help = near.map_or(String::new(), |near| format!("did you mean `{near}`?"));
                    findings.left(&spot, format!("`{}` is not a key that is known here", cut(name)), help);
                }
            }
        }
        true
    }
}
