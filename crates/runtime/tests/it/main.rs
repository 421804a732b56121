//! The process driver with real shims and real processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adoption;
mod hostile;
mod life;
mod limits;
mod sockets;
mod world;
