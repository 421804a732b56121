//! The texts that are written from the keys: the reference of all of them, and the file to begin with.

use super::{
    key::{Key, Shows, write_reference},
    keys::{PROXY, ROOT, SERVICE},
};
use model::ServiceName;

const HEAD: &str = "\
# Everything that can stand in quarterdeck.toml. Printed by `qd config reference`; `qd config check` checks a file.
#
# A key after a bare `#` shows its default, or an example where its text says what holds without it. A file needs none
# of them: one service with a command and a route is enough.

";

/// The commented reference of every key.
pub(crate) fn text() -> String {
    let mut out = HEAD.to_owned();
    write_reference(&mut out, "", ROOT);
    out.truncate(out.trim_end().len());
    out + "\n"
}

/// The file to begin with, for a service of this name.
pub(crate) fn starting_file(name: &ServiceName) -> String {
    let mut out = "# What runs here. Every key there is: `qd config reference`.\n\n[proxy]\n".to_owned();
    out += &entry(PROXY, "listen", None);
    out += &format!("\n[services.{name}]\n");
    out += &entry(SERVICE, "command", Some(&format!("\"./{name} --port $PORT\"")));
    out += &entry(SERVICE, "replicas", Some("2"));
    out += &entry(SERVICE, "routes", Some(&format!("[\"{name}.localhost\", \"/\"]")));
    out += &entry(SERVICE, "ready", None);
    out
}

/// A key with the first line of its text as a comment, and this value or its default.
fn entry<T>(keys: &[Key<T>], name: &str, value: Option<&str>) -> String {
    let Some(key) = keys.iter().find(|key| key.name == name) else { return String::new() };
    let (Shows::Default(shown) | Shows::Example(shown)) = key.shows else { return String::new() };
    let summary = key.doc.lines().next().unwrap_or_default();
    format!("# {summary}\n{name} = {}\n", value.unwrap_or(shown))
}
