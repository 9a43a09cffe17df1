//! The partition protocol as data: what a partition may contain, and what a desk answers to it.
//!
//! - [`behaviour`]: what may differ between builds, and what a build knows
//! - [`error`]: why a desk cannot go on, and what a record may not say
//! - [`genesis`]: the first record of a partition, which names the log that it belongs to
//! - [`kept`]: what a desk says of its state, for metrics
//! - [`merkle`]: trees over the records of a log, for proofs
//! - [`publish`]: how rules reach every partition, in one order
//! - [`reject`]: a record of `scans` that is not a frame, copied to `rejects`
//! - [`positions`]: the reader's rule: which frame may be applied
//! - [`stage`]: a desk on one partition: which records it applies, and what it answers

pub mod behaviour;
pub mod error;
pub mod genesis;
pub mod kept;
pub mod merkle;
pub mod positions;
pub mod publish;
pub mod reject;
pub mod stage;
