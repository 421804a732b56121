//! From a specification to a running shim: the instance's directory, the release, the user, the port, the process.

use super::{port, user};
use crate::{
    Error, artifact, in_full, layout,
    secrets::{self, Secrets},
    shim::{
        self, invocation,
        protocol::{Assignment, Handover, Status},
    },
};
use model::{Address, InstanceSpec, Listen, wire};
use std::{
    fs::{self, OpenOptions},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{OpenOptionsExt as _, chown},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};
use tokio::process::Command;
use zeroize::Zeroizing;

/// How many bytes the path of a Unix socket may have: `sun_path` without the zero at its end.
const LONGEST_SOCKET: usize = 107;

/// What a driver needs to launch and probe.
pub(super) struct Yard {
    pub(super) data: PathBuf,
    pub(super) executable: PathBuf,
    pub(super) artifacts: artifact::Store,
    pub(super) secrets: secrets::Store,
    pub(super) search_path: String,
}

/// One launched attempt, as its probes see it.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) yard: Arc<Yard>,
    pub(super) assignment: Arc<Assignment>,
    pub(super) directory: PathBuf,
    pub(super) address: Address,
    pub(super) status: Status,
}

impl Running {
    /// The instance's secrets, or none.
    pub(super) fn secrets(&self) -> Result<Secrets, String> {
        self.yard.open_secrets(&self.assignment.spec)
    }
}

impl Yard {
    /// Everything up to the moment before the process: may be done again, and leaves nothing that matters.
    ///
    /// # Errors
    /// A text for people: why this instance cannot be started, and what to do.
    pub(super) fn prepare(&self, spec: &InstanceSpec) -> Result<Assignment, String> {
        let release = self.artifacts.tree(spec.artifact);
        if !release.is_dir() {
            return Err(format!(
                "its artifact {} is not on this machine (any more): deploy the release again",
                spec.artifact.short()
            ));
        }
        let user = user::choose(spec.run.user.as_deref())?;
        let directory = layout::instance(&self.data, spec.id);
        if spec.run.listen == Listen::Socket {
            fits(&directory, spec.attempt)?;
        }
        self.lay_out(&directory, spec.run.listen, user.as_ref()).map_err(|error| in_full(&error))?;
        if let Some(user) = &user {
            let blocked = user.blocked_at(&release).or_else(|| user.blocked_at(&directory));
            if let Some(blocked) = blocked {
                return Err(format!(
                    "the user `{}` may not pass the directory `{}` on the way to the release: move the data \
                     directory to a place that everybody may pass (such as /var/lib/quarterdeck), or set \
                     `user = \"root\"` for this service",
                    user.name,
                    blocked.display()
                ));
            }
        }
        let assignment = Assignment {
            spec: spec.clone(),
            release,
            logs: layout::logs(&self.data, &spec.service),
            user,
            search_path: self.search_path.clone(),
        };
        layout::write_json(&directory.join(layout::SPEC), &assignment).map_err(|error| in_full(&error))?;
        Ok(assignment)
    }

    /// A directory for a new attempt: nothing of the last one's is left in it but `home`. The specification goes first,
    /// so that a directory that has one always has been completed.
    fn lay_out(&self, directory: &Path, listen: Listen, user: Option<&user::User>) -> Result<(), Error> {
        layout::create_passable(directory)?;
        for file in [layout::SPEC, layout::STATUS, layout::SOCKET, layout::SHIM_LOG] {
            remove_if_there(&directory.join(file))?;
        }
        let [temporary, home] = invocation::own_directories(directory);
        // Its socket is in one of its own, which nobody else may enter: not even to connect.
        let run = layout::run(directory);
        for left in [&temporary, &run] {
            if left.exists() {
                fs::remove_dir_all(left).map_err(|e| Error::file("empty", left, e))?;
            }
        }
        let run = (listen == Listen::Socket).then_some(&run);
        for own in [&temporary, &home].into_iter().chain(run) {
            layout::create_private(own)?;
            if let Some(user) = user {
                chown(own, Some(user.uid), Some(user.gid)).map_err(|e| Error::file("give away", own, e))?;
            }
        }
        Ok(())
    }

    pub(super) fn open_secrets(&self, spec: &InstanceSpec) -> Result<Secrets, String> {
        match spec.run.secrets {
            Some(digest) => self.secrets.open_set(digest).map_err(|error| in_full(&error)),
            None => Ok(Secrets::default()),
        }
    }

    /// Starts the shim, hands the port, if it has one, and the secrets over to it, and gives the other end of its standard input.
    ///
    /// # Errors
    /// A text for people.
    pub(super) fn launch(&self, spec: &InstanceSpec, port: Option<u16>) -> Result<UnixStream, String> {
        let directory = layout::instance(&self.data, spec.id);
        let secrets = self.open_secrets(spec)?;
        let start = || -> io::Result<UnixStream> {
            let (line, standard_input) = UnixStream::pair()?;
            let log = directory.join(layout::SHIM_LOG);
            let log = OpenOptions::new().append(true).create(true).mode(0o600).open(log)?;
            // Not waited for here: when it ends, tokio collects it.
            Command::new(&self.executable)
                .arg0(shim::PROGRAM)
                .arg(shim::ROLE)
                .arg(&directory)
                .env_clear()
                .current_dir("/")
                .stdin(Stdio::from(OwnedFd::from(standard_input)))
                .stdout(Stdio::null())
                .stderr(Stdio::from(log))
                .spawn()?;
            let handover = Handover { port, secrets: secrets.values().clone() };
            let frame = Zeroizing::new(wire::encode(&handover).map_err(io::Error::other)?);
            io::Write::write_all(&mut &line, &frame)?;
            line.set_nonblocking(true)?;
            Ok(line)
        };
        start().map_err(|error| format!("the shim `{}` cannot be started: {error}", self.executable.display()))
    }

    /// Whether the attempt that ended did so because somebody else had taken its port.
    pub(super) fn lost_its_port(&self, port: u16) -> bool {
        !port::is_free(port)
    }
}

/// Whether the path of an instance's socket is one that a socket can have.
fn fits(directory: &Path, attempt: u32) -> Result<(), String> {
    let Address::Unix(path) = layout::address(directory, attempt, None) else { return Ok(()) };
    let why = if directory.to_str().is_none() {
        "has characters that are not UTF-8".to_owned()
    } else if path.len() > LONGEST_SOCKET {
        format!("has {} bytes, and Linux allows {LONGEST_SOCKET}", path.len())
    } else {
        return Ok(());
    };
    Err(format!(
        "it is to listen on the socket `{path}`, whose path {why}: move the data directory (`data` in \
         quarterdeck.toml) to a shorter path such as /var/lib/quarterdeck, or set `listen = \"port\"`"
    ))
}

fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path, error)),
        Err(_) | Ok(()) => Ok(()),
    }
}
