//! Where things are in the data directory, and how a file is replaced as a whole.
//!
//! ```text
//! artifacts/{files,trees,staging}     releases by content
//! secrets/{key,<digest>}              encrypted
//! instances/INS-3/                    spec.json status.json shim.sock shim.log tmp/ home/ run/
//! logs/production/shop/INS-3.1.log    captured output in segments
//! ```

use crate::Error;
use model::{Address, InstanceId, ServiceKey, Time};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

pub(crate) const SPEC: &str = "spec.json";
pub(crate) const STATUS: &str = "status.json";
pub(crate) const SOCKET: &str = "shim.sock";
pub(crate) const SHIM_LOG: &str = "shim.log";

/// Directories that instances pass through: others may traverse them but not list them.
const PASSABLE: u32 = 0o711;

pub(crate) fn instances(data: &Path) -> PathBuf {
    data.join("instances")
}

pub(crate) fn instance(data: &Path, id: InstanceId) -> PathBuf {
    instances(data).join(id.to_string())
}

/// The ids of all instances that have a directory.
pub(crate) fn instance_ids(data: &Path) -> Result<Vec<InstanceId>, Error> {
    let path = instances(data);
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read the directory", &path, error)),
    };
    let mut ids: Vec<InstanceId> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// The directory in which an instance makes the socket that it listens on.
pub(crate) fn run(instance: &Path) -> PathBuf {
    instance.join("run")
}

/// Where an attempt of an instance listens: on its port, or without one on a socket. Each attempt has one of its own, so that
/// nobody takes it for the attempt before.
pub(crate) fn address(instance: &Path, attempt: u32, port: Option<u16>) -> Address {
    match port {
        Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(),
        None => Address::Unix(run(instance).join(format!("{attempt}.sock")).to_string_lossy().into_owned()),
    }
}

pub(crate) fn logs(data: &Path, service: &ServiceKey) -> PathBuf {
    data.join("logs").join(service.environment.as_str()).join(service.name.as_str())
}

/// Creates a directory and its parents; those that exist are left as they are.
pub(crate) fn create_passable(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(PASSABLE)
        .create(path)
        .map_err(|e| Error::file("create the directory", path, e))
}

/// Creates a directory and its parents for this user only.
pub(crate) fn create_private(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| Error::file("create the directory", path, e))
}

/// Sets permission bits.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|e| Error::file("set the permissions of", path, e))
}

/// Replaces a JSON file that only this user may read, so that a reader sees the old or the new one.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let body = serde_json::to_vec(value).map_err(|source| Error::Malformed { path: path.to_owned(), source })?;
    let staged = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
        file.write_all(&body)?;
        fs::rename(&staged, path)
    };
    write().map_err(|e| Error::file("write", path, e))
}

/// Reads what [`write_json`] wrote.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let body = fs::read(path).map_err(|e| Error::file("read", path, e))?;
    serde_json::from_slice(&body).map_err(|source| Error::Malformed { path: path.to_owned(), source })
}

/// The time by this machine's clock.
pub(crate) fn now() -> Time {
    Time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64))
}
