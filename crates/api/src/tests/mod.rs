//! The server and the client together, over real sockets, with the real `control` and everything else in memory.

mod access;
mod bounds;
mod client;
mod command;
mod document;
mod event;
mod story;
mod transfer;
mod view;
mod world;
