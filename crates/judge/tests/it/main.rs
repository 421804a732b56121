//! placeholder until simulations are in place
mod simulate;
