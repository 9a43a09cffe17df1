//! The roles of a fleet: the log is Kafka, and every role may run many times over.
//!
//! - `args`, `settings`: what a role was told
//! - `store`: snapshots and rules that all see
//! - `base`: what all roles begin with
//! - `known`: what an edge knew, if it starts while Kafka is away
//! - `edge`, `worker`, `ledger`, `console`: the roles
//! - `topics`, `snapshots`, `rules`: what is done to a fleet from outside

pub(crate) mod args;
mod base;
mod console;
mod edge;
mod known;
mod ledger;
pub(crate) mod rules;
mod settings;
pub(crate) mod snapshots;
mod store;
pub(crate) mod topics;
mod worker;

pub(crate) use console::console;
pub(crate) use edge::edge;
pub(crate) use ledger::ledger;
pub(crate) use settings::kafka;
pub(crate) use worker::worker;
