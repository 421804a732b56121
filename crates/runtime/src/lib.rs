//! Drivers that change the world, and what they need on disk.
//!
//! A [`Driver`] performs actions and says what it sees; it decides nothing. [`process::ProcessDriver`] runs instances
//! as processes of this machine, each owned by a *shim* ([`shim`]): a small process in a session of its own that keeps
//! the child, its output and its exit status, and that goes on when `qd serve` does not.
//!
//! What always holds:
//! - nothing here restarts an instance, picks a release or moves traffic: that is `control`'s;
//! - a secret is on disk only encrypted, and never in a command line, an error or a log line of ours;
//! - whatever a service does (output without end, forking away, ignoring signals, its port, or us) is bounded.
//!
//! Start reading at [`driver`], then [`process`] (the side of `serve`) and [`shim`] (the other side of the socket).
//! [`artifact`] and [`secrets`] are the two stores; [`logs`] reads what the shims captured.

pub mod artifact;
pub mod down;
pub mod driver;
mod error;
mod layout;
pub mod logs;
pub mod process;
mod procfs;
pub mod secrets;
pub mod shim;

pub use driver::Driver;
pub use error::{Error, in_full};
