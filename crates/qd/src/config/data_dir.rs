//! Where things are in the data directory, as far as several parts of this program must agree on it.

use std::path::{Path, PathBuf};
use store::Place;

/// The socket of the API.
pub fn api_socket(data: &Path) -> PathBuf {
    data.join("api.sock")
}

/// The file with the token of the API over TCP; for its owner only.
pub fn api_token(data: &Path) -> PathBuf {
    data.join("api.token")
}

/// The ledger. Its head file is outside of its directory, so that a backup of the directory leaves it out.
pub fn ledger(data: &Path) -> Place {
    Place { dir: data.join("ledger"), head: data.join("ledger.head") }
}
