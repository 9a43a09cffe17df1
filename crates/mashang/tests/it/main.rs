//! The binary from outside, and the pipeline compared with a naive model of the contract.
//!
//! - `cli`: the command line
//! - `by_hand`: cases worked out by hand from the contract
//! - `draws`: draws in numbers
//! - `differential`: random cases against the naive model
//! - `journey`: a retailer's year through `run`
//! - `kept_log`: a data directory of an earlier build
//! - `protocol`: desks and ledger under faults, on one thread
//! - `serve`: the service in one process
//! - `udp`: events in datagrams
//! - `fleet`: the roles of a fleet on Kafka and Postgres
//! - `architecture`: the dependencies between crates and modules
//! - `program`: runs the binary

mod architecture;
mod by_hand;
mod cli;
mod differential;
mod draws;
mod fleet;
mod journey;
mod kept_log;
mod program;
mod protocol;
mod serve;
mod udp;
