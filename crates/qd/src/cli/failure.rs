//! Why a command did not do what was asked, with the exit code that says so to scripts.

use crate::{config, serve};
use api::{client, problem};
use serde_json::{Value, json};
use std::{fmt, io, path::PathBuf};

/// The exit codes and what they mean, for the reference.
pub(crate) const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done: the change is promoted or has succeeded, the answer was given"),
    (1, "something failed: the message says what"),
    (2, "the command or the configuration is not understood"),
    (3, "the change ended another way than asked: rolled back, failed, cancelled or superseded"),
    (4, "refused: not now, or not by you; the message has a code and a hint, and nothing was done"),
    (5, "Quarterdeck is not running, or cannot be reached"),
    (6, "`qd import` left something out: the message says what, where and why; the rest was printed"),
    (130, "interrupted with ^C; a change that was begun goes on"),
];

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command is not understood.
    #[error("{what}")]
    Usage {
        /// What is not understood.
        what: String,
        /// What to do.
        hint: String,
    },
    /// There is no usable configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The server did not do it.
    #[error(transparent)]
    Server(#[from] client::Error),
    /// Refused here, by the rule the server would apply.
    #[error("{what}")]
    Refused {
        /// For programs.
        code: &'static str,
        /// What is refused.
        what: String,
        /// What to do.
        hint: String,
    },
    /// The change ended another way than asked. It was told already.
    #[error("the change did not end as asked")]
    Undone,
    /// A part of what was to be imported has no counterpart, or is not understood.
    #[error("{what}")]
    LeftOut {
        /// Every such part, with its place and what to do instead.
        what: String,
    },
    /// The ledger could not be read, verified or exported.
    #[error(transparent)]
    Ledger(#[from] store::Error),
    /// What is to be deployed is unfit.
    #[error(transparent)]
    Unfit(#[from] runtime::artifact::Unfit),
    /// `qd serve` did not start, or did not end in order.
    #[error(transparent)]
    Serve(#[from] serve::Error),
    /// What runs could not be stopped.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// Tokens could not be read or made.
    #[error(transparent)]
    Tokens(#[from] serve::tokens::Error),
    /// A file could not be used.
    #[error("cannot {doing} {path}", path = path.display())]
    File {
        /// What was tried, as an imperative.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something else.
    #[error("{what}")]
    Other {
        /// What.
        what: String,
        /// What to do.
        hint: String,
    },
    /// It was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// Whoever read the output has gone away, which ends the command without a word.
    #[error("nobody reads the output any more")]
    ReaderGone,
}

impl Failure {
    pub(crate) fn usage(what: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::Usage { what: what.into(), hint: hint.into() }
    }

    pub(crate) fn other(what: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::Other { what: what.into(), hint: hint.into() }
    }

    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Failure {
        let path = path.into();
        move |source| Failure::File { doing, path, source }
    }

    /// Whether nobody answers at all.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Failure::Server(
                client::Error::NotRunning { .. } | client::Error::Connect { .. } | client::Error::Timeout { .. }
            )
        )
    }

    /// Whether the connection broke, or nobody answers for the moment.
    pub(crate) fn is_passing(&self) -> bool {
        self.is_unreachable() || matches!(self, Failure::Server(client::Error::Lost { .. }))
    }

    /// One of [`EXIT_CODES`].
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::ReaderGone => 0,
            Failure::Usage { .. } | Failure::Config(_) => 2,
            Failure::Undone => 3,
            Failure::Refused { .. } => 4,
            Failure::LeftOut { .. } => 6,
            Failure::Interrupted => 130,
            Failure::Server(client::Error::Problem(problem)) => match problem.code {
                problem::Code::Refusal(_) | problem::Code::Fault(problem::Fault::Unauthenticated) => 4,
                problem::Code::Fault(_) | problem::Code::Unknown(_) => 1,
            },
            Failure::Server(_) if self.is_unreachable() => 5,
            Failure::Server(_)
            | Failure::Ledger(_)
            | Failure::Unfit(_)
            | Failure::Serve(_)
            | Failure::Runtime(_)
            | Failure::Tokens(_)
            | Failure::File { .. }
            | Failure::Other { .. } => 1,
        }
    }

    /// The code for programs.
    fn code(&self) -> Value {
        match self {
            Failure::Server(client::Error::Problem(problem)) => json!(problem.code),
            Failure::Server(_) if self.is_unreachable() => json!("not_running"),
            Failure::Usage { .. } => json!("usage"),
            Failure::Config(_) => json!("configuration"),
            Failure::Refused { code, .. } => json!(code),
            Failure::Undone => json!("undone"),
            Failure::LeftOut { .. } => json!("left_out"),
            Failure::Interrupted => json!("interrupted"),
            Failure::Server(_)
            | Failure::Ledger(_)
            | Failure::Unfit(_)
            | Failure::Serve(_)
            | Failure::Runtime(_)
            | Failure::Tokens(_)
            | Failure::File { .. }
            | Failure::Other { .. }
            | Failure::ReaderGone => json!("failed"),
        }
    }

    /// What to do next; empty when nothing helps.
    pub(crate) fn hint(&self) -> &str {
        match self {
            Failure::Server(error) => error.hint(),
            Failure::Usage { hint, .. } | Failure::Refused { hint, .. } | Failure::Other { hint, .. } => hint,
            Failure::Ledger(error) => ledger_hint(error),
            Failure::Serve(error) => error.of_ledger().map_or("", ledger_hint),
            Failure::Config(_)
            | Failure::Undone
            | Failure::LeftOut { .. }
            | Failure::Unfit(_)
            | Failure::Runtime(_)
            | Failure::Tokens(_)
            | Failure::File { .. }
            | Failure::Interrupted
            | Failure::ReaderGone => "",
        }
    }

    /// What went wrong and what caused it. That nobody listens says it all.
    pub(crate) fn message(&self) -> String {
        if let Failure::Server(error @ client::Error::NotRunning { .. }) = self {
            return error.to_string();
        }
        serve::in_full(self).trim_end().to_owned()
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.code(), "message": self.message(), "hint": self.hint() });
        if let Failure::Config(config::Error::Wrong(problems)) = self {
            let place =
                |(line, column, what, help)| json!({ "line": line, "column": column, "message": what, "hint": help });
            error["problems"] = problems.places().map(place).collect();
        }
        json!({ "error": error })
    }
}

/// What to do about a ledger that is not what it should be.
fn ledger_hint(error: &store::Error) -> &'static str {
    use store::Error as E;
    if matches!(error, E::Damaged { .. } | E::Unreadable { .. }) {
        "`qd ledger verify` names what is wrong; `qd ledger show` and `qd why` still read what is sound"
    } else if matches!(error, E::Behind { .. } | E::Forked { .. } | E::Elsewhere { .. } | E::HeadMissing { .. }) {
        "`qd ledger show` reads it; `qd ledger adopt` takes it as it is, under a new key, once the newer one is gone for good"
    } else {
        ""
    }
}

/// A failure as people read it.
pub(crate) struct ForPeople<'f>(pub(crate) &'f Failure);

impl fmt::Display for ForPeople<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.0.code();
        let code = code.as_str().filter(|_| self.0.exit_code() == 4).map_or(String::new(), |code| format!(" [{code}]"));
        writeln!(f, "{}{code}", self.0.message())?;
        match self.0.hint() {
            "" => Ok(()),
            hint => writeln!(f, "hint: {hint}"),
        }
    }
}
