//! The simulator: the whole control plane in a small world on a virtual clock.
//!
//! A *story* is a script that reads like what people do and see; its expected text is what `qd why` prints. A *storm* is
//! the same world with random commands, faults and kills. In both, every named invariant is checked after every turn.
//!
//! The pure core, the ledger's encoding and the judge are the real ones. Everything else is replaced by the smallest thing
//! that behaves like it: the loop of the server, a driver without processes, a data plane without sockets. There is no
//! clock, no thread and no file here; the same seed gives the same world.
//!
//! Start reading at `world`, then any file in `stories`.

mod audit;
mod data_plane;
mod driver;
pub mod invariants;
mod random;
mod serve;
pub mod storm;
mod version;
mod world;

#[cfg(test)]
mod stories;
#[cfg(test)]
mod story;
