//! The clerk: a thread that puts changed settings in force, and writes the access log.
//!
//! Workers hand it finished lines and never wait for it: when it is behind by [`QUEUE`] lines they are dropped, and counted.

use crate::{
    error::Error,
    quiet::Quiet,
    settings::{AccessLog, Settings},
    shared::Shared,
    tls::{Stamp, read_file},
};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How many lines may wait to be written.
const QUEUE: usize = 8192;

/// How long a line may wait in memory.
const FLUSH: Duration = Duration::from_secs(1);

/// Where lines are handed in.
pub(crate) type Lines = SyncSender<Vec<u8>>;

/// The clerk's thread. It ends when nobody can hand in a line any more.
pub(crate) struct Clerk {
    shared: Arc<Shared>,
    settings_at: PathBuf,
    stamp: Option<Stamp>,
    lines: Receiver<Vec<u8>>,
    /// The log that is to be written.
    wanted: Option<AccessLog>,
    /// The one that is; none where it cannot be, until it can.
    log: Option<Log>,
    trouble: Quiet,
}

/// A log that is open.
struct Log {
    terms: AccessLog,
    file: BufWriter<File>,
    inode: u64,
    size: u64,
}

/// Puts in force what the settings say now, and goes on looking in a thread of its own.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start(settings: &Path, shared: Arc<Shared>) -> Result<(JoinHandle<()>, Lines), Error> {
    let (sender, lines) = sync_channel(QUEUE);
    let mut clerk = Clerk {
        shared,
        settings_at: settings.to_owned(),
        stamp: None,
        lines,
        wanted: None,
        log: None,
        trouble: Quiet::default(),
    };
    clerk.look();
    let thread = thread::Builder::new().name("clerk".into()).spawn(move || clerk.run());
    let thread = thread.map_err(|source| Error::Resources { what: "the thread that writes the access log", source })?;
    Ok((thread, sender))
}

/// Hands in a line. Whether there was room for it.
pub(crate) fn hand_in(lines: &Lines, line: Vec<u8>) -> bool {
    match lines.try_send(line) {
        Ok(()) => true,
        Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
    }
}

impl Clerk {
    fn run(mut self) {
        let mut flushed = Instant::now();
        let mut looked = Instant::now();
        loop {
            let heard = self.lines.recv_timeout(FLUSH.min(self.shared.limits.look));
            let now = Instant::now();
            let idle = heard.is_err();
            match heard {
                Ok(line) => self.write(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
            if idle || now.duration_since(flushed) >= FLUSH {
                flushed = now;
                self.flush();
            }
            if now.duration_since(looked) >= self.shared.limits.look {
                looked = now;
                self.look();
            }
        }
    }

    /// Reads the settings again when they have changed.
    fn look(&mut self) {
        let stamp = Stamp::of(&self.settings_at);
        if stamp != self.stamp {
            self.stamp = stamp;
            let read = read_file(&self.settings_at);
            match read.and_then(|bytes| Ok(serde_json::from_slice::<Settings>(&bytes)?)) {
                Ok(settings) => {
                    self.wanted.clone_from(&settings.access_log);
                    self.shared.settings.store(Arc::new(settings));
                }
                Err(error) => {
                    let path = self.settings_at.display();
                    tracing::error!(%path, %error, "the settings cannot be read; those before stay in force");
                }
            }
        }
        if !self.log.as_ref().is_some_and(|log| Some(&log.terms) == self.wanted.as_ref() && log.is_in_place()) {
            self.open();
        }
    }

    /// Opens the log that is to be written, in the place of the one that is.
    fn open(&mut self) {
        self.close();
        let Some(terms) = &self.wanted else { return };
        match Log::open(terms) {
            Ok(log) => self.log = Some(log),
            Err(error) => self.tell(&error),
        }
    }

    fn write(&mut self, line: &[u8]) {
        let Some(log) = &mut self.log else { return };
        if let Err(error) = log.write(line) {
            self.tell(&error);
            // Tried again at the next look.
            self.log = None;
        }
    }

    fn flush(&mut self) {
        if let Some(log) = &mut self.log
            && let Err(error) = log.file.flush()
        {
            self.tell(&error);
        }
    }

    fn close(&mut self) {
        self.flush();
        self.log = None;
    }

    fn tell(&self, error: &io::Error) {
        let Some(terms) = &self.wanted else { return };
        if let Some(withheld) = self.trouble.pass() {
            let path = terms.file.display();
            tracing::error!(%path, %error, withheld, "the access log cannot be written, and is tried again; requests go on");
        }
    }
}

impl Log {
    fn open(terms: &AccessLog) -> io::Result<Log> {
        // Each line is whole even when two processes write: every write goes to the end.
        let file = File::options().append(true).create(true).mode(0o640).open(&terms.file)?;
        let found = file.metadata()?;
        Ok(Log {
            terms: terms.clone(),
            file: BufWriter::with_capacity(64 << 10, file),
            inode: found.ino(),
            size: found.len(),
        })
    }

    /// Whether it is still what its path leads to: somebody else may have put it aside, or a proxy that hands over to us or takes over.
    fn is_in_place(&self) -> bool {
        fs::metadata(&self.terms.file).is_ok_and(|found| found.ino() == self.inode)
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size > 0 && self.size + line.len() as u64 > self.terms.size.0 {
            self.file.flush()?;
            let mut aside = self.terms.file.clone().into_os_string();
            aside.push(".1");
            fs::rename(&self.terms.file, aside)?;
            *self = Log::open(&self.terms)?;
        }
        // A line goes out as a whole or with others, never in two pieces.
        if self.file.buffer().len() + line.len() > self.file.capacity() {
            self.file.flush()?;
        }
        self.file.write_all(line)?;
        self.size += line.len() as u64;
        Ok(())
    }
}
