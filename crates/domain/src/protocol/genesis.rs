//! The first record of every partition of a shared log: it names the log. A topic that was recreated by hand has no such
//! record, and one that was recreated by `topics create` has another id; neither is mistaken for the earlier topic.

use serde::{Deserialize, Serialize};

use crate::frame::{self, Body, Frame, FrameError, Kind};
use crate::model::address::{PartitionId, Partitions};

/// Why a record is not the first one that a partition must have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// The frame is of another kind.
    #[error(
        "the partition begins with a frame of kind {0}, not with the record that names its log: the topic was recreated or damaged; restore it"
    )]
    Kind(Kind),
    /// The frame has no item.
    #[error("the record that names the log is empty: restore the topic")]
    Empty,
    /// The item cannot be decoded.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It names another log.
    #[error(
        "the partition is {found} of log {:032x}, not of {log:032x}: the topic was recreated; restore it or begin a new deployment",
        .found.log
    )]
    OtherLog {
        /// The partition that the record names.
        found: PartitionId,
        /// The topic's id in the log that is read.
        log: u128,
    },
}

/// What the first record of a partition says of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// The partition whose first record it is, with the topic's id.
    pub source: PartitionId,
    /// The log's id.
    pub id: u128,
    /// Whether `received` is the running maximum of the events' times, and not the edge's clock.
    pub is_event_clock: bool,
    /// The log's number of partitions.
    pub partitions: Partitions,
}

impl Genesis {
    /// Encodes it as a record.
    #[must_use]
    pub fn record(&self) -> Vec<u8> {
        let mut body = Body::default();
        body.push(self);
        let mut record = Vec::new();
        body.drain(|bytes, count| record = frame::seal(Kind::Genesis, 0, None, count, bytes));
        record
    }

    /// Reads it from a frame.
    ///
    /// # Errors
    /// The frame is of another kind, or cannot be decoded.
    pub fn of(frame: &Frame<'_>) -> Result<Self, GenesisError> {
        if frame.kind != Kind::Genesis {
            return Err(GenesisError::Kind(frame.kind));
        }
        Ok(frame.items::<Self>().next().ok_or(GenesisError::Empty)??)
    }

    /// Checks that a partition's first record names this log.
    ///
    /// # Errors
    /// It is no such record, or names another log.
    pub fn check(frame: &Frame<'_>, source: PartitionId) -> Result<(), GenesisError> {
        let found = Self::of(frame)?.source;
        if found == source { Ok(()) } else { Err(GenesisError::OtherLog { found, log: source.log }) }
    }
}
