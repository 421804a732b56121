//! The keys of `instance_tls`: on which terms the data plane speaks TLS with the instances of a service.

use super::{
    key::{Key, Shows, read},
    node::Node,
    problem::{Fault, Faults},
};
use model::{InstanceTls, ShownToInstances};
use std::path::{self, Path, PathBuf};

/// Whose certificate an instance shows, when nothing is said: it runs on this machine.
const NAME: &str = "localhost";

/// What it is made of.
#[derive(Default)]
pub(super) struct Draw {
    ca: Option<PathBuf>,
    name: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

pub(super) const INSTANCE_TLS: &[Key<Draw>] = &[
    Key {
        name: "ca",
        doc: "PEM: the authorities whose certificates are taken. The instances' own, if each is its own authority.",
        shows: Shows::Example(r#""instances.pem""#),
        set: |d, v, f| f.put(&mut d.ca, v.path().map(Some)),
    },
    Key {
        name: "name",
        doc: "The name, or IP address, that an instance's certificate must be for. Without it: localhost.",
        shows: Shows::Example(r#""shop.internal""#),
        set: |d, v, f| f.put(&mut d.name, v.name().map(Some)),
    },
    Key {
        name: "certificate",
        doc: "PEM: what instances are shown that ask for a certificate (mutual TLS), with those that lead to an authority.\n\
              Without it: nothing.",
        shows: Shows::Example(r#""proxy.pem""#),
        set: |d, v, f| f.put(&mut d.certificate, v.path().map(Some)),
    },
    Key {
        name: "key",
        doc: "PEM: its private key, not encrypted. Only its path is recorded.",
        shows: Shows::Example(r#""proxy.key""#),
        set: |d, v, f| f.put(&mut d.key, v.path().map(Some)),
    },
];

/// All of it. An empty table says nothing.
pub(super) fn read_instance_tls(into: &mut Option<InstanceTls>, node: &Node<'_>, faults: &mut Faults) {
    let (mut draw, before) = (Draw::default(), faults.0.len());
    read(INSTANCE_TLS, &mut draw, node, faults);
    if node.table().is_ok_and(|table| table.is_empty()) || faults.0.len() > before {
        return;
    }
    let Some(ca) = draw.ca else {
        let help = "name the authority of their certificates, or their certificate itself: ca = \"instances.pem\"";
        return faults.0.push(Fault::new(
            node.at.clone(),
            "an instance is never believed unchecked, and `ca` is not set",
            help,
        ));
    };
    let shown = match (draw.certificate, draw.key) {
        (Some(certificate), Some(key)) => Some(ShownToInstances { certificate, key }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let help = "set both, which may name the same file, or none of them";
            return faults.0.push(Fault::new(node.at.clone(), "`certificate` and `key` belong together", help));
        }
    };
    *into = Some(InstanceTls { ca, name: draw.name.unwrap_or_else(|| NAME.to_owned()), shown });
}

/// With every file by its absolute path, as seen from the directory `base`.
pub(super) fn settled(mut tls: InstanceTls, base: &Path) -> InstanceTls {
    let shown = tls.shown.iter_mut().flat_map(|shown| [&mut shown.certificate, &mut shown.key]);
    for file in shown.chain([&mut tls.ca]) {
        let joined = base.join(&*file);
        // A path that cannot be made absolute is refused when it is applied.
        *file = path::absolute(&joined).unwrap_or(joined);
    }
    tls
}
