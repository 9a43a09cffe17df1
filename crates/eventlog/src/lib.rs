//! The log: records are appended to partitions of topics and read from them; only what is durable is read.
//!
//! - [`api`]: what a role asks of a log, the embedded one or Kafka
//! - [`archive`]: records of `scans`, kept longer than the log keeps them
//! - [`error`]: what fails, where, and the fix
//! - [`files`]: the layer over the file system, so that tests can tear, lose and refuse writes
//! - [`local`]: the embedded log
//! - [`kafka`]: the same API over Kafka
//! - [`objects`]: bytes under names, in a directory or in an object store
//! - `queue_budget`: the budget of bytes that wait to become durable
//! - [`retry`]: the delays between retries
//! - [`scans`]: what every reader of `scans` needs: events, and when they were received
//! - [`spool`]: rounds that a log has not accepted yet, in files of their own

pub mod api;
pub mod archive;
pub mod error;
pub mod files;
pub mod kafka;
pub mod local;
pub mod objects;
mod queue_budget;
pub mod retry;
pub mod scans;
pub mod spool;
