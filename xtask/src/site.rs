//! A directory in which the shop is run by `qd`, as a user would run it: its configuration, its releases, and the
//! control plane. The demo plays in one; benches measure in others.

use crate::{
    error::Error,
    workspace::{output, shown},
};
use serde::Deserialize;
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// One release of the shop.
pub(crate) struct Release {
    /// What it calls itself.
    pub(crate) version: String,
    /// Its faults, as lines of `shop.toml`.
    pub(crate) faults: &'static str,
    /// Why it is deployed.
    pub(crate) reason: &'static str,
}

/// What `qd change --json` says, as far as anybody looks here.
#[derive(Deserialize)]
pub(crate) struct Change {
    pub(crate) id: String,
    pub(crate) outcome: Option<String>,
    pub(crate) progress: String,
    pub(crate) proposed_at: u64,
    pub(crate) ended_at: Option<u64>,
}

/// A directory in which the shop is run.
pub(crate) struct Site {
    dir: PathBuf,
    qd: PathBuf,
    shop: PathBuf,
    address: SocketAddr,
    serve: Mutex<Option<std::process::Child>>,
}

impl Site {
    /// Makes the directory anew, with these rollout settings. What an earlier run left running there is stopped first.
    pub(crate) fn make(dir: &Path, built: &Path, rollout: &str) -> Result<Site, Error> {
        let (qd, shop) = (built.join("qd"), built.join("shop"));
        let address = free_address()?;
        let site = Site { dir: dir.to_owned(), qd, shop, address, serve: Mutex::new(None) };
        if dir.join("quarterdeck.toml").exists() {
            site.stop()?;
            fs::remove_dir_all(dir).map_err(|source| Error::Write { path: dir.to_owned(), source })?;
        }
        fs::create_dir_all(dir).map_err(|source| Error::Write { path: dir.to_owned(), source })?;
        write(&dir.join("quarterdeck.toml"), &site.configuration(rollout))?;
        Ok(site)
    }

    fn configuration(&self, rollout: &str) -> String {
        let user = if needs_own_user(&self.dir) {
            "user = \"root\"            # only because this directory lies where no other user may go\n"
        } else {
            ""
        };
        format!(
            "[proxy]\nlisten = [\"{}\"]\n\n[services.shop]\ncommand = \"./shop\"\nreplicas = 2\nroutes = [\"/\"]\n\
             ready = \"/healthz\"\n{user}\n[services.shop.rollout]     # quicker than the defaults, so that it is over soon\n{rollout}",
            self.address
        )
    }

