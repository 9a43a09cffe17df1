//! The service from outside: its answers, what it keeps when it is killed, how it stops.
//!
//! - `server`, `setup`, `steady`: a running service, what its tests begin with, and a stream of events without races
//! - `answers`: answers to requests
//! - `browser`: scans that a phone's browser makes
//! - `tls`, `slow`: TLS, and slow clients
//! - `clients`: clients of other projects
//! - `start`: starts that are refused
//! - `faults`: kills, lost bytes and attacks
//! - `journey`: a retailer's year

pub(crate) mod answers;
mod browser;
mod clients;
pub(crate) mod faults;
mod journey;
pub(crate) mod server;
pub(crate) mod setup;
mod slow;
mod start;
pub(crate) mod steady;
mod tls;
