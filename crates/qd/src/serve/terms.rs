//! The file by which the data plane is told on which terms to speak TLS. It names files and holds no secrets; a data plane
//! that runs reads it again when it changes.

use proxy::Terms;
use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Where it is.
pub(super) fn path(data: &Path) -> PathBuf {
    data.join("tls.json")
}

/// Replaces it as a whole.
pub(super) fn write(data: &Path, terms: &Terms) -> io::Result<()> {
    let path = path(data);
    let staged = path.with_extension("json.new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
    file.write_all(&serde_json::to_vec_pretty(terms)?)?;
    file.sync_all()?;
    fs::rename(&staged, &path)
}
