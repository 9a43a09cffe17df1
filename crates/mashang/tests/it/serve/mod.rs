//! The service from outside: its answers, what it keeps when it is killed, how it stops.
//!
//! - `server`, `steady`: a running service, and a stream of events without races
//! - `door`, `bodies`, `browser`, `results`: answers to requests, bodies and scans of browsers
//! - `tls`, `slow`, `attacked`: TLS, slow clients, and what attacks found
//! - `clients`: clients of other projects
//! - `start`: starts that are refused
//! - `chaos`, `races`, `power_loss`: kills under load, shoppers who race, files that lose unsynced bytes
//! - `journey`: a retailer's year

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
