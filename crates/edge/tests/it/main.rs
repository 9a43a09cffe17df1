//! The door without a house: what the log does not take soon, how it ends, and whom requests are from.

mod batcher;
mod client;
mod spool;
