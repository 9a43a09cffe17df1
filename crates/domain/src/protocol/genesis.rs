//! The first record of every partition of a shared log: it names the log. A topic that was recreated by hand has no such
//! record, and one that was recreated by `topics create` has another id; neither is mistaken for the earlier topic.

use serde::{Deserialize, Serialize};

use crate::frame::{self, Body, Frame, Kind};
use crate::model::address::{PartitionId, Partitions};

/// What the first record of a partition says of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// The partition whose first record it is, with the topic's id.
    pub source: PartitionId,
    /// The log's id.
    pub id: u128,
    /// Whether `received` is the running maximum of the events' times, and not the edge's clock.
    pub is_event_clock: bool,
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
    /// The frame is of another kind or cannot be decoded; as a phrase.
    pub fn of(frame: &Frame<'_>) -> Result<Self, String> {
        if frame.kind != Kind::Genesis {
            return Err(format!("a frame of kind {} is not the first record of a partition", frame.kind));
        }
        let genesis = frame.items::<Self>().next().ok_or("the partition's first record is empty")?;
        genesis.map_err(|e| e.to_string())
    }

    /// Checks that a partition's first record names this log.
    ///
    /// # Errors
    /// It names another log; as a phrase.
    pub fn check(frame: &Frame<'_>, source: PartitionId) -> Result<(), String> {
        let found = Self::of(frame)?.source;
        if found == source {
            return Ok(());
        }
        Err(format!(
            "the partition is {} partition {} of log {:032x}, not of {:032x}: the topic was recreated; restore it or begin a new deployment",
            found.topic, found.partition, found.log, source.log
        ))
    }
}
