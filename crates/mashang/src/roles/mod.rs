//! What a process can be: the service in one process, a role of a fleet, the demo.
//!
//! - `serve`: the service in one process
//! - `edge`, `worker`, `ledger`, `console`: the roles of a fleet; the log is Kafka, and each may run many times
//! - `base`: what all roles of a fleet begin with
//! - `http`: the HTTP port and the admin port of a role
//! - `edge_cache`: what an edge knew, if it starts while Kafka is unavailable
//! - `stage_metrics`: the gauges of the stages that run here
//! - `demo`: the service with a sample brand and its traffic

pub(crate) mod base;
pub(crate) mod console;
pub(crate) mod demo;
pub(crate) mod edge;
mod edge_cache;
mod http;
pub(crate) mod ledger;
pub(crate) mod serve;
mod stage_metrics;
pub(crate) mod worker;
