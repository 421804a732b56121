//! TLS to clients: which certificate a connection gets, how it begins, and how certificates are replaced while it goes on. And
//! TLS to instances, which has little to do with it ([`instance`]).
//!
//! Everything a connection needs is in one value, [`InForce`], that is replaced as a whole, so that a handshake reads one
//! pointer. It is made by the [`keeper`], a thread of its own: it reads the terms and the files they name, reads them
//! again when they change, asks an authority for what no file has ([`acme`]), and keeps what was in force when new ones
//! cannot be used. No key is ever part of a message, an error or a report.
//!
//! TLS 1.2 and 1.3 with the cipher suites that rustls has on, HTTP/2 and HTTP/1.1 by ALPN, resumption by tickets whose
//! keys stay in memory and are renewed every six hours.

mod acme;
pub(crate) mod certificate;
mod clients;
mod dates;
mod handshake;
mod instance;
mod keeper;
mod local;
mod names;
mod redirect;
mod remind;
mod stamp;

pub(crate) use clients::told;
pub(crate) use handshake::{Room, meet};
pub(crate) use instance::ToInstance;
pub(crate) use keeper::{Keeper, Keeping};
pub(crate) use redirect::elsewhere;
pub(crate) use stamp::{Stamp, read as read_file};

use crate::config::Hsts;
use acme::Shown;
use arc_swap::{ArcSwap, Guard};
use http::HeaderValue;
use model::Certificate;
use rustls::ServerConfig;
use std::sync::Arc;

/// What the workers share of TLS.
#[derive(Default)]
pub(crate) struct Plane {
    in_force: ArcSwap<InForce>,
    /// What authorities are shown.
    shown: Arc<Shown>,
}

/// What TLS is spoken with now.
#[derive(Default)]
pub(crate) struct InForce {
    /// For handshakes. `None`: there is no certificate at all, and none can succeed.
    pub(crate) config: Option<Arc<ServerConfig>>,
    /// The port that requests in clear are sent to.
    pub(crate) redirect: Option<u16>,
    /// What browsers are told with responses.
    hsts: Option<Hsts>,
    /// For reports.
    certificates: Vec<Certificate>,
}

impl Plane {
    /// For one connection, or one request.
    pub(crate) fn now(&self) -> Guard<Arc<InForce>> {
        self.in_force.load()
    }

    /// What browsers are told with the responses on one connection. A value of its own for each, so that threads do not meet
    /// where copies of one are counted.
    pub(crate) fn hsts(&self) -> Option<HeaderValue> {
        let hsts = self.in_force.load().hsts?;
        let subdomains = if hsts.subdomains { "; includeSubDomains" } else { "" };
        HeaderValue::try_from(format!("max-age={}{subdomains}", hsts.max_age.0 / 1000)).ok()
    }

    /// Every certificate, and every one that should be there.
    pub(crate) fn certificates(&self) -> Vec<Certificate> {
        self.in_force.load().certificates.clone()
    }
}
