//! The proxy's place in the data directory: the lock that makes it the only one, its control socket, its saved table.

use crate::{error::Error, handover, saved_table::Saved};
use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process,
};
use tokio::net::UnixListener;

/// The name of the control socket.
const CONTROL: &str = "proxy.sock";

/// A data directory that no other proxy uses while this exists.
pub(crate) struct Home {
    data_dir: PathBuf,
    /// Locked as long as it is open. The file stays: removing it would let two processes lock two different files.
    _lock: File,
}

impl Home {
    /// Takes a data directory.
    ///
    /// # Errors
    /// When it cannot be written to, or has a proxy already.
    pub(crate) fn claim(data_dir: &Path) -> Result<Home, Error> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::DataDir { path, source }
        };
        fs::create_dir_all(data_dir).map_err(unusable(data_dir))?;
        let path = data_dir.join("proxy.lock");
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut lock = open.map_err(unusable(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = (&lock).take(32).read_to_string(&mut pid);
                let pid = read.ok().and_then(|_| pid.trim().parse().ok());
                return Err(Error::AlreadyRunning { data_dir: data_dir.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(&path)(source)),
        }
        write_pid(&mut lock).map_err(unusable(&path))?;
        Ok(Home { data_dir: data_dir.to_owned(), _lock: lock })
    }

    /// Where the table in force is kept.
    pub(crate) fn table_path(&self) -> PathBuf {
        table_path(&self.data_dir)
    }

    /// The table that was in force last. What cannot be used is said and left where it is; control sends another.
    pub(crate) fn load_table(data_dir: &Path) -> Option<Saved> {
        let path = table_path(data_dir);
        match Saved::load(&path) {
            Ok(saved) => saved,
            Err(error) => {
                let why = std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
                tracing::warn!(
                    path = %path.display(),
                    "the saved route table is not used, because {error}{why}; every request is refused until control \
                     sends a table"
                );
                None
            }
        }
    }

    /// Opens the control socket, in the place of one that was left behind.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn listen(&self) -> Result<UnixListener, Error> {
        self.open_socket(CONTROL)
    }

    /// Opens the socket at which another proxy asks for the listeners, likewise.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn listen_for_newcomers(&self) -> Result<UnixListener, Error> {
        self.open_socket(handover::SOCKET)
    }

    fn open_socket(&self, name: &str) -> Result<UnixListener, Error> {
        let path = self.data_dir.join(name);
        // Under its own name only when nobody else can connect to it any more.
        let new = self.data_dir.join(format!("{name}.new"));
        let listen = || {
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let listener = UnixListener::bind(&new)?;
            fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
            fs::rename(&new, &path)?;
            Ok(listener)
        };
        listen().map_err(|source| Error::ControlSocket { path: path.clone(), source })
    }
}

fn table_path(data_dir: &Path) -> PathBuf {
    data_dir.join("routes.json")
}

impl Drop for Home {
    fn drop(&mut self) {
        // A socket left behind does no harm; it is replaced by the next proxy.
        for name in [CONTROL, handover::SOCKET] {
            let _ = fs::remove_file(self.data_dir.join(name));
        }
    }
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    write!(lock, "{}", process::id())
}
