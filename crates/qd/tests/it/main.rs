//! Quarterdeck as its users meet it: the built executable, real sockets, real child processes, real peers. Nothing of the
//! product is linked here; what is known of it is what it prints, answers and leaves on disk.
//!
//! Every test has an installation of its own ([`site::Site`]): a directory, an address, no environment but what it is
//! given. Whatever runs in that directory is killed when the test ends, also when it fails. Nothing sleeps: what is waited
//! for is a predicate with a deadline ([`wait::eventually`]).
//!
//! Start reading at [`site`], then [`first_minutes`].

#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped is a failed test, in its helpers, too")]

mod http;
mod processes;
mod release;
mod site;
mod sockets;
mod traffic;
mod upgrade;
mod wait;

mod access;
mod acme;
mod approval;
mod broken_deploys;
mod cache;
mod clients;
mod configuration;
mod disk_full;
mod files;
mod first_minutes;
mod import;
mod kills;
mod ledger;
mod machine;
mod output;
mod peers;
mod rollouts;
mod routes;
mod secrets;
mod sleeping;
mod steering;
mod streams;
mod tcp;
mod tls;
