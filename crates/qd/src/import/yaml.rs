//! YAML as a tree in which every value knows its place. Not a model of any kind of document: what the values mean is read
//! elsewhere.
//!
//! What always holds: the input is bounded in bytes, documents, depth and values, and what an alias stands for counts
//! each time it is used, so that a few lines cannot unfold into more than fits in memory. Long texts are shared, never
//! copied. A key that stands twice, a tag of one's own and a key that is not a text are refused, not guessed at.

use crate::config::Fault;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    rc::Rc,
};

/// The largest file read, in bytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// The most documents of one file.
const MAX_DOCUMENTS: usize = 500;
/// The deepest that values may be nested.
const MAX_DEPTH: usize = 64;
/// The most values of one file, with what its aliases stand for.
const MAX_VALUES: usize = 50_000;

/// Where something is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// In bytes of the text.
    pub(super) at: Range<usize>,
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
}

/// A value and where it is written.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) mark: Mark,
}

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    Null,
    /// A text, a number or a truth: which of them is for the reader to say.
    Scalar(Rc<str>),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key and where it is written.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Key {
    pub(super) name: Rc<str>,
    pub(super) mark: Mark,
}

/// The documents of a text; those that say nothing are left away.
///
/// # Errors
/// The first thing that is wrong: nothing after it could be trusted.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, Fault> {
    if text.len() > MAX_BYTES {
        let what = format!("this file has {} bytes, and at most {MAX_BYTES} are read", text.len());
        return Err(Fault::new(0..0, what, "give the documents that are about rollouts only"));
    }
    if let Some((at, c)) = text.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        let what = format!("the control character U+{:04X} cannot stand in YAML", u32::from(c));
        return Err(Fault::new(at..at + c.len_utf8(), what, ""));
    }
    let mut builder = Builder::new(text);
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => builder.take(event, span)?,
            Err(error) => {
                let at = builder.byte(error.marker().index());
                return Err(Fault::new(at..at, format!("this is not YAML: {}", error.info()), template_hint(text)));
            }
        }
    }
    Ok(builder.documents)
}

/// What to do about a text that is made for another program.
fn template_hint(text: &str) -> &'static str {
    if text.contains("{{") {
        "a Helm chart is rendered first (`helm template`); a placeholder `{{…}}` must stand in quotes"
    } else {
        ""
    }
}

/// A list or a map that is not complete yet.
struct Open {
    anchor: usize,
    mark: Mark,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, names: BTreeSet<Rc<str>>, key: Option<Key> },
}

struct Builder {
    /// Where each character begins, and where the text ends, in bytes.
    bytes: Vec<usize>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    values: usize,
    templates: &'static str,
    documents: Vec<Node>,
}

impl Builder {
    fn new(text: &str) -> Builder {
        let bytes = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let templates = template_hint(text);
        Builder { bytes, open: Vec::new(), anchors: BTreeMap::new(), values: 0, templates, documents: Vec::new() }
    }

    fn byte(&self, character: usize) -> usize {
        self.bytes.get(character).or(self.bytes.last()).copied().unwrap_or(0)
    }

