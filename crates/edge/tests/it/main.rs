//! The door without a house: what the log does not take soon, and whom requests are from.

mod client;
mod spool;
