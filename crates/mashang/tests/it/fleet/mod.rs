//! The roles of a fleet as processes, on real Kafka and real Postgres: what they write is what a run writes, whatever dies.

mod bad;
mod balanced;
mod broker_faults;
mod brokers;
mod chaos;
mod journey;
mod rebalance;
pub(crate) mod roles;
mod spool;