    /// Where customers go.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.qd);
        command.args(arguments).current_dir(&self.dir).env_remove("QD_CONFIG").env_remove("QD_DATA");
        command
    }

    /// Starts `qd serve` and waits until it answers.
    pub(crate) fn serve(&self) -> Result<(), Error> {
        self.spawn_serve()?;
        let path = self.dir.join("serve.log");
        wait("`qd serve` to answer", || {
            if let Some(child) = self.serve.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
                && let Ok(Some(status)) = child.try_wait()
            {
                let log = fs::read_to_string(&path).unwrap_or_default();
                return Err(Error::Site(format!("`qd serve` ended ({status}):\n{log}")));
            }
            let asked = self.command(&["status", "--json"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
            Ok(asked.is_ok_and(|s| s.success()).then_some(()))
        })
    }

    /// Starts `qd serve` and does not wait.
    pub(crate) fn spawn_serve(&self) -> Result<(), Error> {
        let path = self.dir.join("serve.log");
        let log = fs::OpenOptions::new().create(true).append(true).open(&path);
        let log = log.map_err(|source| Error::Write { path: path.clone(), source })?;
        let mut command = self.command(&["serve"]);
        let both = log.try_clone().map_err(|source| Error::Write { path: path.clone(), source })?;
        command.stdin(Stdio::null()).stdout(log).stderr(both);
        let start = |source| Error::Start { command: "qd serve".into(), source };
        let child = command.spawn().map_err(start)?;
        *self.serve.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        Ok(())
    }

    /// `kill -9` of the control plane.
    pub(crate) fn kill_serve(&self) -> Result<(), Error> {
        let child = self.serve.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut child) = child else { return Ok(()) };
        let killed = child.kill().and_then(|()| child.wait());
        killed.map(drop).map_err(|source| Error::Start { command: "kill -9".into(), source })
    }

    /// Runs `qd` and shows what it shows.
    pub(crate) fn qd(&self, arguments: &[&str]) -> Result<(), Error> {
        self.qd_expecting(arguments, 0)
    }

    fn qd_expecting(&self, arguments: &[&str], expected: i32) -> Result<(), Error> {
        println!("$ qd {}", quoted(arguments));
        let mut command = self.command(arguments);
        let status = command.status().map_err(|source| Error::Start { command: shown(&command), source })?;
        if status.code() == Some(expected) {
            return Ok(());
        }
        Err(Error::Site(format!("`qd {}` should have ended with status {expected}, not {status}", quoted(arguments))))
    }

    /// Runs `qd` without showing anything.
    pub(crate) fn quiet(&self, arguments: &[&str], expected: i32) -> Result<String, Error> {
        let mut command = self.command(arguments);
        let done = command.output().map_err(|source| Error::Start { command: shown(&command), source })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if done.status.code() == Some(expected) {
            return Ok(text(&done.stdout));
        }
        let said = text(&done.stdout) + &text(&done.stderr);
        Err(Error::Site(format!(
            "`qd {}` should have ended with status {expected}, not {}:\n{said}",
            quoted(arguments),
            done.status
        )))
    }

    /// Deploys a release by a strategy, without showing anything, and waits for its outcome.
    pub(crate) fn deploy_quietly(&self, release: &Release, strategy: &str, expected: i32) -> Result<(), Error> {
        self.build(release)?;
        let mut all = arguments(release);
        all.extend(["--strategy", strategy]);
        self.quiet(&all, expected).map(drop)
    }

    /// Deploys a release by a strategy and does not wait; gives the change.
    pub(crate) fn deploy_detached(&self, release: &Release, strategy: &str) -> Result<String, Error> {
        self.build(release)?;
        let mut all = arguments(release);
        all.extend(["--strategy", strategy, "--detach", "--json"]);
        let said = self.quiet(&all, 0)?;
        let change = said
            .find("CHG-")
            .map(|at| said[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect());
        change.ok_or_else(|| Error::Site(format!("`qd deploy --detach --json` named no change:\n{said}")))
    }

    /// The processes of `qd` in a role, of this directory.
    pub(crate) fn processes(&self, role: &str) -> Result<Vec<u32>, Error> {
        let all = fs::read_dir("/proc").map_err(|source| Error::Read { path: "/proc".into(), source })?;
        let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let mine = |pid: &u32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = words.split(|b| *b == 0);
            let here = || fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&self.dir));
            let dir = self.dir.as_os_str().as_encoded_bytes();
            let program = words.next().is_some_and(|w| w.ends_with(b"qd"));
            let in_role = words.next().is_some_and(|w| w == role.as_bytes());
            program && in_role && (here() || words.any(|w| w.starts_with(dir)))
        };
        Ok(pids.filter(mine).collect())
    }

    /// Deploys a release and waits for its outcome, which must be `expected`.
    pub(crate) fn deploy(&self, release: &Release, expected: i32) -> Result<(), Error> {
        self.build(release)?;
        self.qd_expecting(&arguments(release), expected)
    }

    /// Deploys a release and does not wait for its outcome.
    pub(crate) fn deploy_in_background(&self, release: &Release) -> Result<(), Error> {
        self.build(release)?;
        let mut all = arguments(release);
        all.push("--detach");
        self.qd_expecting(&all, 0)
    }

    /// Puts together what is deployed: the program and its faults.
    fn build(&self, release: &Release) -> Result<(), Error> {
        let dir = self.dir.join(&release.version);
        fs::create_dir_all(&dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
        fs::copy(&self.shop, dir.join("shop")).map_err(|source| Error::Write { path: dir.join("shop"), source })?;
        write(&dir.join("shop.toml"), &format!("version = \"{}\"\n{}", release.version, release.faults))
    }

    /// A change, as `qd` sees it now.
    pub(crate) fn change(&self, id: &str) -> Result<Change, Error> {
        let mut command = self.command(&["change", id, "--json"]);
        let text = output(&mut command)?;
        serde_json::from_str(&text).map_err(|source| Error::Answer { command: shown(&command), source })
    }

    /// Waits until a change gets its first requests; says at what share.
    pub(crate) fn wait_for_step(&self, id: &str) -> Result<String, Error> {
        wait(&format!("{id} to get its first requests"), || {
            let change = self.change(id)?;
            Ok(change.progress.contains("% of the requests").then_some(change.progress))
        })
    }

    /// Waits until a change is over.
    pub(crate) fn wait_until_ended(&self, id: &str) -> Result<Change, Error> {
        self.wait_until_ended_within(id, PATIENCE)
    }

    /// Waits until a change is over, for longer than anything else may take.
    pub(crate) fn wait_until_ended_within(&self, id: &str, patience: Duration) -> Result<Change, Error> {
        wait_within(&format!("{id} to end"), patience, || {
            let change = self.change(id)?;
            Ok(change.outcome.is_some().then_some(change))
        })
    }

    /// Stops everything that runs here.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        println!("$ qd down");
        let mut command = self.command(&["down", "--yes"]);
        let status = command.status().map_err(|source| Error::Start { command: shown(&command), source })?;
        self.kill_serve()?;
        if status.success() { Ok(()) } else { Err(Error::Failed { command: "qd down".into(), status }) }
    }

    /// What to look at, and how to end it.
    pub(crate) fn farewell(&self, stopped: bool) -> String {
        let dir = self.dir.display();
        if stopped {
            return format!("\nEverything has been stopped. Remove it: rm -r {dir}");
        }
        let qd = self.qd.display();
        format!(
            "\nIt still runs. Look at it:\n  open http://{}\n  cd {dir}\n  {qd} status\n  {qd} why CHG-4\n\
             Stop it: {qd} down   Remove it: rm -r {dir}",
            self.address
        )
    }
}

