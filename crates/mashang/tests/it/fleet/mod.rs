//! The roles of a fleet as processes, on real Kafka and real Postgres: they write what a run writes, whichever process dies.
//!
//! - `roles`: starts, stops and restarts roles
//! - `journey`: a retailer's year
//! - `chaos`: roles are killed and frozen, brokers and the database restarted
//! - `brokers`, `broker_faults`: brokers that end, and brokers that refuse requests
//! - `spool`: edges with a spool while the broker is unavailable
//! - `balanced`: edges behind HAProxy and nginx
//! - `rebalance`: pauses of partitions when workers come and go
//! - `bad`: bad records, topics and names

mod bad;
mod balanced;
mod broker_faults;
mod brokers;
mod chaos;
mod journey;
mod rebalance;
pub(crate) mod roles;
mod spool;
