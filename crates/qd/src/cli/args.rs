//! What can be typed: the one definition of commands and options, from which parsing, help, completions and the
//! reference come.

use crate::config::STRATEGIES;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use model::{ChangeId, Digest, EnvironmentName, InstanceId, NameError, ReleaseId, Seq, ServiceName, Strategy};
use std::{net::SocketAddr, path::PathBuf, str::FromStr};

/// The heading of what every command takes.
pub(crate) const GLOBAL_OPTIONS: &str = "Options of every command";
/// The heading of what every command takes that changes something.
pub(crate) const CHANGE_OPTIONS: &str = "Options of every change";

/// Run production through one door: every change is planned, watched, reversible and recorded.
#[derive(Parser, Debug)]
#[command(name = "qd", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Begin with `qd init`, then `qd serve`. In another terminal: `qd apply`, `qd deploy`, `qd status`."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = GLOBAL_OPTIONS)]
pub(crate) struct Global {
    /// The configuration file [default: quarterdeck.toml here or in a directory above]
    #[arg(long, global = true, env = "QD_CONFIG", hide_env_values = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// The data directory [default: as the configuration says, else .quarterdeck beside it]
    #[arg(long, global = true, env = "QD_DATA", hide_env_values = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    /// Talk to this server over TCP, such as http://127.0.0.1:7777, with the token in QD_TOKEN
    #[arg(long, global = true, env = "QD_SERVER", hide_env_values = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) server: Option<String>,
    /// Print one JSON document, or one per line where it goes on
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Colour::Auto, hide_possible_values = true)]
    pub(crate) color: Colour,
}

/// When to use colour.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a change is asked for.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = CHANGE_OPTIONS)]
pub(crate) struct Intent {
    /// Why. Recorded in the ledger; asked for on a terminal when it is missing
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Show what would be done, and stop there
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Do it only if the plan has this digest
    #[arg(long, value_name = "DIGEST")]
    pub(crate) expect: Option<Digest>,
    /// Do not wait until it is done
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// The person a program acts for. Recorded; gives no rights
    #[arg(long, value_name = "NAME")]
    pub(crate) on_behalf_of: Option<String>,
}

