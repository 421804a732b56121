//! What the judge promises, on simulated traffic with fixed seeds: every run gives the same result. The full tables are
//! printed by `cargo run --release -p judge --example figures`.

mod given_up;
mod limits;
mod outage;
mod promotion;
mod robust;
mod simulate;
mod watch;
mod worse;