    fn mark(&self, span: Span) -> Mark {
        let (start, end) = (self.byte(span.start.index()), self.byte(span.end.index()));
        Mark { at: start..end.max(start), line: span.start.line(), column: span.start.col() + 1 }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let mark = self.mark(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Fault::new(mark.at, "this alias stands for what it is a part of", ""));
                };
                self.place(0, node, mark)
            }
            Event::Scalar(text, style, anchor, tag) => {
                known_tag(tag, &mark)?;
                let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if is_null { Value::Null } else { Value::Scalar(text.into()) };
                let node = Node { value, mark: mark.clone() };
                self.place(anchor, node, mark)
            }
            Event::SequenceStart(anchor, tag) => self.begin(anchor, tag, mark, Items::List(Vec::new())),
            Event::MappingStart(anchor, tag) => {
                self.begin(anchor, tag, mark, Items::Map { entries: Vec::new(), names: BTreeSet::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn begin(&mut self, anchor: usize, tag: Option<Cow<'_, Tag>>, mark: Mark, items: Items) -> Result<(), Fault> {
        known_tag(tag, &mark)?;
        if let Some(Open { items: Items::Map { key: None, .. }, .. }) = self.open.last() {
            return Err(Fault::new(mark.at, "a key must be a text", self.templates));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(mark));
        }
        self.open.push(Open { anchor, mark, items });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(Open { anchor, mark, items }) = self.open.pop() else { return Ok(()) };
        let value = match items {
            Items::List(items) => Value::List(items),
            Items::Map { entries, .. } => Value::Map(merged(entries)?),
        };
        // What is inside was counted when it was placed.
        let node = Node { value, mark: mark.clone() };
        self.put(anchor, node, mark, 1)
    }

    /// Puts a value that is complete where it belongs.
    fn place(&mut self, anchor: usize, node: Node, mark: Mark) -> Result<(), Fault> {
        let (values, depth) = measure(&node);
        if self.open.len() + depth > MAX_DEPTH + 1 {
            return Err(too_deep(mark));
        }
        self.put(anchor, node, mark, values)
    }

    fn put(&mut self, anchor: usize, node: Node, mark: Mark, values: usize) -> Result<(), Fault> {
        self.values += values;
        if self.values > MAX_VALUES {
            let what = format!("there are more than {MAX_VALUES} values up to here, with what aliases stand for");
            return Err(Fault::new(mark.at, what, "give the documents that are about rollouts only"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.items) {
            None if node.value != Value::Null => {
                if self.documents.len() >= MAX_DOCUMENTS {
                    let what = format!("there are more than {MAX_DOCUMENTS} documents in this file");
                    return Err(Fault::new(mark.at, what, "give those that are about rollouts only"));
                }
                self.documents.push(node);
            }
            None => {}
            Some(Items::List(items)) => items.push(node),
            Some(Items::Map { entries, names, key }) => match key.take() {
                Some(name) => entries.push((name, node)),
                None => match node.value {
                    Value::Scalar(name) if &*name != MERGE && !names.insert(name.clone()) => {
                        let what = format!("`{}` stands here twice", cut(&name));
                        return Err(Fault::new(mark.at, what, "keep one of them"));
                    }
                    Value::Scalar(name) => *key = Some(Key { name, mark }),
                    Value::Null | Value::List(_) | Value::Map(_) => {
                        return Err(Fault::new(mark.at, "a key must be a text", self.templates));
                    }
                },
            },
        }
        Ok(())
    }
}

fn too_deep(mark: Mark) -> Fault {
    Fault::new(mark.at, format!("values are nested more than {MAX_DEPTH} deep here"), "")
}

fn known_tag(tag: Option<Cow<'_, Tag>>, mark: &Mark) -> Result<(), Fault> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            Err(Fault::new(mark.at.clone(), "a tag of one's own has no meaning here", "remove it"))
        }
        Some(_) | None => Ok(()),
    }
}

/// How many values this is, and how deep.
fn measure(node: &Node) -> (usize, usize) {
    let within = |nodes: &mut dyn Iterator<Item = &Node>| {
        nodes.map(measure).fold((1, 0), |(count, depth), (n, d)| (count + n, depth.max(d)))
    };
    let (values, depth) = match &node.value {
        Value::Null | Value::Scalar(_) => (1, 0),
        Value::List(items) => within(&mut items.iter()),
        Value::Map(entries) => within(&mut entries.iter().map(|(_, node)| node)),
    };
    (values, depth + 1)
}

/// The key whose map is added to the one it stands in.
const MERGE: &str = "<<";

/// The entries with those of merged maps, which never replace what is written out.
fn merged(entries: Vec<(Key, Node)>) -> Result<Vec<(Key, Node)>, Fault> {
    let (merges, mut all): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| &*key.name == MERGE);
    let mut names: BTreeSet<Rc<str>> = all.iter().map(|(key, _)| key.name.clone()).collect();
    for (key, node) in merges {
        let maps = match node.value {
            Value::Map(entries) => vec![entries],
            Value::List(items) => {
                items.into_iter().filter_map(|n| if let Value::Map(m) = n.value { Some(m) } else { None }).collect()
            }
            Value::Null | Value::Scalar(_) => {
                return Err(Fault::new(key.mark.at, "`<<` takes a map, by its alias", ""));
            }
        };
        for (key, node) in maps.into_iter().flatten() {
            if names.insert(key.name.clone()) {
                all.push((key, node));
            }
        }
    }
    Ok(all)
}

/// The most of a text that is shown, in characters.
const SHOWN: usize = 120;

/// A text on one line, and not too long a one.
pub(super) fn cut(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().filter(|c| !c.is_control()).take(SHOWN + 1));
        if line.chars().count() > SHOWN {
            return line.chars().take(SHOWN).chain(['…']).collect();
        }
    }
    line
}
