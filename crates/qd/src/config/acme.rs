//! The keys of `[proxy.tls.acme]`: an authority that issues certificates.

use super::{
    key::{Key, Shows, read},
    node::Node,
    problem::{Fault, Faults},
};
use proxy::Acme;
use std::net::IpAddr;

/// The authority that is asked when no other is named: Let's Encrypt.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// What the table says.
pub(super) struct Draw {
    agreed: bool,
    acme: Acme,
}

pub(super) const ACME: &[Key<Draw>] = &[
    Key {
        name: "agreed",
        doc: "That you agree to the terms of service of the authority, which it links to from its directory. It is needed.",
        shows: Shows::Example("true"),
        set: |d, v, f| f.put(&mut d.agreed, v.truth()),
    },
    Key {
        name: "contact",
        doc: "An e-mail address that the authority may write to.",
        shows: Shows::Example(r#""ops@example.com""#),
        set: |d, v, f| f.put(&mut d.acme.contact, contact(v).map(Some)),
    },
    Key {
        name: "directory",
        doc: "The authority, by the address of its ACME directory. This one, without it.",
        shows: Shows::Example(r#""https://acme-v02.api.letsencrypt.org/directory""#),
        set: |d, v, f| f.put(&mut d.acme.directory, directory(v)),
    },
    Key {
        name: "roots",
        doc: "A PEM file with the roots that its own certificate leads to, relative to this one. Without it: those that this machine\n\
              trusts.",
        shows: Shows::Example(r#""authority.pem""#),
        set: |d, v, f| f.put(&mut d.acme.roots, v.path().map(Some)),
    },
    Key {
        name: "hosts",
        doc: "The hosts that get a certificate. Without it: every host that some service has a route for, unless it is a wildcard, no\n\
              public name, or has a certificate from files.",
        shows: Shows::Example(r#"["shop.example.com"]"#),
        set: |d, v, f| f.put(&mut d.acme.hosts, hosts(v)),
    },
];

/// Reads the table. An empty one asks nobody.
pub(super) fn read_acme(into: &mut Option<Acme>, node: &Node<'_>, faults: &mut Faults) {
    let (before, none) =
        (faults.0.len(), Acme { directory: DIRECTORY.to_owned(), contact: None, roots: None, hosts: vec![] });
    let mut draw = Draw { agreed: false, acme: none };
    read(ACME, &mut draw, node, faults);
    if node.table().is_ok_and(|table| table.is_empty()) || faults.0.len() > before {
        return;
    }
    if !draw.agreed {
        let help = format!("read those that {} links to, and write agreed = true", draw.acme.directory);
        let what = "the terms of service of the authority are not agreed to, and it issues to nobody else";
        return faults.0.push(Fault::new(node.at.clone(), what, help));
    }
    *into = Some(draw.acme);
}

fn contact(node: &Node<'_>) -> Result<String, Fault> {
    let text = node.name()?;
    let address = text.strip_prefix("mailto:").unwrap_or(&text);
    let is_one =
        address.split_once('@').is_some_and(|(who, at)| !who.is_empty() && !at.is_empty() && !at.contains('@'));
    match is_one && !address.contains(|c: char| c.is_whitespace() || matches!(c, ',' | '?')) {
        true => Ok(address.to_owned()),
        false => Err(node.fault(format!("`{text}` is not one e-mail address"), "for example \"ops@example.com\"")),
    }
}

fn directory(node: &Node<'_>) -> Result<String, Fault> {
    let text = node.name()?;
    match text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace)) {
        true => Ok(text),
        false => Err(node.fault(
            format!("`{text}` is not an address that begins with https://"),
            format!("for example \"{DIRECTORY}\""),
        )),
    }
}

fn hosts(node: &Node<'_>) -> Result<Vec<String>, Fault> {
    node.list(|node| {
        let text = node.name()?.to_ascii_lowercase();
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let help = match text.parse::<IpAddr>() {
            Ok(_) => "authorities are asked for names only; give an address a certificate from files",
            Err(_) if text.contains('*') => {
                "that takes a proof by DNS, which is not made here; name each host, or give a certificate from files"
            }
            Err(_) if text.split('.').all(is_part) => return Ok(text),
            Err(_) => "use a name such as \"shop.example.com\", without a port or a path",
        };
        Err(node.fault(format!("`{text}` is not a host that can get a certificate"), help))
    })
}
