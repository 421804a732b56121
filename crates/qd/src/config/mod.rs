//! The configuration `quarterdeck.toml`: found, read, checked.
//!
//! [`keys`] is the one definition: files are read by it, the reference ([`mod@reference`]) is written from it. Nothing here
//! talks to a server or changes anything; the only files read are the configuration and those it names. All that is
//! wrong with a file is told at once, with line, column and what is allowed; a value from a secrets file is never part
//! of any text.
//!
//! Start reading at [`Config`], then [`keys`].

mod access_log;
mod acme;
mod draft;
mod env_file;
mod files;
mod instance_tls;
mod key;
mod keys;
mod node;
mod parts;
mod problem;
pub(crate) mod reference;
mod routes;
#[cfg(test)]
mod tests;
mod tls;
mod values;
mod words;

pub(crate) use parts::STRATEGIES;
pub(crate) use problem::{Fault, Problems, Shown, nearest};
pub(crate) use tls::Tls;

use access_log::Log;
use draft::{Draft, Placed};
use model::{EnvironmentName, ServiceName, ServiceSpec};
use node::Node;
use policy::Policy;
use problem::Faults;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use toml::de::{DeTable, DeValue};

/// What the file is called.
pub(crate) const FILE_NAME: &str = "quarterdeck.toml";
/// The largest file read, in bytes: more is a mistake.
const MAX_FILE: u64 = 1 << 20;
/// The most that the environment of one service may take, in bytes: it becomes part of one ledger entry.
const MAX_ENV: usize = 24 << 10;

/// What a configuration file says, with every default filled in.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Config {
    /// The file.
    pub(crate) path: PathBuf,
    /// The environment it describes.
    pub(crate) environment: EnvironmentName,
    /// The data directory.
    pub(crate) data: PathBuf,
    /// Where requests come in.
    pub(crate) proxy: Proxy,
    /// Where the API answers.
    pub(crate) api: Api,
    /// Who may do what.
    pub(crate) access: Access,
    /// Every service, complete but for the digest of its secrets.
    pub(crate) services: BTreeMap<ServiceName, ServiceSpec>,
    /// The files that secrets come from, for the services that have some.
    pub(crate) secrets_files: BTreeMap<ServiceName, PathBuf>,
}

/// The data plane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Proxy {
    /// Where requests come in; at least one.
    pub(crate) listen: Vec<SocketAddr>,
    /// Threads that carry them; 0: one for each processor.
    pub(crate) threads: usize,
    /// Where requests come in with TLS, and on which terms.
    pub(crate) tls: Option<Tls>,
    /// What is written down of requests, before its file is settled.
    access_log: Log,
    /// What else the data plane is told.
    pub(crate) settings: proxy::Settings,
}

/// The API.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Api {
    /// Where it answers beside the Unix socket.
    pub(crate) listen: Option<SocketAddr>,
}

/// Who may do what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Access {
    /// May do everything.
    pub(crate) owners: BTreeSet<String>,
    /// May look.
    pub(crate) viewers: BTreeSet<String>,
    /// How many others must approve a change.
    pub(crate) approvals: u32,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No file was named and none was found.
    #[error(
        "there is no {FILE_NAME} in {start} or above it; begin with `qd init`, or name a file with --config",
        start = start.display()
    )]
    NotFound {
        /// Where the search began.
        start: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration {path}", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    Wrong(#[from] Problems),
}

impl Error {
    /// Calls the file by this name, which people know better than a whole path.
    pub(crate) fn shown_in(self, name: &str) -> Error {
        match self {
            Error::Wrong(problems) => Error::Wrong(problems.shown_in(name)),
            other @ (Error::NotFound { .. } | Error::Unreadable { .. }) => other,
        }
    }
}

/// The configuration file in a directory or the nearest one above it.
///
/// # Errors
/// [`Error::NotFound`].
pub(crate) fn find(start: &Path) -> Result<PathBuf, Error> {
    let found = start.ancestors().map(|directory| directory.join(FILE_NAME)).find(|path| path.is_file());
    found.ok_or_else(|| Error::NotFound { start: start.to_owned() })
}

/// What a file says about where things are, whatever else is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Whereabouts {
    /// The environment it describes.
    pub(crate) environment: EnvironmentName,
    /// The data directory.
    pub(crate) data: PathBuf,
}

/// Reads only where things are: a mistake elsewhere in the file must not keep anyone from looking at what runs.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn whereabouts(path: &Path) -> Result<Whereabouts, Error> {
    let text = read_bounded(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    let (document, _) = DeTable::parse_recoverable(&text);
    let said = |key: &str| document.get_ref().get(key).and_then(|value| value.get_ref().as_str());
    let defaults = Draft::default();
    let base = path.parent().unwrap_or(Path::new(""));
    Ok(Whereabouts {
        environment: said("environment").and_then(|name| name.parse().ok()).unwrap_or(defaults.environment),
        data: base.join(said("data").map_or(defaults.data, PathBuf::from)),
    })
}

