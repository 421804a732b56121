//! The files by which the data plane is told on which terms to speak TLS, and what else can be changed while it runs. They name
//! files and hold no secrets; a data plane that runs reads them again when they change.

use serde::Serialize;
use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// The name of the one with the terms of TLS.
pub(super) const TERMS: &str = "tls.json";

/// The name of the one with everything else.
pub(super) const SETTINGS: &str = "proxy.json";

/// Replaces one as a whole.
pub(super) fn write(data: &Path, name: &str, told: &impl Serialize) -> io::Result<()> {
    let path = data.join(name);
    let staged = path.with_extension("json.new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
    file.write_all(&serde_json::to_vec_pretty(told)?)?;
    file.sync_all()?;
    fs::rename(&staged, &path)
}
