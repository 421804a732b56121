//! Who asks: the operating-system user at the other end of the Unix socket, or the name that a token stands for.
//!
//! An identity is proven or there is none; what it may do is `policy`'s to say. Tokens are known by their SHA-256 only
//! (they must be random and long, so that guessing is hopeless), and are compared in constant time.

use crate::problem::{Fault, Problem};
use http::{HeaderMap, header};
use model::{Actor, Digest};
use std::{
    fmt,
    fs::File,
    io::{BufRead, BufReader, Read},
    net::IpAddr,
};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// How much of the user database is read, in bytes.
const MAX_USERS: u64 = 4 << 20;

/// The tokens that are accepted over TCP.
#[derive(Clone, Default)]
pub struct Access {
    tokens: Vec<(Digest, String)>,
}

impl Access {
    /// Accepts these tokens: the SHA-256 of each, and the name of the program it stands for.
    pub fn new(tokens: impl IntoIterator<Item = (Digest, String)>) -> Access {
        Access { tokens: tokens.into_iter().collect() }
    }

    /// The program that a token stands for. Takes as long whether and wherever it is found.
    fn program(&self, token: &str) -> Option<Actor> {
        let presented = Digest::of(token.as_bytes());
        let mut found = 0_u64;
        for (number, (digest, _)) in (1..).zip(&self.tokens) {
            let same: Choice = digest.0.ct_eq(&presented.0);
            found.conditional_assign(&number, same);
        }
        let index = usize::try_from(found).ok()?.checked_sub(1)?;
        self.tokens.get(index).map(|(_, name)| Actor::program(name))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tokens.iter().map(|(_, name)| name)).finish()
    }
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// A user of this machine, by the kernel's word.
    User(Actor),
    /// Anybody who can reach the port.
    Network,
}

impl Peer {
    /// The user with this number.
    pub(crate) fn user(uid: u32) -> Peer {
        Peer::User(Actor::person(name_of(uid)))
    }

    /// Who asks.
    pub(crate) fn identify(&self, access: &Access, headers: &HeaderMap) -> Result<Actor, Problem> {
        match self {
            Peer::User(actor) => Ok(actor.clone()),
            Peer::Network => {
                let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
                let token = bearer
                    .and_then(|value| value.split_once(' '))
                    .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
                let Some((_, token)) = token else {
                    return Err(unauthenticated("no token was given"));
                };
                access.program(token.trim()).ok_or_else(|| unauthenticated("the token is not known here"))
            }
        }
    }

    /// Refuses requests that a web page of another host made the browser send here (DNS rebinding): over TCP, the host
    /// that is asked for must be this machine.
    pub(crate) fn check_host(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match self {
            Peer::User(_) => Ok(()),
            Peer::Network if is_this_machine(host) => Ok(()),
            Peer::Network => Err(Problem::new(
                Fault::Misdirected,
                "the Host header names another machine",
                "ask for localhost, 127.0.0.1 or [::1]",
            )),
        }
    }
}

fn unauthenticated(message: &str) -> Problem {
    Problem::new(
        Fault::Unauthenticated,
        message,
        "send `Authorization: Bearer …` with a token of this installation, or use the Unix socket",
    )
}

/// Whether a Host header, with or without a port, names the machine itself.
fn is_this_machine(host: &str) -> bool {
    let authority = host.parse::<http::uri::Authority>();
    authority.is_ok_and(|authority| {
        let host = authority.host();
        // An address in digits comes from no name server. All of 127.0.0.0/8 is this machine.
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

/// As whom the user with this number acts: by name when the machine knows one, else as `uid:1000`.
pub fn name_of(uid: u32) -> String {
    let name = File::open("/etc/passwd").ok().and_then(|users| user_name(users, uid));
    name.unwrap_or_else(|| format!("uid:{uid}"))
}

/// The name of a user in the form of /etc/passwd: `name:x:1000:…`.
fn user_name(users: impl Read, uid: u32) -> Option<String> {
    let lines = BufReader::new(users.take(MAX_USERS)).lines();
    lines.map_while(Result::ok).find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_name_and_otherwise_by_number() {
        let users = "root:x:0:0::/root:/bin/sh\nbroken\n\nann:x:1000:1000:Ann:/nonexistent:/bin/sh\n";
        assert_eq!(user_name(users.as_bytes(), 1000).as_deref(), Some("ann"));
        assert_eq!(user_name(users.as_bytes(), 1001), None);
    }

    #[test]
    fn a_token_is_the_name_it_was_given_for_and_no_other() {
        let access = Access::new([(Digest::of(b"one"), "ci".to_owned()), (Digest::of(b"two"), "backup".to_owned())]);
        assert_eq!(access.program("one"), Some(Actor::program("ci")));
        assert_eq!(access.program("two"), Some(Actor::program("backup")));
        assert_eq!(access.program("three"), None);
        assert_eq!(Access::default().program(""), None);
        assert_eq!(format!("{access:?}"), r#"["ci", "backup"]"#);
    }

    #[test]
    fn only_names_of_this_machine_are_hosts_of_it() {
        for host in ["localhost", "localhost:9", "127.0.0.1:80", "127.9.8.7:80", "[::1]:80", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", "::1"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