/// The commands, daily work first.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Write a quarterdeck.toml to begin with
    Init {
        /// The service's name [default: that of the directory]
        service: Option<ServiceName>,
    },
    /// Run Quarterdeck here, in the foreground
    ///
    /// `^C` drains and stops everything. Killing it stops nothing else: services and traffic go on, and the next start
    /// takes them over.
    Serve(Serve),
    /// Show what `apply` would change
    Plan {
        /// Also remove the services of this environment that the configuration does not name
        #[arg(long)]
        prune: bool,
    },
    /// Make the services be as the configuration says
    Apply {
        /// Also remove the services of this environment that the configuration does not name
        #[arg(long)]
        prune: bool,
        #[command(flatten)]
        intent: Intent,
    },
    /// Run a new release of a service, and watch it until it is promoted or undone
    Deploy(Deploy),
    /// Show how services and open changes are
    Status {
        /// Only this service
        service: Option<ServiceArg>,
        /// Show it anew whenever something changes
        #[arg(short, long)]
        watch: bool,
    },
    /// Tell the story of a change, a service or an instance, from the ledger
    Why {
        /// CHG-12, INS-3 or the name of a service [default: everything]
        subject: Option<String>,
        /// Also the small facts about instances
        #[arg(short, long)]
        all: bool,
    },
    /// Show what a service prints
    Logs {
        /// Which service
        service: ServiceArg,
        /// Go on with what comes
        #[arg(short, long)]
        follow: bool,
        /// How many of the last lines
        #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=100_000), value_name = "N")]
        lines: u32,
        /// Only this instance
        #[arg(short, long, value_name = "INS")]
        instance: Option<InstanceId>,
    },
    /// Return to an earlier release that was proven healthy, at once
    Rollback {
        /// Which service
        service: ServiceArg,
        /// To which release [default: the proven one before]
        #[arg(long, value_name = "REL")]
        to: Option<ReleaseId>,
        #[command(flatten)]
        intent: Intent,
    },
    /// Give the new release all requests now, on your own judgement
    Promote(Steer),
    /// Keep a rollout where it is; its guard goes on watching
    Pause(Steer),
    /// Let a paused rollout go on
    Resume(Steer),
    /// Undo a change that is open, or withdraw one that waits for approval
    Cancel(Steer),
    /// Agree to a change that someone else proposed
    Approve(Steer),
    /// Run another number of instances
    Scale {
        /// Which service
        service: ServiceArg,
        /// How many instances
        #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(control::service::MAX_REPLICAS)))]
        replicas: u32,
        #[command(flatten)]
        intent: Intent,
    },
    /// Forget what the data plane has stored of responses
    #[command(subcommand)]
    Cache(Cache),
    /// Show a change: its plan, how far it is, what was measured
    Change {
        /// Which change
        change: ChangeId,
        /// Follow it until it is done
        #[arg(short, long)]
        follow: bool,
    },
    /// List changes, the newest first
    Changes {
        /// Only those that are open
        #[arg(long)]
        open: bool,
        /// At most how many
        #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
        limit: usize,
    },
    /// Read, verify and export the ledger; needs no running server
    #[command(subcommand)]
    Ledger(Ledger),
    /// Check a configuration, or print what can stand in one
    #[command(subcommand)]
    Config(Config),
    /// Read what Argo Rollouts or Flagger judge releases by, and print what to set here
    ///
    /// Reads Rollouts, AnalysisTemplates, ClusterAnalysisTemplates and AnalysisRuns of Argo Rollouts and Canaries and
    /// MetricTemplates of Flagger. The settings to paste go to standard output; what was taken over, approximated, not
    /// needed or left out is told beside it, each with its place. Changes nothing and needs no running server.
    Import {
        /// YAML files, each with one document or several; `-` is standard input
        #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
        /// The service that all of it is for [default: the Rollout's name, the Canary's target, or a template's name]
        #[arg(long, value_name = "NAME")]
        service: Option<ServiceName>,
    },
    /// Give programs access to the API over TCP
    #[command(subcommand)]
    Token(Token),
    /// Stop Quarterdeck and everything it runs
    Down {
        /// Stop only Quarterdeck: services and their traffic go on until the next `qd serve` takes them over
        #[arg(long)]
        keep_services: bool,
        /// Show what would be stopped, and stop there
        #[arg(short = 'n', long)]
        dry_run: bool,
        /// Do not ask for confirmation
        #[arg(short, long)]
        yes: bool,
    },
    /// Show who you are to Quarterdeck, and what you may do
    Whoami,
    /// Check this machine and this installation, and say what to do about what is wrong
    Doctor,
    /// Print a script that completes commands in a shell
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print a file that is generated from this program
    #[command(hide = true)]
    Gen {
        /// Which file
        what: Generated,
    },
}

/// Files that are generated from this program.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Generated {
    /// docs/reference/cli.md
    CliReference,
    /// docs/reference/config.toml
    ConfigReference,
    /// docs/reference/change.md
    ChangeReference,
    /// docs/reference/metrics.md
    MetricsReference,
    /// docs/reference/openapi.json
    Openapi,
}

/// How Quarterdeck is run.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Where requests come in, instead of where the configuration says; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<SocketAddr>,
}

/// What is deployed, and how.
#[derive(Args, Debug)]
pub(crate) struct Deploy {
    /// Which service
    pub(crate) service: ServiceArg,
    /// A directory, an executable, or a tar archive
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,
    /// What people call this version, such as a tag or a commit
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) label: Option<String>,
    /// How it takes over, instead of as the configuration says: canary, blue-green, rolling or recreate
    #[arg(short, long, value_parser = strategy)]
    pub(crate) strategy: Option<Strategy>,
    /// Undo a change of this service that is still running, and take its place
    #[arg(long)]
    pub(crate) supersede: bool,
    #[command(flatten)]
    pub(crate) intent: Intent,
}

/// An open change, and why it is steered.
#[derive(Args, Debug)]
pub(crate) struct Steer {
    /// Which change
    pub(crate) change: ChangeId,
    #[command(flatten)]
    pub(crate) intent: Intent,
}

/// What can be done with stored responses.
#[derive(Subcommand, Debug)]
pub(crate) enum Cache {
    /// Forget what is stored of a service, so that the next requests reach its instances
    ///
    /// It holds for all data planes, and for what was already asked for: nothing is given to anybody that an instance was asked for
    /// before.
    Purge {
        /// Which service
        service: ServiceArg,
        /// Only what is at this path, as instances are asked for it, and below
        #[arg(long, value_name = "PATH")]
        path: Option<String>,
        #[command(flatten)]
        intent: Intent,
    },
}

