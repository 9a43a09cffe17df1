//! The log: frames are appended to partitions of topics and read from them, and only what is on the disk is read.
//!
//! - [`files`]: the layer over the file system, so that tests can tear, lose and refuse
//! - [`error`]: what goes wrong, with the place and the mend
//! - [`segment`]: the records of one partition, in files
//! - [`journal`]: what was appended lately to all partitions, in one file, so that one sync makes a round durable
//! - [`meta`]: what a log is, for good
//! - [`partition`]: one partition, as its readers see it
//! - `tail`: the same, as its writer sees it
//! - [`store`]: the log without threads: open and repair, append a round, let go of old segments
//! - [`archive`]: a log that is only read
//! - [`reader`]: the records of one partition, in order
//! - [`feed`]: what a role asks of a log, whichever it is
//! - [`follow`]: the feed of the embedded log
//! - [`kafka`]: the same, asked of Kafka
//! - [`spool`]: rounds that a log did not take yet, in files of their own
//! - [`local`]: the log with its committer: appends of many threads are one round, one sync

pub mod archive;
pub mod error;
pub mod feed;
pub mod files;
pub mod follow;
mod journal;
pub mod kafka;
pub mod local;
pub mod meta;
pub mod partition;
pub mod reader;
mod segment;
pub mod spool;
pub mod store;
mod tail;
