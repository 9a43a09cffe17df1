//! What a run does without one safeguard. Production code has no switch for any: a run undoes its effect from outside, so that
//! a test shows what the safeguard prevents.
//!
//! - [`records`]: the reader's rules: records are rewritten so that a reader finds nothing wrong with them
//! - [`task`]: a task that takes such records, and answers that count as durable before they are
//! - [`sweeping_desk`]: a desk that forgets keys when a sweep reaches them, not when their time is over
//! - [`unsynced_states`]: a disk that loses states after their manifests are published
//! - [`writer`]: a ledger writer that finds the positions that it began from
//!
//! The others need no wrapper: [`Safeguard::LogId`] is a recreated log with the id of the earlier one,
//! [`Safeguard::StartAtManifest`] a reader that starts at another offset.

pub mod records;
pub mod sweeping_desk;
pub mod task;
pub mod unsynced_states;
pub mod writer;

/// A safeguard that a run can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safeguard {
    /// A reader drops frames at or below its position.
    DropRule,
    /// A reader applies a frame only if it follows the frame at its position.
    PreviousRule,
    /// A comparison of times decides whether a key is expired, not whether the sweep has reached it.
    ExpiryAtProbe,
    /// Positions, genesis records and states must be of the log that is read.
    LogId,
    /// A manifest is published only after all answers to the records in its state are durable.
    ManifestAfterAcks,
    /// A manifest is published after its state is durable.
    ManifestLast,
    /// A task reads from its manifest's offset on, not from the offset that its group committed.
    StartAtManifest,
    /// The ledger compares positions before it commits.
    ComparedPositions,
}

/// The safeguards that a run does without.
pub type Without = &'static [Safeguard];
