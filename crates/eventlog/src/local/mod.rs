//! The embedded log: topics and partitions in segments on the local disk.
//!
//! - [`log`]: the log with its committer: appends of many threads are one round, one sync
//! - [`store`]: the log without threads: open and repair, append a round, retire old segments
//! - [`consumer`]: the consumer of the embedded log
//! - [`topic_reader`]: reads a log without changing it
//! - [`meta`]: the log's id, clock and number of partitions, fixed at its creation
//! - `tail`: the writer's side of one partition
//! - [`reader`]: the readers' side of one partition: its durable records, in order
//! - `segment`: the records of one partition, in files
//! - `journal`: the latest appends to all partitions in one file, so that one sync makes a round durable

pub mod consumer;
pub(crate) mod journal;
pub mod log;
pub mod meta;
pub mod reader;
mod segment;
pub mod store;
mod tail;
pub mod topic_reader;
