//! The keys of `[proxy.tls]`. A certificate is what turns TLS on: one from files, those of an authority, or those for
//! development.

use super::{
    acme::{ACME, read_acme},
    key::{Key, Shows, read, write_reference},
    node::Node,
    problem::{Fault, Faults},
};
use model::Span;
use proxy::{CertificateFiles, Clients, Hsts, Terms, Wanted};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};
use toml::de::DeValue;

/// TLS to clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tls {
    /// Where connections begin with a handshake; at least one.
    pub(crate) listen: Vec<SocketAddr>,
    /// On which terms.
    pub(crate) terms: Terms,
    redirect: bool,
    hsts: Option<Span>,
    hsts_subdomains: bool,
    client_authorities: Option<PathBuf>,
    clients_wanted: Wanted,
}

const WANTED: &[(&str, Wanted)] = &[("asked", Wanted::WhereAsked), ("always", Wanted::Always)];

impl Default for Tls {
    fn default() -> Tls {
        Tls {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8443))],
            terms: Terms::default(),
            redirect: false,
            hsts: None,
            hsts_subdomains: false,
            client_authorities: None,
            clients_wanted: Wanted::WhereAsked,
        }
    }
}

impl Tls {
    /// Whether there is something to present.
    pub(super) fn is_on(&self) -> bool {
        self.terms.local || self.terms.acme.is_some() || !self.terms.certificates.is_empty()
    }

    /// With every file as seen from the directory `base`, and with what follows from several keys.
    pub(super) fn settled(mut self, base: &Path) -> Tls {
        let ours = self.listen.first().filter(|_| self.redirect).map(SocketAddr::port);
        self.terms.redirect = self.terms.redirect.or(ours);
        self.terms.hsts = self.hsts.map(|max_age| Hsts { max_age, subdomains: self.hsts_subdomains });
        let wanted = self.clients_wanted;
        let authorities = self.client_authorities.as_ref().map(|file| base.join(file));
        self.terms.clients = authorities.map(|authorities| Clients { authorities, wanted });
        for files in &mut self.terms.certificates {
            files.chain = base.join(&files.chain);
            files.key = base.join(&files.key);
        }
        if let Some(roots) = self.terms.acme.as_mut().and_then(|acme| acme.roots.as_mut()) {
            *roots = base.join(&*roots);
        }
        self
    }
}

pub(super) const TLS: &[Key<Tls>] = &[
    Key {
        name: "listen",
        doc: "Addresses that requests come in at with TLS.",
        shows: Shows::Default(r#"["127.0.0.1:8443"]"#),
        set: |t, v, f| f.put(&mut t.listen, v.addresses()),
    },
    Key {
        name: "certificates",
        doc: "Certificates from PEM files, relative to this one: the chain, the host's own first, and its key. Which hosts one is\n\
              for is read from it; a client that names no host gets the first. They are read again when they change.\n\
              Keep keys out of version control, with mode 0600.",
        shows: Shows::Example(r#"[{ chain = "shop.pem", key = "shop.key" }]"#),
        set: read_certificates,
    },
    Key {
        name: "client_authorities",
        doc: "A PEM file with the authorities that are believed about who a client is. Instances see the certificate that a client has\n\
              shown as `client-cert` (RFC 9440). Without it: clients are not asked for one.",
        shows: Shows::Example(r#""clients.pem""#),
        set: |t, v, f| f.put(&mut t.client_authorities, v.path().map(Some)),
    },
    Key {
        name: "client_certificates",
        doc: "Who must have one: \"asked\", the clients of services with `client_certificate`, or \"always\", everybody.",
        shows: Shows::Default(r#""asked""#),
        set: |t, v, f| f.put(&mut t.clients_wanted, v.one_of(WANTED)),
    },
    Key {
        name: "local",
        doc: "Whether hosts below `localhost` and `test`, and loopback addresses, have certificates of an authority of this\n\
              installation, for development. Its own certificate is tls/local-authority.pem in the data directory: trust it, or not.",
        shows: Shows::Default("false"),
        set: |t, v, f| f.put(&mut t.terms.local, v.truth()),
    },
    Key {
        name: "redirect",
        doc: "Whether requests that come in clear are sent to the first address above (308), but for those of this machine to\n\
              itself. The number of a port instead of `true`, where clients reach that address by another one.",
        shows: Shows::Default("false"),
        set: read_redirect,
    },
    Key {
        name: "hsts",
        doc: "For how long browsers are told to use TLS only, from their last visit on (Strict-Transport-Security). They keep to\n\
              it even when TLS is turned off here: begin with a short time.",
        shows: Shows::Example(r#""365d""#),
        set: |t, v, f| f.put(&mut t.hsts, v.span().map(Some)),
    },
    Key {
        name: "hsts_subdomains",
        doc: "Whether that is for every host below theirs, too.",
        shows: Shows::Default("false"),
        set: |t, v, f| f.put(&mut t.hsts_subdomains, v.truth()),
    },
    Key {
        name: "acme",
        doc: "Certificates from an authority, by ACME: asked for, kept in the data directory and renewed by the data plane. The authority\n\
              must reach one address of [proxy] by port 80, or one of [proxy.tls] by port 443.",
        shows: Shows::Table(|out, path| write_reference(out, path, ACME)),
        set: |t, v, f| read_acme(&mut t.terms.acme, v, f),
    },
];

fn read_redirect(tls: &mut Tls, node: &Node<'_>, faults: &mut Faults) {
    if let DeValue::Integer(_) = node.value {
        let port = node.integer(1..=u32::from(u16::MAX)).map(|port| u16::try_from(port).ok());
        faults.put(&mut tls.terms.redirect, port);
    } else {
        faults.put(&mut tls.redirect, node.truth());
    }
}

/// What a certificate is made of.
#[derive(Default)]
struct Draw {
    chain: Option<PathBuf>,
    key: Option<PathBuf>,
}

const CERTIFICATE: &[Key<Draw>] = &[
    Key {
        name: "chain",
        doc: "The certificates.",
        shows: Shows::Example(r#""shop.pem""#),
        set: |d, v, f| f.put(&mut d.chain, v.path().map(Some)),
    },
    Key {
        name: "key",
        doc: "The key.",
        shows: Shows::Example(r#""shop.key""#),
        set: |d, v, f| f.put(&mut d.key, v.path().map(Some)),
    },
];

fn read_certificates(tls: &mut Tls, node: &Node<'_>, faults: &mut Faults) {
    let Ok(items) = node.list(|item| Ok(item.clone())) else {
        let DeValue::Table(_) = node.value else {
            return faults.0.push(node.wrong_type("a list such as [{ chain = \"…\", key = \"…\" }]"));
        };
        // One certificate needs no list, and `[[proxy.tls.certificates]]` is the long form of one.
        return tls.terms.certificates.extend(certificate(node, faults));
    };
    for item in &items {
        tls.terms.certificates.extend(certificate(item, faults));
    }
}

fn certificate(node: &Node<'_>, faults: &mut Faults) -> Option<CertificateFiles> {
    let (mut draw, before) = (Draw::default(), faults.0.len());
    read(CERTIFICATE, &mut draw, node, faults);
    match draw {
        Draw { chain: Some(chain), key: Some(key) } => return Some(CertificateFiles { chain, key }),
        // What is wrong has been said.
        Draw { .. } if faults.0.len() > before => {}
        Draw { .. } => {
            let help = "for example { chain = \"shop.pem\", key = \"shop.key\" }; both may name the same file";
            faults.0.push(Fault::new(node.at.clone(), "a certificate needs both `chain` and `key`", help));
        }
    }
    None
}
