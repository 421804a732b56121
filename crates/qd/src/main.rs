//! `qd`: Quarterdeck's one executable. It is the command line, and the control plane, the data plane and the shims that
//! the control plane starts.
//!
//! Start reading at [`cli`] for what people type, at [`serve`] for what runs, at [`event_loop`] for how it turns.

mod cli;
mod config;
mod event_loop;
mod files;
mod import;
mod render;
mod roles;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    roles::run().unwrap_or_else(cli::main)
}
