//! Taking over what an earlier `serve` left running: nothing is started, nothing is stopped.

use super::{
    attempt::Link,
    board::Board,
    keep::{self, Adopted},
    launch::Yard,
    sweep,
};
use crate::{
    Error, in_full, layout,
    shim::{
        self,
        protocol::{Assignment, State, Status},
        socket::Address,
    },
};
use model::{Digest, Exit, InstanceId, InstanceSeen, Phase};
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

/// How long all shims together may take to answer before the driver goes on without them.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one shim may take to say how it is.
const ANSWER: Duration = Duration::from_secs(5);
/// A shim that was started a moment before its `serve` ended may not listen yet.
const CONNECT_TRIES: u32 = 20;
const CONNECT_PAUSE: Duration = Duration::from_millis(25);

/// What is in the instances' directories. One that cannot be read is left out.
pub(super) fn assignments(data: &Path) -> Result<Vec<(InstanceId, Assignment)>, Error> {
    let read = |id| {
        let path = layout::instance(data, id).join(layout::SPEC);
        match layout::read_json(&path) {
            Ok(assignment) => Some((id, assignment)),
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(instance = %id, error = in_full(&error), "an instance's directory cannot be read");
                None
            }
        }
    };
    Ok(layout::instance_ids(data)?.into_iter().filter_map(read).collect())
}

/// The artifacts of all instances that are there.
///
/// # Errors
/// When that cannot be known for all of them.
pub(super) fn used_artifacts(data: &Path) -> Result<Vec<Digest>, Error> {
    let ids = layout::instance_ids(data)?;
    let specs =
        ids.into_iter().map(|id| layout::read_json::<Assignment>(&layout::instance(data, id).join(layout::SPEC)));
    specs
        .filter_map(|spec| match spec {
            Ok(assignment) => Some(Ok(assignment.spec.artifact)),
            // Not launched yet, and it will be refused if its artifact is gone by then.
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(error)),
        })
        .collect()
}

/// Puts every instance on the board and gives it a task.
pub(super) async fn everything(yard: &Arc<Yard>, board: &Arc<Board>, tasks: &mut JoinSet<()>) -> Result<(), Error> {
    // Closed when the last task has dropped its end, which it does when it knows how its instance is.
    let (unsettled, mut settled) = mpsc::channel::<()>(1);
    for (id, assignment) in assignments(&yard.data)? {
        let directory = layout::instance(&yard.data, id);
        let status = shim::last_status(&directory).filter(|status| status.attempt == assignment.spec.attempt);
        board.add(InstanceSeen {
            id,
            attempt: assignment.spec.attempt,
            phase: status.as_ref().map_or(Phase::Starting("is being adopted".to_owned()), presumed),
            address: status.as_ref().map(|status| layout::address(&directory, status.attempt, status.port)),
            since: status.as_ref().map_or_else(layout::now, |status| status.since),
        });
        let (yard, board, unsettled) = (yard.clone(), board.clone(), unsettled.clone());
        tasks.spawn(async move {
            let adopted = match status {
                Some(status) if status.state.is_final() => None,
                Some(_) | None => settle(&yard, &board, id, assignment).await,
            };
            drop(unsettled);
            keep::keep(yard, board, id, adopted).await;
        });
    }
    drop(unsettled);
    // A shim that is slower than this settles on its own.
    let _ = timeout(PATIENCE, settled.recv()).await;
    Ok(())
}

/// What an instance is taken for until its shim or its probes say otherwise.
fn presumed(status: &Status) -> Phase {
    match &status.state {
        State::Starting => Phase::Starting("is being adopted".to_owned()),
        State::Running if status.ready.is_some() => Phase::Ready,
        State::Running => Phase::Starting("is being adopted".to_owned()),
        State::Stopping => Phase::Stopping,
        State::Exited(exit) => Phase::Exited(exit.clone()),
        State::Failed(text) => Phase::Failed(text.clone()),
    }
}

/// Connects to one instance's shim, or finds that it is gone.
async fn settle(yard: &Yard, board: &Board, id: InstanceId, assignment: Assignment) -> Option<Adopted> {
    let directory = layout::instance(&yard.data, id);
    let attempt = assignment.spec.attempt;
    if let Ok(Some((link, status))) = timeout(ANSWER, connect(&directory)).await
        && status.attempt == attempt
    {
        status.port.into_iter().for_each(|port| board.ports().adopt(port));
        let address = layout::address(&directory, attempt, status.port);
        board.report(id, attempt, presumed(&status), Some(address));
        return Some(Adopted { assignment, link, status });
    }
    // It may have ended properly between the first look and now.
    let last = shim::last_status(&directory).filter(|s| s.attempt == attempt && s.state.is_final());
    let phase = last.as_ref().map_or(Phase::Exited(Exit::Lost), presumed);
    if last.is_none() {
        let _ = spawn_blocking(move || sweep::what_is_left(&directory)).await;
    }
    board.report(id, attempt, phase, None);
    None
}

async fn connect(directory: &Path) -> Option<(Link, Status)> {
    for _ in 0..CONNECT_TRIES {
        let line = Address::of(directory).and_then(|address| address.connect());
        if let Ok(line) = line
            && let Ok(mut link) = Link::new(line)
            && let Some(status) = link.hear().await
        {
            return Some((link, status));
        }
        if shim::last_status(directory).is_some() {
            return None;
        }
        sleep(CONNECT_PAUSE).await;
    }
    None
}
