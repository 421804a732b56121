//! The programs that are not ours and that the tests and the benches run against: they come from Debian.

use crate::{
    error::Error,
    workspace::{shown, succeed},
};
use std::{env, fs, os::unix::fs::MetadataExt, path::Path, process::Command};

/// Each program with the Debian package it comes in.
const PEERS: &[(&str, &str)] = &[
    ("nginx", "nginx-light"),
    ("gunicorn", "gunicorn"),
    ("python3", "python3"),
    ("node", "nodejs"),
    ("sqlite3", "sqlite3"),
    ("curl", "curl"),
    ("pebble", "pebble"),
];

/// The same for the bench of the data plane.
const BENCHED: &[(&str, &str)] = &[
    ("nginx", "nginx-light"),
    ("haproxy", "haproxy"),
    ("caddy", "caddy"),
    ("wrk", "wrk"),
    ("h2load", "nghttp2-client"),
    ("openssl", "openssl"),
    ("taskset", "util-linux"),
];

/// Installs those that are missing when we are root, and says so; otherwise says what to install.
pub(crate) fn provide() -> Result<(), Error> {
    provide_all(PEERS)
}

/// Those of the bench of the data plane.
pub(crate) fn provide_for_benches() -> Result<(), Error> {
    provide_all(BENCHED)
}

fn provide_all(peers: &[(&'static str, &'static str)]) -> Result<(), Error> {
    let missing: Vec<(&str, &str)> = peers.iter().copied().filter(|(program, _)| !is_installed(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list =
        |of: fn(&(&'static str, &'static str)) -> &'static str| missing.iter().map(of).collect::<Vec<_>>().join(" ");
    let (programs, packages) = (list(|peer| peer.0), list(|peer| peer.1));
    if !is_root() {
        return Err(Error::Peers { missing: programs, packages });
    }
    println!("This runs against programs that are not installed: {programs}. Installing from Debian: {packages}");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["-qq", "-o", "Dpkg::Use-Pty=0"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        println!("$ {}", shown(&command));
        succeed(&mut command)
    };
    apt(&["update"])?;
    let install = ["install", "--yes", "--no-install-recommends"];
    apt(&install.iter().copied().chain(missing.iter().map(|(_, package)| *package)).collect::<Vec<_>>())
}

/// Looks in `PATH` and where Debian puts servers, which is not in everybody's `PATH`.
fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([Path::new("/usr/sbin").to_owned()])
        .any(|directory| directory.join(program).is_file())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