fn arguments(release: &Release) -> Vec<&str> {
    vec!["deploy", "shop", &release.version, "--label", &release.version, "--reason", release.reason, "--yes"]
}

fn quoted(arguments: &[&str]) -> String {
    let word = |a: &&str| if a.contains(' ') { format!("\"{a}\"") } else { (*a).to_owned() };
    arguments.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Looks again and again until there is something.
fn wait<T>(what: &str, look: impl FnMut() -> Result<Option<T>, Error>) -> Result<T, Error> {
    wait_within(what, PATIENCE, look)
}

fn wait_within<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begun.elapsed() > patience {
            return Err(Error::Site(format!("waited {} s in vain for {what}", patience.as_secs())));
        }
        // What takes minutes need not be looked at fifty times a second.
        std::thread::park_timeout(if begun.elapsed() > PATIENCE { LOOK * 25 } else { LOOK });
    }
}

/// The usual address of examples if it is free, else any.
fn free_address() -> Result<SocketAddr, Error> {
    let found = TcpListener::bind("127.0.0.1:8080").or_else(|_| TcpListener::bind("127.0.0.1:0"));
    found.and_then(|l| l.local_addr()).map_err(Error::Runtime)
}

/// Whether services, which run as another user when this one is root, could not reach this directory.
fn needs_own_user(dir: &Path) -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0);
    root && dir.ancestors().any(|a| fs::metadata(a).is_ok_and(|m| m.mode() & 0o001 == 0))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::Write { path: path.to_owned(), source })
}
