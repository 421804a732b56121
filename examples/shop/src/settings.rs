//! What the shop is told from outside: its version and its faults.
//!
//! Settings come from `shop.toml`, which travels inside a release (it is looked for in the current directory, then beside
//! the executable), and from environment variables, which win: `SHOP_FAIL_SHARE=0.05` is `fail_share = 0.05`. A name that
//! does not exist is refused: a fault that is silently not switched on would prove the wrong thing.

use serde::Deserialize;
use std::path::PathBuf;

/// Everything that can be set. The default is a shop without faults.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// What this release calls itself on the page and in the header `x-shop-version`.
    pub(crate) version: String,
    /// The share of checkouts answered with 500.
    pub(crate) fail_share: f64,
    /// The share of requests delayed by `slow_ms`.
    pub(crate) slow_share: f64,
    /// How long a slow request is delayed, in milliseconds.
    pub(crate) slow_ms: u64,
    /// The share of responses of which the connection is closed half-way through the body.
    pub(crate) truncate_share: f64,
    /// How long after its start the shop begins to listen, in milliseconds.
    pub(crate) start_delay_ms: u64,
    /// `/healthz` says 503 for ever.
    pub(crate) never_ready: bool,
    /// Exit with status 70 this long after the start, in milliseconds. Zero: never.
    pub(crate) crash_after_ms: u64,
    /// Listen on a port of the system's choice instead of `PORT`.
    pub(crate) ignore_port: bool,
    /// Write this many MiB of output per second, some of it not text. Zero: none.
    pub(crate) log_flood_mib: u32,
    /// Leave a copy of itself behind in another process group, and exit.
    pub(crate) fork_away: bool,
    /// Go on after SIGTERM, so that only a kill helps.
    pub(crate) ignore_sigterm: bool,
    /// Begins the random numbers. Zero: another beginning in each process.
    pub(crate) seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            version: "v1".into(),
            fail_share: 0.0,
            slow_share: 0.0,
            slow_ms: 300,
            truncate_share: 0.0,
            start_delay_ms: 0,
            never_ready: false,
            crash_after_ms: 0,
            ignore_port: false,
            log_flood_mib: 0,
            fork_away: false,
            ignore_sigterm: false,
            seed: 0,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not TOML", path.display())]
    Syntax { path: PathBuf, source: toml::de::Error },
    #[error("a setting in shop.toml or in an environment variable SHOP_… is not right")]
    Value(#[source] toml::de::Error),
    #[error("{name} is {value}: a share is a number from 0 to 1")]
    Share { name: &'static str, value: f64 },
}

impl Settings {
    /// Reads the file and the environment of this process.
    pub(crate) fn load() -> Result<Settings, SettingsError> {
        let mut table = match file() {
            None => toml::Table::new(),
            Some(path) => match std::fs::read_to_string(&path) {
                Err(source) => return Err(SettingsError::Read { path, source }),
                Ok(text) => text.parse().map_err(|source| SettingsError::Syntax { path, source })?,
            },
        };
        overlay(
            &mut table,
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
        );
        from_table(table)
    }

    /// One line for each fault that is switched on.
    pub(crate) fn faults(&self) -> Vec<String> {
        let percent = |share: f64| format!("{} %", (share * 1e4).round() / 1e2);
        let lines = [
            (self.fail_share > 0.0, format!("{} of checkouts fail with 500", percent(self.fail_share))),
            (
                self.slow_share > 0.0,
                format!("{} of requests take {} ms longer", percent(self.slow_share), self.slow_ms),
            ),
            (self.truncate_share > 0.0, format!("{} of responses are cut off", percent(self.truncate_share))),
            (self.start_delay_ms > 0, format!("listens only after {} ms", self.start_delay_ms)),
            (self.never_ready, "never ready".to_owned()),
            (self.crash_after_ms > 0, format!("crashes after {} ms", self.crash_after_ms)),
            (self.ignore_port, "ignores PORT".to_owned()),
            (self.log_flood_mib > 0, format!("writes {} MiB of output per second", self.log_flood_mib)),
            (self.fork_away, "leaves a copy of itself behind and exits".to_owned()),
            (self.ignore_sigterm, "ignores SIGTERM".to_owned()),
        ];
        lines.into_iter().filter_map(|(on, line)| on.then_some(line)).collect()
    }
}

fn file() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("shop.toml")));
    [Some(PathBuf::from("shop.toml")), beside].into_iter().flatten().find(|path| path.exists())
}

/// Puts every variable `SHOP_NAME=value` over the table's `name`. A value that is not TOML is taken as text.
fn overlay(table: &mut toml::Table, environment: impl Iterator<Item = (String, String)>) {
    for (name, text) in environment {
        if let Some(name) = name.strip_prefix("SHOP_") {
            let value = format!("value = {text}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("value"));
            table.insert(name.to_ascii_lowercase(), value.unwrap_or(toml::Value::String(text)));
        }
    }
}

fn from_table(table: toml::Table) -> Result<Settings, SettingsError> {
    let settings: Settings = table.try_into().map_err(SettingsError::Value)?;
    let shares = [
        ("fail_share", settings.fail_share),
        ("slow_share", settings.slow_share),
        ("truncate_share", settings.truncate_share),
    ];
    match shares.into_iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
        Some((name, value)) => Err(SettingsError::Share { name, value }),
        None => Ok(settings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let mut table = file.parse().unwrap();
        overlay(&mut table, environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        from_table(table)
    }

    #[test]
    fn environment_wins_over_the_file() {
        let settings =
            check("version = 'v2'\nfail_share = 0.5", &[("SHOP_FAIL_SHARE", "0.05"), ("HOME", "x")]).unwrap();
        assert_eq!(settings, Settings { version: "v2".into(), fail_share: 0.05, ..Settings::default() });
    }

    #[test]
    fn text_needs_no_quotes_in_the_environment() {
        assert_eq!(check("", &[("SHOP_VERSION", "v3")]).unwrap().version, "v3");
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        assert!(matches!(check("fail_shore = 0.1", &[]), Err(SettingsError::Value(_))));
        assert!(matches!(check("", &[("SHOP_FAIL_SHORE", "0.1")]), Err(SettingsError::Value(_))));
    }

    #[test]
    fn a_share_above_one_is_refused() {
        assert!(matches!(check("slow_share = 5.0", &[]), Err(SettingsError::Share { name: "slow_share", .. })));
    }

    #[test]
    fn only_faults_that_are_on_are_told() {
        assert!(Settings::default().faults().is_empty());
        let settings = Settings { fail_share: 0.025, never_ready: true, ..Settings::default() };
        assert_eq!(settings.faults(), ["2.5 % of checkouts fail with 500", "never ready"]);
    }
}
