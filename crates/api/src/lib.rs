//! The HTTP API: the one door to Quarterdeck, for the command line, the console, CI and agents alike.
//!
//! This crate carries; it decides nothing. A handler reads a view of the last published [`Snapshot`], reads the ledger,
//! or submits a command to the event loop through [`Loop`], and every request passes `policy`: reads where they are
//! dispatched (`endpoint::permit`), commands inside `control`. What needs a disk or a driver is asked of a [`Backend`].
//!
//! - [`serve()`] answers on a Unix socket, where the peer's operating-system user is the actor, and on loopback TCP with a
//!   token. Everything is bounded: connections, requests, streams, bodies, waits.
//! - Each endpoint is defined once, in `endpoints`: from that come its route and its part of [`openapi()`].
//! - Every error is a [`Problem`]: a code for programs, a message and a hint for people.
//! - [`client::Client`] is the typed client; it speaks the same [`message`]s.
//!
//! Start reading at `endpoints`.

pub mod access;
pub mod backend;
pub mod client;
pub mod control_loop;
pub mod listen;
pub mod message;
pub mod problem;
pub mod serve;

mod body;
mod endpoint;
mod endpoints;
mod impatient;
mod openapi;
mod served;

#[cfg(test)]
mod tests;

pub use access::Access;
pub use backend::{Backend, Reply, Upload};
pub use client::Client;
pub use control_loop::{Asked, Loop, LoopEnd, Rejected, Snapshot};
pub use listen::{Error, Listener};
pub use openapi::openapi;
pub use problem::Problem;
pub use serve::{Bounds, serve};

/// The version of this program, said in every answer so that a client can tell that the other side is of another.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