impl Config {
    /// Reads and checks a file and the files it names.
    ///
    /// # Errors
    /// When it cannot be read, or with everything that is wrong in it.
    pub(crate) fn load(path: &Path) -> Result<Config, Error> {
        let text = read_bounded(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        Ok(Config::parse(path, &text)?)
    }

    /// Checks the text of a file. Relative paths in it are relative to the directory of `path`.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Config, Problems> {
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What stands after broken syntax cannot be trusted, so that nothing else is said about this file.
            let faults = errors.iter().map(|e| Fault::new(e.span().unwrap_or(0..0), e.message(), "")).collect();
            return Err(Problems::new(path, text, faults));
        }
        let mut draft = Draft::default();
        let mut faults = Faults::default();
        let root = DeValue::Table(document.into_inner());
        key::read(keys::ROOT, &mut draft, &Node { value: &root, at: 0..text.len() }, &mut faults);
        draft.check_addresses(&mut faults);
        draft.check_claims(|at| text[..at].matches('\n').count() + 1, &mut faults);
        let base = path.parent().unwrap_or(Path::new(""));
        let config = finish(draft, path, base, &mut faults);
        if faults.0.is_empty() { Ok(config) } else { Err(Problems::new(path, text, faults.0)) }
    }

    /// The rules of access, with these people as owners beside those the file names.
    pub(crate) fn policy(&self, owners: impl IntoIterator<Item = String>) -> Policy {
        Policy {
            owners: self.access.owners.iter().cloned().chain(owners).collect(),
            viewers: self.access.viewers.clone(),
            approvals: BTreeMap::from([(self.environment.clone(), self.access.approvals)]),
        }
    }

    /// The secrets of a service, read anew from their file; empty when it has none. Never show them.
    ///
    /// # Errors
    /// A text that names the file and the line, never a value.
    pub(crate) fn secrets(&self, service: &ServiceName) -> Result<BTreeMap<String, String>, String> {
        self.secrets_files.get(service).map_or(Ok(BTreeMap::new()), |path| read_pairs(path))
    }
}

/// Resolves what is relative and reads the files that services name.
fn finish(draft: Draft, path: &Path, base: &Path, faults: &mut Faults) -> Config {
    let mut services = BTreeMap::new();
    let mut secrets_files = BTreeMap::new();
    for (name, mut service) in draft.services {
        service.spec.run.ready = service.ready();
        if let Some(file) = &service.env_file {
            let mut env = pairs_at(base, file, faults).unwrap_or_default();
            env.append(&mut service.spec.run.env);
            service.spec.run.env = env;
        }
        service.check_listen(faults);
        let tls = service.spec.traffic.instance_tls.take();
        service.spec.traffic.instance_tls = tls.map(|tls| instance_tls::settled(tls, base));
        let length: usize = service.spec.run.env.iter().map(|(k, v)| k.len() + v.len()).sum();
        if length > MAX_ENV {
            let what = format!("the environment of {name} has {length} bytes, and at most {MAX_ENV} are allowed");
            faults.0.push(Fault::new(service.at.clone(), what, "put large values into a file of the release"));
        }
        if let Some(file) = &service.secrets_file
            && pairs_at(base, file, faults).is_some()
        {
            secrets_files.insert(name.clone(), base.join(&file.value));
        }
        services.insert(name, service.spec);
    }
    let Draft { environment, data, mut proxy, api, access, .. } = draft;
    // Without a certificate no handshake could succeed.
    proxy.tls = proxy.tls.filter(Tls::is_on).map(|tls| tls.settled(base));
    let data = base.join(data);
    proxy.settings.access_log = proxy.access_log.clone().settled(base, &data);
    Config { path: path.to_owned(), environment, data, proxy, api, access, services, secrets_files }
}

fn pairs_at(base: &Path, file: &Placed<PathBuf>, faults: &mut Faults) -> Option<BTreeMap<String, String>> {
    read_pairs(&base.join(&file.value)).map_err(|what| faults.0.push(Fault::new(file.at.clone(), what, ""))).ok()
}

/// The pairs of a file of `KEY=value` lines, or what is wrong with it, without repeating any of it.
fn read_pairs(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let text = read_bounded(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    env_file::parse(&text).map_err(|bad| format!("{} line {}: {}", path.display(), bad.0, bad.1))
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let length = fs::metadata(path)?.len();
    if length > MAX_FILE {
        return Err(io::Error::other(format!("it has {length} bytes, and at most {MAX_FILE} are read")));
    }
    fs::read_to_string(path)
}
