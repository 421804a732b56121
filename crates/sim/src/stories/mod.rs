//! The stories. What is expected of each is what `qd why` would print.

mod approval;
mod bad_release;
mod canary;
mod configuration;
mod killed;
mod rollback;
mod scale;
mod steering;
mod strategy;
mod trouble;
