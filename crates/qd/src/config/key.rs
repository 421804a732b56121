//! What a key is. The tables of keys are the one definition of the configuration: files are read by them, the reference
//! is written from them, and what is unknown is told from what they have.

use super::{
    node::Node,
    problem::{Fault, Faults, nearest},
};

/// One key of a table that describes a `T`.
pub(super) struct Key<T: 'static> {
    pub(super) name: &'static str,
    /// For people; the first line alone says what it is.
    pub(super) doc: &'static str,
    pub(super) shows: Shows,
    /// Reads the value into its place.
    pub(super) set: fn(&mut T, &Node<'_>, &mut Faults),
}

/// How a key is shown in the reference.
pub(super) enum Shows {
    /// With its default, which a test compares to the truth.
    Default(&'static str),
    /// With an example, because it has no default or one that cannot be written.
    Example(&'static str),
    /// As a table of its own, which this writes under the given path.
    Table(fn(&mut String, &str)),
}

/// Reads a table by its keys, as far as it can be read.
pub(super) fn read<T>(keys: &'static [Key<T>], into: &mut T, table: &Node<'_>, faults: &mut Faults) {
    let entries = match table.table() {
        Ok(entries) => entries,
        Err(fault) => return faults.0.push(fault),
    };
    for (name, value) in entries {
        match keys.iter().find(|key| key.name == name.get_ref()) {
            Some(key) => (key.set)(into, &Node::new(value), faults),
            None => faults.0.push(unknown(name, keys.iter().map(|k| k.name).collect())),
        }
    }
}

fn unknown(name: &toml::Spanned<std::borrow::Cow<'_, str>>, known: Vec<&'static str>) -> Fault {
    let allowed = format!("known here: {}", known.join(", "));
    let help = match nearest(name.get_ref(), known) {
        Some(near) => format!("did you mean `{near}`? {allowed}"),
        None => allowed,
    };
    Fault::new(name.span(), format!("`{}` is not a key here", name.get_ref()), help)
}

/// The reference of these keys under their header: prose after `# `, keys after a bare `#`.
pub(super) fn write_reference<T>(out: &mut String, path: &str, keys: &[Key<T>]) {
    if !path.is_empty() {
        *out += &format!("[{path}]\n");
    }
    for key in keys {
        let (Shows::Default(value) | Shows::Example(value)) = key.shows else { continue };
        out.extend(key.doc.lines().map(|line| format!("# {line}\n")));
        *out += &format!("#{} = {value}\n\n", key.name);
    }
    for key in keys {
        let Shows::Table(write) = key.shows else { continue };
        let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        out.extend(key.doc.lines().map(|line| format!("# {line}\n")));
        write(out, &path);
    }
}
