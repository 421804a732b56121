//! Taking over what an earlier `serve` left running: nothing is started, nothing is stopped.

use super::{
    board::Board,
    keep::{self, Adopted, Link},
    launch::{self, Yard},
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
use model::{Exit, InstanceId, InstanceSeen, Phase};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
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
            Err(error) => {
                tracing::warn!(instance = %id, error = in_full(&error), "an instance's directory cannot be read");
                None
            }
        }
    };
    Ok(layout::instance_ids(data)?.into_iter().filter_map(read).collect())
}

/// Puts every instance on the board and gives it a task.
pub(super) async fn everything(yard: &Arc<Yard>, board: &Arc<Board>) -> Result<(), Error> {
    let mut settling = JoinSet::new();
    for (id, assignment) in assignments(&yard.data)? {
        let status = shim::last_status(&layout::instance(&yard.data, id))
            .filter(|status| status.attempt == assignment.spec.attempt);
        let phase = status.as_ref().map_or(Phase::Starting("is being adopted".to_owned()), presumed);
        board.add(InstanceSeen {
            id,
            attempt: assignment.spec.attempt,
            phase,
            address: status.as_ref().map(|status| launch::address(status.port)),
            since: status.as_ref().map_or_else(layout::now, |status| status.since),
        });
        if status.as_ref().is_some_and(|status| status.state.is_final()) {
            tokio::spawn(keep::keep(yard.clone(), board.clone(), id, None));
        } else {
            settling.spawn(settle(yard.clone(), board.clone(), id, assignment));
        }
    }
    // Dropping the set would abort the tasks of slow shims; they settle on their own.
    if timeout(PATIENCE, async { while settling.join_next().await.is_some() {} }).await.is_err() {
        settling.detach_all();
    }
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
async fn settle(yard: Arc<Yard>, board: Arc<Board>, id: InstanceId, assignment: Assignment) {
    let directory = layout::instance(&yard.data, id);
    let attempt = assignment.spec.attempt;
    let adopted = match timeout(ANSWER, connect(&directory)).await {
        Ok(Some((link, status))) if status.attempt == attempt => {
            board.ports().adopt(status.port);
            board.report(id, attempt, presumed(&status), Some(launch::address(status.port)));
            Some(Adopted { assignment, link, status })
        }
        Ok(_) | Err(_) => {
            // It may have ended properly between the first look and now.
            let last = shim::last_status(&directory).filter(|s| s.attempt == attempt && s.state.is_final());
            let phase = last.as_ref().map_or(Phase::Exited(Exit::Lost), presumed);
            if last.is_none() {
                let _ = spawn_blocking(move || sweep::what_is_left(&directory)).await;
            }
            board.report(id, attempt, phase, None);
            None
        }
    };
    tokio::spawn(keep::keep(yard, board, id, adopted));
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
