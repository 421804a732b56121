//! Why there is no certificate from an authority. Texts are for people; none shows a key, a nonce or a proof.

use super::exchange::{self, Status};
use crate::tls::{certificate::Unusable, local};
use serde::Deserialize;
use std::{fmt, io, path::PathBuf, time::Duration};

/// The longest text of an authority that is passed on, in characters.
const MAX_TEXT: usize = 300;

/// What keeps a certificate from being had.
#[derive(Debug, thiserror::Error)]
pub(in crate::tls) enum Error {
    /// An address of the authority is none that can be asked.
    #[error("{0} is not an address that begins with https://")]
    BadAddress(String),
    /// No connection, or one that broke.
    #[error("{url} cannot be reached: {source}")]
    Unreachable {
        /// Which address.
        url: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("{url} did not answer within {}s", exchange::TIME.as_secs())]
    Silent {
        /// Which address.
        url: String,
    },
    /// A longer answer than any that is of use.
    #[error("{url} answered with more than {} KiB", exchange::MAX_BODY >> 10)]
    TooLarge {
        /// Which address.
        url: String,
    },
    /// The authority says no.
    #[error("{url} refused: {problem} (status {status})")]
    Refused {
        /// Which address.
        url: String,
        /// With which status.
        status: Status,
        /// Why.
        problem: Problem,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// An answer that is not one of this protocol.
    #[error("{url} answered without {missing}: is it the directory of an ACME authority?")]
    Unexpected {
        /// Which address.
        url: String,
        /// What should have been there.
        missing: &'static str,
    },
    /// It looked, and did not see what it asked for.
    #[error("the authority could not see by {way} that this host is served here: {problem}")]
    NotProved {
        /// How it looked.
        way: super::proof::Way,
        /// What it says.
        problem: Problem,
    },
    /// It wants to see what cannot be shown here.
    #[error(
        "the authority offers no challenge that can be met here, which are http-01 on an address in clear and tls-alpn-01"
    )]
    NoWay,
    /// It gives accounts to those it knows only.
    #[error(
        "the authority wants accounts that it knows from elsewhere (external account binding), which is not supported"
    )]
    NeedsBinding,
    /// It gave the order up.
    #[error("the authority gave the order up: {0}")]
    Invalid(Problem),
    /// It took too long.
    #[error("the authority did not issue within {} minutes", super::order::TIME.as_secs() / 60)]
    Overdue,
    /// It issued something else.
    #[error("the authority issued a certificate that does not name this host")]
    OtherHost,
    /// It issued something that cannot be presented.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// A file of ours cannot be read or written.
    #[error("{} cannot be used: {source}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A key of ours is damaged.
    #[error("{} holds no key of an account: move it away, and another account is made", .0.display())]
    DamagedKey(PathBuf),
    /// Nobody to trust.
    #[error("there are no roots to trust the authority's own certificate by: {0}")]
    NoRoots(String),
    /// A key or a request cannot be made.
    #[error("no key can be made: {0}")]
    Crypto(String),
    /// The task ended before its time.
    #[error("asking ended before its time")]
    Gone,
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Error {
        Error::Crypto(error.to_string())
    }
}

impl From<local::Error> for Error {
    fn from(error: local::Error) -> Error {
        match error {
            local::Error::File { path, source } => Error::File { path, source },
            local::Error::Issue(error) => error.into(),
            local::Error::Unusable(error) => Error::Unusable(error),
        }
    }
}

impl Error {
    /// When the authority wants to be asked again.
    pub(in crate::tls) fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Refused { retry_after, .. } => *retry_after,
            Error::BadAddress(_)
            | Error::Unreachable { .. }
            | Error::Silent { .. }
            | Error::TooLarge { .. }
            | Error::Unexpected { .. }
            | Error::NotProved { .. }
            | Error::NoWay
            | Error::NeedsBinding
            | Error::Invalid(_)
            | Error::Overdue
            | Error::OtherHost
            | Error::Unusable(_)
            | Error::File { .. }
            | Error::DamagedKey(_)
            | Error::NoRoots(_)
            | Error::Crypto(_)
            | Error::Gone => None,
        }
    }

    /// Whether the authority refused for this reason, one of RFC 8555, section 6.7.
    pub(super) fn is(&self, kind: &str) -> bool {
        matches!(self, Error::Refused { problem, .. } if problem.is(kind))
    }
}

/// What an authority says is wrong (RFC 7807), as far as it is of use.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::tls) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    detail: String,
}

impl Problem {
    /// Whether it is of this kind, one of RFC 8555, section 6.7.
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kind.strip_prefix("urn:ietf:params:acme:error:") == Some(kind)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is("rateLimited") {
            f.write_str("its rate limit is reached, ")?;
        }
        let text = if self.detail.is_empty() { &self.kind } else { &self.detail };
        if text.is_empty() {
            return f.write_str("it does not say why");
        }
        // Somebody else's words: of one line, and not many.
        let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        shown.take(MAX_TEXT).try_for_each(|c| write!(f, "{c}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_authority_are_of_one_line_and_not_many() {
        let problem = |kind: &str, detail: &str| Problem { kind: kind.to_owned(), detail: detail.to_owned() };
        assert_eq!(problem("", "").to_string(), "it does not say why");
        assert_eq!(problem("urn:x", "").to_string(), "urn:x");
        let limited = problem("urn:ietf:params:acme:error:rateLimited", "too many\nnew orders");
        assert_eq!(limited.to_string(), "its rate limit is reached, too many new orders");
        assert_eq!(problem("", &"x".repeat(5000)).to_string().len(), MAX_TEXT);
    }
}
