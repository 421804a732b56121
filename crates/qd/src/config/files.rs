//! A service that is only files: which directory of its release is served, and how.

use super::{
    draft::{Placed, Service},
    key::{Key, Shows, read},
    node::Node,
    problem::{Fault, Faults},
};
use runtime::shim;
use std::path::{Component, Path};
use toml::de::DeValue;

/// What is served, when it is a table.
#[derive(Default)]
struct Draw {
    directory: Option<String>,
    single_page: Option<String>,
}

const FILES: &[Key<Draw>] = &[
    Key {
        name: "directory",
        doc: "The directory of the release.",
        shows: Shows::Default(r#"".""#),
        set: |d, v, f| f.put(&mut d.directory, inside(v).map(Some)),
    },
    Key {
        name: "single_page",
        doc: "The file that answers where there is none of the path.",
        shows: Shows::Example(r#""index.html""#),
        set: |d, v, f| f.put(&mut d.single_page, inside(v).map(Some)),
    },
];

/// What serves them, from a directory or a table.
pub(super) fn read_files(service: &mut Service, node: &Node<'_>, faults: &mut Faults) {
    service.files = command(node, faults).map(|command| Placed::new(command, node));
}

/// Complains about a service that is to be two things; makes of it the one that it is.
pub(super) fn settle(service: &mut Service, faults: &mut Faults) {
    let Some(files) = service.files.take() else { return };
    if service.spec.traffic.instance_tls.is_some() {
        let help = "leave `instance_tls` out: it is asked on this machine only";
        faults.0.push(Fault::new(files.at.clone(), "what serves `files` speaks no TLS", help));
    }
    if service.spec.run.command.is_empty() {
        service.spec.run.command = files.value;
        return;
    }
    let help = "leave `command` out, and Quarterdeck serves the files; or leave `files` out, and your program does";
    faults.0.push(Fault::new(files.at, "`files` and `command` are two services", help));
}

fn command(node: &Node<'_>, faults: &mut Faults) -> Option<Vec<String>> {
    let mut draw = Draw::default();
    let before = faults.0.len();
    if let DeValue::Table(_) = node.value {
        read(FILES, &mut draw, node, faults);
    } else {
        faults.put(&mut draw.directory, inside(node).map(Some));
    }
    if faults.0.len() > before {
        return None;
    }
    let directory = draw.directory.unwrap_or_else(|| ".".to_owned());
    let words = [shim::FILES.to_owned(), directory].into_iter().chain(draw.single_page);
    Some(words.collect())
}

/// A path that stays in the release.
fn inside(node: &Node<'_>) -> Result<String, Fault> {
    let text = node.name()?;
    let stays = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    match Path::new(&text).components().all(stays) {
        true => Ok(text),
        false => Err(node.fault(
            format!("`{text}` is not inside of a release"),
            "name what is in the directory that you deploy, such as \".\" or \"public\"",
        )),
    }
}
