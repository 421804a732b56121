//! The simulator's storm: a run of the whole control plane with random faults for each seed.

use crate::{
    error::Error,
    workspace::{Workspace, succeed},
};

/// Runs the seeds from `first` on. The simulator prints the seed of a run that breaks an invariant, and how to repeat it.
pub(crate) fn run(workspace: &Workspace, seeds: u64, first: u64) -> Result<(), Error> {
    let (seeds, first) = (seeds.to_string(), first.to_string());
    let mut storm = workspace.cargo(["run", "--quiet", "--release", "-p", "sim", "--example", "storm", "--"]);
    succeed(storm.args(["--seeds", &seeds, "--first", &first]))
}
