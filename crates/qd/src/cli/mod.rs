//! The command line: what people and scripts type, on top of the public API and nothing else. The exceptions need no
//! server by their nature: `serve` itself, reading the ledger, checking a configuration, tokens, `down` without a server.
//!
//! What always holds: what would change is said before it is done; nothing is changed on `--dry-run`; results go to
//! standard output and everything else to standard error; the exit code says how it went.
//!
//! Start reading at [`args`], then [`propose`], the way of every change.

mod apply;
mod args;
mod cache;
mod configuration;
mod context;
mod deploy;
mod doctor;
mod failure;
mod follow;
mod import;
mod ledger;
mod live;
mod look;
mod meant;
mod out;
mod propose;
mod reference;
mod run;
mod steer;
#[cfg(test)]
mod tests;
mod token;

use crate::config;
use args::{Cli, Command, Generated};
use clap::{CommandFactory as _, Parser as _};
use context::Context;
use failure::Failure;
use propose::Agreement;
use std::process::ExitCode;
use steer::Verb;

/// Runs the command that was typed.
pub(crate) fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let context = Context::new(global);
    let typed = command.service().cloned();
    match run(&context, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let failure = meant::suggest(&context, typed.as_ref(), failure);
            context.out.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Init { service } => configuration::init(context, service.as_ref()),
        Command::Serve(options) => run::serve(context, &options),
        Command::Ledger(command) => ledger::run(context, &command),
        Command::Config(args::Config::Check) => configuration::check(context),
        Command::Config(args::Config::Reference) => context.out.write(&config::reference::text()),
        Command::Import { files, service } => import::import(context, &files, service.as_ref()),
        Command::Token(command) => token::run(context, &command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "qd", &mut script);
            context.out.write(&String::from_utf8_lossy(&script))
        }
        Command::Gen { what } => context.out.write(&generated(what)),
        Command::Plan { prune } => wait(apply::plan(context, prune)),
        Command::Apply { prune, intent } => wait(apply::apply(context, prune, &intent)),
        Command::Deploy(options) => wait(deploy::deploy(context, &options)),
        Command::Status { service, watch } => wait(look::status(context, service.as_ref(), watch)),
        Command::Why { subject, all } => wait(look::why(context, subject.as_deref(), all)),
        Command::Logs { service, follow, lines, instance } => {
            wait(look::logs(context, &context.service(&service), lines, follow, instance))
        }
        Command::Rollback { service, to, intent } => {
            wait(steer::rollback(context, context.service(&service), to, &intent))
        }
        Command::Promote(steer) => wait(steer::steer(context, Verb::Promote, &steer)),
        Command::Pause(steer) => wait(steer::steer(context, Verb::Pause, &steer)),
        Command::Resume(steer) => wait(steer::steer(context, Verb::Resume, &steer)),
        Command::Cancel(steer) => wait(steer::steer(context, Verb::Cancel, &steer)),
        Command::Approve(steer) => wait(steer::steer(context, Verb::Approve, &steer)),
        Command::Scale { service, replicas, intent } => {
            let command = control::Command::Scale { service: context.service(&service), replicas };
            wait(propose::propose(context, command, &intent, Agreement::NotNeeded))
        }
        Command::Cache(args::Cache::Purge { service, path, intent }) => {
            wait(cache::purge(context, context.service(&service), path, &intent))
        }
        Command::Change { change, follow } => wait(look::change(context, change, follow)),
        Command::Changes { open, limit } => wait(look::changes(context, open, limit)),
        Command::Down { keep_services, dry_run, yes } => {
            wait(run::down(context, run::Down { keep_services, dry_run, yes }))
        }
        Command::Whoami => wait(look::whoami(context)),
        Command::Doctor => wait(doctor::doctor(context)),
    }
}

/// Waits for what talks to the server.
fn wait<T>(asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::file("start", "the event loop of this program"))?.block_on(asked)
}

/// The text of a file that is generated from this program.
fn generated(what: Generated) -> String {
    match what {
        Generated::CliReference => reference::text(),
        Generated::ConfigReference => config::reference::text(),
        Generated::ChangeReference => reference::change(),
        Generated::MetricsReference => control::metrics::reference(),
        Generated::Openapi => serde_json::to_string_pretty(&api::openapi()).unwrap_or_default() + "\n",
    }
}
