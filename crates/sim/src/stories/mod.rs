//! The stories. What is expected of each is what `qd why` would print.

mod canary;
