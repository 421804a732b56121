//! What can be changed while the data plane runs, besides tables and certificates: whom it believes, and what it writes down.
//! Comes as a file, as JSON, and is read again when it changes.

use model::{Bytes, Network, Ratio};
use serde::{Deserialize, Serialize};
use std::{net::IpAddr, path::PathBuf};

/// What a data plane is told in its file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// What is written down of every request. `None`: nothing.
    pub access_log: Option<AccessLog>,
    /// Proxies that are believed about where a request came from: `x-forwarded-for` and `x-forwarded-proto`.
    pub forwarded_by: Vec<Network>,
    /// Balancers whose connections begin with a header of the PROXY protocol, and must.
    pub proxy_protocol_from: Vec<Network>,
}

impl Settings {
    /// Whether a proxy at this address is believed.
    pub(crate) fn believes(&self, address: IpAddr) -> bool {
        self.forwarded_by.iter().any(|network| network.has(address))
    }

    /// Whether connections from this address begin with a header of the PROXY protocol.
    pub(crate) fn announces(&self, address: IpAddr) -> bool {
        self.proxy_protocol_from.iter().any(|network| network.has(address))
    }
}

/// A log of requests.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccessLog {
    /// Where it is written.
    pub file: PathBuf,
    /// How a line looks.
    pub format: LogFormat,
    /// Which share of the requests that went well is written. All others are.
    pub sample: Ratio,
    /// At this size it is put aside, as `….1`, in the place of the one before.
    pub size: Bytes,
    /// Whether what follows `?` is written, too. It may hold secrets.
    pub query: bool,
}

/// How a line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object for each line.
    Json,
    /// As Apache and nginx call it.
    Combined,
}
