//! The shim's loop: one thread that waits for output, orders, and the end of its child.

use super::{
    cgroup::{self, Cgroups},
    invocation::{self, Environment},
    output::Output,
    peer::{self, Peer},
    protocol::{Assignment, Handover, State, Status, ToShim},
    stage::Stage,
    stream::{Report, Reported, Stream},
};
use crate::{Error, layout, procfs};
use model::{Exit, Listen, Span};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::Mode,
    process::{self, DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus},
};
use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{
            net::{UnixListener, UnixStream},
            process::CommandExt as _,
        },
    },
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

/// How many connections are served at once; one more is turned away.
const MOST_PEERS: usize = 8;
/// How often adopted descendants that ended are collected, and an unfinished stop is looked at.
const COLLECT_EVERY: Duration = Duration::from_secs(5);
const STOPPING_EVERY: Duration = Duration::from_millis(20);
/// How long what was killed may take to be gone, and its last output to arrive.
const KILL_WAIT: Duration = Duration::from_secs(5);
const LAST_OUTPUT_WAIT: Duration = Duration::from_millis(500);
/// A program that ends well within this time and leaves processes behind has put itself in the background.
const BACKGROUND_WITHIN: Duration = Duration::from_secs(30);

/// The whole life of a shim. The current directory is the instance's.
pub(super) fn run(directory: &Path) -> Result<(), Error> {
    // Fails only for a process that leads a group already, which is in a session of its own.
    let _ = process::setsid();
    process::umask(Mode::from_raw_mode(0o022));
    // Its memory holds secrets for a moment.
    let _ = process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let assignment: Assignment = layout::read_json(Path::new(layout::SPEC))?;
    let mut status = Status {
        attempt: assignment.spec.attempt,
        shim: process::getpid().as_raw_pid().unsigned_abs(),
        pid: None,
        port: match assignment.spec.run.listen {
            // It is not known yet.
            Listen::Port => Some(0),
            Listen::Socket => None,
        },
        state: State::Starting,
        since: layout::now(),
        ready: None,
        cgroups: Vec::new(),
    };
    let (driver, handover) = peer::take_handover()?;
    status.port = handover.port;
    match Shim::begin(directory, &assignment, handover, driver, status.clone()) {
        Ok(mut shim) => {
            shim.watch();
            Ok(())
        }
        Err((error, driver)) => {
            status.state = State::Failed(crate::in_full(&error));
            layout::write_json(Path::new(layout::STATUS), &status)?;
            if let Some(mut peer) = Peer::new(driver) {
                peer.tell(&status);
            }
            Err(error)
        }
    }
}

struct Shim {
    status: Status,
    output: Output,
    streams: Vec<Stream>,
    report: Option<Report>,
    listener: UnixListener,
    peers: Vec<Peer>,
    main: Pid,
    /// Becomes readable when the main process ends. Without one (an old kernel) the loop looks often.
    main_fd: Option<OwnedFd>,
    began: Instant,
    ended: Option<WaitStatus>,
    stop: Option<Stop>,
    cgroups: Cgroups,
}

struct Stop {
    deadline: Instant,
    killed: bool,
}

/// Whether any process of the instance is left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Gone,
    Left,
}

impl Shim {
    fn begin(
        directory: &Path,
        assignment: &Assignment,
        handover: Handover,
        driver: UnixStream,
        mut status: Status,
    ) -> Result<Shim, (Error, UnixStream)> {
        match Shim::spawn(directory, assignment, handover, &mut status) {
            Ok(mut shim) => {
                shim.status = status;
                shim.peers.extend(Peer::new(driver));
                shim.publish();
                Ok(shim)
            }
            Err(error) => Err((error, driver)),
        }
    }