/// What can be done with the ledger.
#[derive(Subcommand, Debug)]
pub(crate) enum Ledger {
    /// Show entries
    Show {
        /// From this entry on [default: the last ones]
        #[arg(long, value_name = "SEQ", value_parser = seq)]
        from: Option<Seq>,
        /// At most how many
        #[arg(short = 'n', long, default_value_t = 50, value_name = "N")]
        limit: usize,
    },
    /// Check every entry, the tree over them and the signature
    Verify {
        /// Check this exported directory instead of the ledger of the data directory
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        directory: Option<PathBuf>,
        /// The same as DIR
        #[arg(long, value_name = "DIR", conflicts_with = "directory", value_hint = ValueHint::DirPath)]
        export: Option<PathBuf>,
        /// Accept only what was signed by this key
        #[arg(long, value_name = "VKEY")]
        key: Option<String>,
    },
    /// Take a restored or copied ledger as what it is now, under a new key
    ///
    /// For a copy that `qd serve` refuses because another one was signed here, or elsewhere, after it. What the old key
    /// signed stays valid for the old history; nobody can mistake this one for it. Never adopt a copy while the original
    /// may still be written.
    Adopt {
        /// Do not ask for confirmation
        #[arg(short, long)]
        yes: bool,
    },
    /// Write the ledger to a new directory that anyone can verify
    Export {
        /// Where to
        #[arg(value_hint = ValueHint::DirPath)]
        directory: PathBuf,
    },
}

/// What can be done with a configuration.
#[derive(Subcommand, Debug)]
pub(crate) enum Config {
    /// Check the file, and the files it names
    Check,
    /// Print every key with its default and what it means
    Reference,
}

/// A service as it is typed: `shop`, or `staging/shop` when it is not in the environment of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ServiceArg {
    pub(crate) environment: Option<EnvironmentName>,
    pub(crate) name: ServiceName,
}

impl Command {
    /// The one service that is named.
    pub(crate) fn service(&self) -> Option<&ServiceArg> {
        match self {
            Command::Deploy(Deploy { service, .. })
            | Command::Logs { service, .. }
            | Command::Rollback { service, .. }
            | Command::Scale { service, .. }
            | Command::Cache(Cache::Purge { service, .. }) => Some(service),
            Command::Status { service, .. } => service.as_ref(),
            Command::Init { .. }
            | Command::Serve(_)
            | Command::Plan { .. }
            | Command::Apply { .. }
            | Command::Why { .. }
            | Command::Promote(_)
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::Cancel(_)
            | Command::Approve(_)
            | Command::Change { .. }
            | Command::Changes { .. }
            | Command::Ledger(_)
            | Command::Config(_)
            | Command::Import { .. }
            | Command::Token(_)
            | Command::Down { .. }
            | Command::Whoami
            | Command::Doctor
            | Command::Completions { .. }
            | Command::Gen { .. } => None,
        }
    }
}

impl FromStr for ServiceArg {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(match text.split_once('/') {
            Some((environment, name)) => ServiceArg { environment: Some(environment.parse()?), name: name.parse()? },
            None => ServiceArg { environment: None, name: text.parse()? },
        })
    }
}

/// What can be done with tokens.
#[derive(Subcommand, Debug)]
pub(crate) enum Token {
    /// Make a token for a program, and show it this once; it works from the next start of `qd serve` on
    Create {
        /// What the program is called in the ledger, such as ci
        name: String,
    },
    /// List the programs that have one
    List,
    /// Take a token back, from the next start of `qd serve` on
    Remove {
        /// Which program's
        name: String,
    },
}

fn strategy(text: &str) -> Result<Strategy, String> {
    let found = STRATEGIES.iter().find(|(name, _)| *name == text).map(|(_, strategy)| *strategy);
    found.ok_or_else(|| "use canary, blue-green, rolling or recreate".to_owned())
}

fn seq(text: &str) -> Result<Seq, String> {
    text.trim_start_matches('#').parse().map(Seq).map_err(|_| "use the number of an entry".to_owned())
}
