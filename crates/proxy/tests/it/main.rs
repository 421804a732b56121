//! The data plane as its neighbours meet it: real sockets, real tiny upstreams, a control connection such as `qd serve`
//! opens. Start reading at [`rig`].

#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped is a failed test, in its helpers, too")]

mod pki;
mod rig;
mod unix;
mod upstream;

mod acme;
mod answers;
mod caching;
mod caching_on_disk;
mod client_certificates;
mod compression;
mod control;
mod draining;
mod forwarding;
mod framed;
mod guards;
mod handover;
mod hedging;
mod held;
mod hostile;
mod http2;
mod instance_tls;
mod origins;
mod parted;
mod route_bounds;
mod routing;
mod shadowing;
mod sharing;
mod smuggling;
mod tcp;
mod tls;
mod tls_only;
