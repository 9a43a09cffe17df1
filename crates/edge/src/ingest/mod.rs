//! From a request's bytes to a durable round, the same for every transport.
//!
//! - [`service`]: `POST /v1/events`
//! - `body_reader`: a body becomes events, or reasons why it is refused
//! - [`clock`]: the stamp of every event
//! - [`batcher`]: events of many requests become frames, and frames rounds of the log
//! - [`limits`]: its limits, and the share of requests that is refused while the workers' memory is short
//! - `memory`: the memory of requests in flight
//! - `senders`: whether several senders share this process

pub mod batcher;
pub(crate) mod body_reader;
pub mod clock;
pub mod limits;
pub(crate) mod memory;
mod senders;
pub mod service;
