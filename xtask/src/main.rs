//! The project's tasks: `cargo xtask <task>`.
//!
//! `test` is everything CI runs; the others are its parts, or tools for work on the project. The tasks see the product
//! from outside, as a user does: none of its crates is linked here.
//!
//! Start reading at [`mod@test`] for what is checked, at [`tidy`] for the rules of the house, at [`load`] for the load generator.

mod bench;
mod demo;
mod error;
mod generated;
mod load;
mod peers;
mod site;
mod storm;
mod test;
mod tidy;
mod traffic;
mod workspace;

use clap::{Parser, Subcommand};
use error::Error;
use std::{error::Error as _, process::ExitCode};
use workspace::Workspace;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Tasks of the Quarterdeck project", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Watch Quarterdeck run a small shop, catch two bad releases and survive being killed
    Demo(demo::Options),
    /// Check everything, as CI does. The last line is `N passed, N failed`
    Test,
    /// Check the rules that no compiler knows: levels of crates, headers, sizes, links, forbidden words
    Tidy,
    /// Write the files that are generated from the code
    Gen {
        /// Write nothing; fail when a file is not what it should be
        #[arg(long)]
        check: bool,
    },
    /// Send requests to a service and count what becomes of them
    Load(load::Options),
    /// Measure, and write the figures to docs/benchmarks.md
    Bench {
        /// What to measure
        what: bench::What,
        #[command(flatten)]
        options: bench::Options,
    },
    /// Run the simulator with random faults, one run per seed
    Storm {
        /// How many seeds
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// The first of them
        #[arg(long, default_value_t = 0)]
        first: u64,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        // The summary has said so, and its last line stays the last.
        Err(Error::Checks) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), Error> {
    match task {
        Task::Demo(options) => demo::run(&Workspace::load()?, &options),
        Task::Test => test::run(&Workspace::load()?),
        Task::Tidy => tidy::run(&Workspace::load()?),
        Task::Gen { check: true } => generated::check(&Workspace::load()?),
        Task::Gen { check: false } => generated::write(&Workspace::load()?),
        Task::Load(options) => load::run(options),
        Task::Bench { what, options } => bench::run(&Workspace::load()?, what, &options),
        Task::Storm { seeds, first } => storm::run(&Workspace::load()?, seeds, first),
    }
}
