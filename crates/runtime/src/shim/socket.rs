//! Connecting to a shim's socket, however long the data directory's path is.

use crate::layout;
use std::{
    fs::File,
    io,
    os::{
        fd::AsRawFd as _,
        unix::net::{SocketAddr, UnixStream},
    },
    path::{Path, PathBuf},
};

/// A Unix socket's path may have at most 108 bytes. Through a descriptor of its directory it always has fewer.
pub(crate) struct Address {
    directory: File,
}

impl Address {
    /// # Errors
    /// When the instance directory cannot be opened.
    pub(crate) fn of(instance: &Path) -> io::Result<Address> {
        Ok(Address { directory: File::open(instance)? })
    }

    /// A short path to the socket, valid in this process for as long as `self` lives.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}/{}", self.directory.as_raw_fd(), layout::SOCKET).into()
    }

    /// Connects, for callers without an event loop.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&SocketAddr::from_pathname(self.path())?)
    }
}
