//! Stopping everything: first the data plane, which lets requests in flight end, then the instances they were at.

use super::data_plane;
use model::Span;
use std::path::Path;

/// How long requests in flight may go on.
const DRAIN: Span = Span::seconds(30);

/// What was stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stopped {
    /// How many instances.
    pub(crate) instances: usize,
    /// Those that had to be killed because their keeper did not answer.
    pub(crate) lost: usize,
}

/// Stops everything while `serve` itself is ending.
pub(super) async fn everything(data: &Path) {
    match stop_without_serve(data).await {
        Ok(stopped) => tracing::info!(instances = stopped.instances, "everything has stopped"),
        Err(error) => tracing::error!(error = runtime::in_full(&error), "not everything could be stopped"),
    }
}

/// Stops the data plane and every instance of a data directory that no `serve` looks after.
///
/// # Errors
/// When what runs there cannot be found.
pub(crate) async fn stop_without_serve(data: &Path) -> Result<Stopped, runtime::Error> {
    data_plane::shut_down(data, DRAIN).await;
    let data = data.to_owned();
    let stopped = tokio::task::spawn_blocking(move || runtime::down::stop_everything(&data));
    let stopped = match stopped.await {
        Ok(stopped) => stopped?,
        // Only a panic or the end of the runtime; both have said so themselves.
        Err(_) => Vec::new(),
    };
    let lost = stopped.iter().filter(|s| s.exit == model::Exit::Lost).count();
    Ok(Stopped { instances: stopped.len(), lost })
}
