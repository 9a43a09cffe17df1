//! The service from outside: what it answers, what it keeps when it is killed, how it ends.

mod attacked;
mod bodies;
mod browser;
pub(crate) mod chaos;
mod clients;
pub(crate) mod door;
mod journey;
mod power_loss;
mod races;
mod results;
pub(crate) mod server;
mod slow;
mod start;
pub(crate) mod steady;
mod tls;
