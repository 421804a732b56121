//! The stories. What is expected of each is what `qd why` would print.

mod approval;
mod bad_release;
mod canary;
mod configuration;
mod halted;
mod hold_back;
mod killed;
mod purge;
mod ramp;
mod repair;
mod rollback;
mod scale;
mod shadow;
mod sleep;
mod steering;
mod strategy;
mod trouble;
