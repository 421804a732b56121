//! Stopping every instance when there is no `serve` to do it.

use crate::{
    Error, layout,
    process::sweep,
    shim::{
        self,
        protocol::{Assignment, Status, ToShim},
        socket::Address,
    },
};
use model::{Exit, InstanceId, Span, wire};
use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

/// How much longer than its instance's deadline a shim may take before it is killed with all that it keeps.
const GRACE: Duration = Duration::from_secs(8);

/// How one instance ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stopped {
    /// Which.
    pub instance: InstanceId,
    /// How. [`Exit::Lost`] when its shim did not answer and everything of it was killed.
    pub exit: Exit,
}

/// Stops every instance that runs in a data directory, all at once, each with its own deadline, and returns when they
/// have ended. For use when `serve` does not run: one that does would start them again. Blocks.
///
/// # Errors
/// When the instances' directory cannot be read.
pub fn stop_everything(data: &Path) -> Result<Vec<Stopped>, Error> {
    let data = match data.canonicalize() {
        Ok(data) => data,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("find", data, error)),
    };
    let mut stopping = Vec::new();
    for id in layout::instance_ids(&data)? {
        let directory = layout::instance(&data, id);
        if shim::last_status(&directory).is_some_and(|status| status.state.is_final()) {
            continue;
        }
        let assignment = layout::read_json::<Assignment>(&directory.join(layout::SPEC));
        let deadline = assignment.map_or(Span::seconds(10), |assignment| assignment.spec.run.stop_deadline);
        stopping.push((id, Instant::now() + deadline.duration() + GRACE, tell(&directory, deadline)));
    }
    let stopped = stopping.into_iter().map(|(id, deadline, line)| {
        let directory = layout::instance(&data, id);
        let exit = line.and_then(|line| last_word(line, deadline)).unwrap_or_else(|| {
            sweep::what_is_left(&directory);
            Exit::Lost
        });
        Stopped { instance: id, exit }
    });
    Ok(stopped.collect())
}

fn tell(directory: &Path, deadline: Span) -> Option<UnixStream> {
    let mut line = Address::of(directory).and_then(|address| address.connect()).ok()?;
    line.write_all(&wire::encode(&ToShim::Stop(deadline)).ok()?).ok()?;
    Some(line)
}

fn last_word(mut line: UnixStream, deadline: Instant) -> Option<Exit> {
    let mut decoder = wire::Decoder::default();
    let mut buffer = [0; 4096];
    loop {
        while let Some(status) = decoder.next_message::<Status>().ok()? {
            match status.state {
                shim::protocol::State::Exited(exit) => return Some(exit),
                shim::protocol::State::Failed(_) => return Some(Exit::Status(1)),
                shim::protocol::State::Starting | shim::protocol::State::Running | shim::protocol::State::Stopping => {}
            }
        }
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        line.set_read_timeout(Some(left)).ok()?;
        match line.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return None,
            Ok(n) => decoder.push(&buffer[..n]),
        }
    }
}
