//! The door without a house: what the log does not take soon.

mod spool;
