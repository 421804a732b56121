//! What a command works with: where the configuration and the data are, whom to talk to, where to write.

use super::{
    args::{Global, ServiceArg},
    failure::Failure,
    out::Out,
};
use crate::{config, config::Config, serve::API_SOCKET};
use api::Client;
use model::ServiceKey;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use store::Place;

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Context {
    global: Global,
    /// Where to write.
    pub(crate) out: Out,
}

impl Context {
    pub(crate) fn new(global: Global) -> Context {
        let out = Out::new(&global);
        Context { global, out }
    }

    /// The configuration file.
    pub(crate) fn config_path(&self) -> Result<PathBuf, Failure> {
        match &self.global.config {
            Some(path) => Ok(path.clone()),
            None => Ok(config::find(&here()?)?),
        }
    }

    /// The configuration, with the data directory that was asked for.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let path = self.config_path()?;
        let mut config = Config::load(&path).map_err(|error| error.shown_in(&shown(&path)))?;
        if let Some(data) = &self.global.data {
            config.data.clone_from(data);
        }
        Ok(config)
    }

    /// The data directory.
    pub(crate) fn data(&self) -> Result<PathBuf, Failure> {
        match &self.global.data {
            Some(data) => Ok(data.clone()),
            None => Ok(config::whereabouts(&self.config_path()?)?.data),
        }
    }

    /// What may lie in a project's directory and must never be deployed with it: the data directory and files of secrets.
    ///
    /// # Errors
    /// When there is a configuration that cannot be read: a secret that it names could be taken along.
    pub(crate) fn private_paths(&self) -> Result<Vec<PathBuf>, Failure> {
        let secrets = match self.config() {
            Ok(config) => config.secrets_files.into_values().collect(),
            Err(Failure::Config(config::Error::NotFound { .. })) => Vec::new(),
            Err(failure) => return Err(failure),
        };
        Ok(self.data().into_iter().chain(secrets).collect())
    }

    /// The service that is meant: one named without an environment is in that of the configuration.
    pub(crate) fn service(&self, name: &ServiceArg) -> ServiceKey {
        let environment = name.environment.clone().unwrap_or_else(|| {
            let path = self.config_path().ok();
            path.and_then(|p| config::whereabouts(&p).ok()).map(|w| w.environment).unwrap_or_default()
        });
        ServiceKey { environment, name: name.name.clone() }
    }

    /// The ledger.
    pub(crate) fn ledger(&self) -> Result<Place, Failure> {
        Ok(Place::new(self.data()?.join("ledger")))
    }

    /// A client of the server.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let Some(url) = &self.global.server else { return Ok(Client::unix(self.data()?.join(API_SOCKET))) };
        let address = address(url).ok_or_else(|| {
            Failure::usage(format!("`{url}` is not the address of a server"), "use http://127.0.0.1:PORT")
        })?;
        // Never an option: command lines are seen by everyone on the machine.
        let token = std::env::var("QD_TOKEN").ok().filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| {
            Failure::usage("a server over TCP needs a token", "put it into the environment variable QD_TOKEN")
        })?;
        Ok(Client::tcp(address, token))
    }
}

/// The working directory.
pub(crate) fn here() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(Failure::file("find", "the working directory"))
}

/// The address in `http://127.0.0.1:7777`, with or without the scheme.
fn address(url: &str) -> Option<SocketAddr> {
    let rest = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let rest = rest.strip_prefix("localhost:").map_or(rest.to_owned(), |port| format!("127.0.0.1:{port}"));
    rest.parse().ok()
}

/// A path as people should see it: relative to the working directory where it is below it.
pub(crate) fn shown(path: &Path) -> String {
    let relative = here().ok().and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    relative.unwrap_or_else(|| path.to_owned()).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_address() {
        let expected = Some("127.0.0.1:7777".parse().unwrap());
        for url in ["http://127.0.0.1:7777", "http://localhost:7777/", "127.0.0.1:7777"] {
            assert_eq!(address(url), expected, "{url}");
        }
        for url in ["https://127.0.0.1:7777", "http://127.0.0.1", "example.com:80", ""] {
            assert_eq!(address(url), None, "{url}");
        }
    }
}
