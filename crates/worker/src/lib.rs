//! The worker: threads that run desks and write the ledger.
//!
//! - [`lane`]: a thread that runs tasks; begin reading here
//! - [`task`]: a desk at its position in a partition, with the answers that it sent and its next snapshot
//! - [`desks`]: the table of desks, with the topic of each and how a task of it is opened
//! - [`supervisor`]: lanes whose partitions change; it restarts a lane that ends
//! - `restorer`: the threads that restore tasks, each tried until it succeeds
//! - [`archiver`]: the thread that copies `scans` into the archive
//! - [`context`]: what the lanes of a process share, and the progress of their tasks
//! - [`rules_cache`]: the rules that markers may name
//! - [`snapshot`]: saved states in a store, each with a manifest that is published last
//! - [`ledger_consumer`]: the thread that writes facts to the ledger

pub mod archiver;
pub mod context;
pub mod desks;
pub mod lane;
pub mod ledger_consumer;
mod restorer;
pub mod rules_cache;
pub mod snapshot;
pub mod supervisor;
pub mod task;
