//! The service from outside: what it answers, what it keeps when it is killed, how it ends.

mod attacked;
mod bodies;
mod browser;
mod clients;
pub(crate) mod door;
pub(crate) mod fire;
mod held;
mod journey;
mod races;
pub(crate) mod server;
mod slow;
mod start;
pub(crate) mod steady;
mod tls;