    fn spawn(
        directory: &Path,
        assignment: &Assignment,
        handover: Handover,
        status: &mut Status,
    ) -> Result<Shim, Error> {
        let spec = &assignment.spec;
        let mut output = Output::open(&assignment.logs, spec.id, spec.run.limits.output)?;
        let listener = peer::listen()?;
        process::set_child_subreaper(Some(process::getpid())).map_err(|e| Error::system("adopt descendants", e))?;
        let cgroups = Cgroups::make(&spec.run.limits, directory, spec.id);
        status.cgroups.clone_from(&cgroups.directories);

        let address = layout::address(directory, spec.attempt, status.port);
        let environment = Environment::new(assignment, directory, &address, &handover.secrets);
        drop(handover);
        let command = invocation::resolve(&spec.run.command, &assignment.release, &address, &environment)
            .map_err(|text| Error::system("start the program", io::Error::other(text)))?;
        output.note(&format!("{} attempt {}: {}", spec.id, spec.attempt, command.join(" ")));
        if let Some(limits) = cgroups.describe(&spec.run.limits) {
            output.note(&limits);
        }
        let stage = Stage {
            parent: status.shim,
            cgroups: cgroups.directories.clone(),
            limits: spec.run.limits.clone(),
            bound_memory: !cgroups.bound_memory,
            user: assignment.user.clone(),
            directory: assignment.release.clone(),
            command,
        };
        let (report, report_end) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| Error::system("make a pipe", e))?;
        let began = Instant::now();
        let mut child = stage
            .command(Path::new(super::ITSELF))
            .env_clear()
            .envs(environment.variables())
            .stdin(Stdio::from(report_end))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|e| Error::system("start a process", e))?;
        let main = Pid::from_child(&child);
        status.pid = Some(child.id());
        let streams = [
            child.stdout.take().map(|s| Stream::new(s.into(), "out")),
            child.stderr.take().map(|s| Stream::new(s.into(), "err")),
        ];
        Ok(Shim {
            status: status.clone(),
            output,
            streams: streams.into_iter().flatten().collect(),
            report: Some(Report::new(report)),
            listener,
            peers: Vec::new(),
            main,
            main_fd: process::pidfd_open(main, process::PidfdFlags::empty()).ok(),
            began,
            ended: None,
            stop: None,
            cgroups,
        })
    }

    /// Until the child has ended and nothing of it is left.
    fn watch(&mut self) {
        loop {
            self.wait();
            let family = self.collect();
            let Some(ended) = self.ended else {
                self.press_stop();
                continue;
            };
            // Told to stop, the rest of the group may use its deadline even when the main process was quicker.
            let wait_for_rest = self.stop.as_ref().is_some_and(|stop| !stop.killed && Instant::now() < stop.deadline);
            if family == Family::Left && wait_for_rest {
                continue;
            }
            return self.end(ended, family);
        }
    }

    /// Waits until something happens, and deals with all that has happened except the end of processes.
    fn wait(&mut self) {
        let ready = self.poll(Scope::Everything, self.patience());
        let mut lines = Vec::new();
        for source in ready {
            match source {
                Source::Main => {}
                Source::Report => self.take_report(),
                Source::Stream(i) => self.streams[i].read(&mut lines),
                Source::Listener => self.accept(),
                Source::Peer(i) => self.hear(i),
            }
        }
        self.streams.iter_mut().for_each(|stream| stream.lines.flush(false, &mut lines));
        self.streams.retain(|stream| stream.open);
        self.peers.retain(|peer| peer.open);
        self.output.write(&lines);
    }

    /// How long nothing at all may happen.
    fn patience(&self) -> Duration {
        let regular = if self.stop.is_some() || self.main_fd.is_none() { STOPPING_EVERY } else { COLLECT_EVERY };
        self.streams.iter().filter_map(|stream| stream.lines.due()).fold(regular, Duration::min)
    }

    fn poll(&self, scope: Scope, patience: Duration) -> Vec<Source> {
        let (mut sources, mut fds) = (Vec::new(), Vec::new());
        let mut add = |source, fd| {
            sources.push(source);
            fds.push(fd);
        };
        for (i, stream) in self.streams.iter().enumerate() {
            add(Source::Stream(i), PollFd::new(&stream.pipe, PollFlags::IN));
        }
        if scope == Scope::Everything {
            add(Source::Listener, PollFd::new(&self.listener, PollFlags::IN));
            if let Some(main) = self.main_fd.as_ref().filter(|_| self.ended.is_none()) {
                add(Source::Main, PollFd::new(main, PollFlags::IN));
            }
            if let Some(report) = &self.report {
                add(Source::Report, PollFd::new(&report.pipe, PollFlags::IN));
            }
            for (i, peer) in self.peers.iter().enumerate() {
                add(Source::Peer(i), PollFd::new(&peer.stream, PollFlags::IN));
            }
        }
        let timeout = Timespec { tv_sec: patience.as_secs() as _, tv_nsec: patience.subsec_nanos() as _ };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => fds.iter().zip(sources).filter(|(fd, _)| !fd.revents().is_empty()).map(|(_, s)| s).collect(),
            Err(_) => Vec::new(),
        }
    }

    fn take_report(&mut self) {
        let Some(report) = &mut self.report else { return };
        match report.read() {
            Reported::More => {}
            Reported::Began => {
                self.report = None;
                if self.status.state == State::Starting {
                    self.enter(State::Running);
                }
            }
            Reported::Refused(text) => {
                self.report = None;
                self.output.note(&text);
                self.status.state = State::Failed(text);
            }
        }
    }

    fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        if self.peers.len() < MOST_PEERS
            && let Some(mut peer) = Peer::new(stream)
        {
            peer.tell(&self.status);
            self.peers.push(peer);
        }
    }

    fn hear(&mut self, i: usize) {
        for order in self.peers[i].read() {
            match order {
                ToShim::Stop(deadline) => self.begin_stop(deadline),
                ToShim::Ready if self.status.ready.is_none() => {
                    self.status.ready = Some(layout::now());
                    self.publish();
                }
                ToShim::Ready => {}
            }
        }
    }

    fn begin_stop(&mut self, span: Span) {
        let deadline = Instant::now() + span.duration();
        match &mut self.stop {
            Some(stop) => stop.deadline = stop.deadline.min(deadline),
            None => {
                self.stop = Some(Stop { deadline, killed: false });
                self.output.note(&format!("told to stop: SIGTERM now, SIGKILL in {span}"));
                // Gone already: the next turn of the loop sees it.
                let _ = process::kill_process_group(self.main, Signal::TERM);
                if !self.status.state.is_final() {
                    self.enter(State::Stopping);
                }
            }
        }
    }

    /// Kills what outstays its deadline.
    fn press_stop(&mut self) {
        if let Some(stop) = &mut self.stop
            && !stop.killed
            && Instant::now() >= stop.deadline
        {
            stop.killed = true;
            self.output.note("did not stop in time: SIGKILL");
            self.kill();
        }
    }

    /// Collects every child that ended.
    fn collect(&mut self) -> Family {
        loop {
            match process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main => self.ended = Some(status),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return Family::Left,
                Err(_) => return Family::Gone,
            }
        }
    }

    fn kill(&self) {
        let _ = process::kill_process_group(self.main, Signal::KILL);
        let members = self.cgroups.directories.iter().flat_map(|directory| cgroup::members(directory));
        let adopted = procfs::processes().filter(|p| p.parent == self.status.shim).map(|p| p.pid);
        for pid in members.chain(adopted).filter_map(|pid| Pid::from_raw(pid as i32)) {
            let _ = process::kill_process(pid, Signal::KILL);
        }
    }

    /// The main process has ended: ends the rest, keeps the last output, and says how it was.
    fn end(&mut self, ended: WaitStatus, family: Family) {
        let left_behind: Vec<String> = match family {
            Family::Gone => Vec::new(),
            Family::Left => procfs::processes()
                .filter(|p| p.parent == self.status.shim && p.is_alive())
                .map(|p| format!("`{}` (pid {})", p.name, p.pid))
                .collect(),
        };
        let deadline = Instant::now() + KILL_WAIT;
        while self.collect() == Family::Left && Instant::now() < deadline {
            self.kill();
            self.poll_output(STOPPING_EVERY);
        }
        let deadline = Instant::now() + LAST_OUTPUT_WAIT;
        while !self.streams.is_empty() && Instant::now() < deadline {
            self.poll_output(LAST_OUTPUT_WAIT);
        }
        let mut lines = Vec::new();
        self.streams.iter_mut().for_each(|stream| stream.lines.flush(true, &mut lines));
        self.output.write(&lines);
        // Nobody holds its other end any more, so this comes to an end.
        while self.report.is_some() {
            self.take_report();
        }
        let state = self.outcome(ended, &left_behind);
        self.enter(state);
    }

    fn poll_output(&mut self, patience: Duration) {
        let mut lines = Vec::new();
        for source in self.poll(Scope::Streams, patience) {
            if let Source::Stream(i) = source {
                self.streams[i].read(&mut lines);
            }
        }
        self.streams.retain(|stream| stream.open);
        self.output.write(&lines);
    }

    fn outcome(&mut self, ended: WaitStatus, left_behind: &[String]) -> State {
        if let State::Failed(text) = &self.status.state {
            return State::Failed(text.clone());
        }
        let exit = match (ended.exit_status(), ended.terminating_signal()) {
            (_, Some(9)) if self.cgroups.ran_out_of_memory() => Exit::OutOfMemory,
            (_, Some(signal)) => Exit::Signal(signal),
            (status, None) => Exit::Status(status.unwrap_or_default()),
        };
        let in_background = exit == Exit::Status(0)
            && self.stop.is_none()
            && !left_behind.is_empty()
            && self.began.elapsed() < BACKGROUND_WITHIN;
        self.output.note(&exit.to_string());
        if !left_behind.is_empty() {
            self.output.note(&format!("killed what it left running: {}", left_behind.join(", ")));
        }
        if in_background {
            return State::Failed(format!(
                "it put itself in the background: the process that was started ended with status 0 and left {} \
                 running, which was killed. Run it in the foreground, so that it can be watched and stopped \
                 (most servers have an option for that, such as nginx's `-g 'daemon off;'`)",
                left_behind.join(", ")
            ));
        }
        State::Exited(exit)
    }

    fn enter(&mut self, state: State) {
        self.status.state = state;
        self.status.since = layout::now();
        self.publish();
    }

    fn publish(&mut self) {
        if let Err(error) = layout::write_json(Path::new(layout::STATUS), &self.status) {
            self.output.note(&crate::in_full(&error));
        }
        // Those that cannot be told are removed later: somebody may be in the middle of counting them.
        for peer in &mut self.peers {
            peer.tell(&self.status);
        }
    }
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Everything,
    Streams,
}

enum Source {
    Main,
    Report,
    Stream(usize),
    Listener,
    Peer(usize),
}
