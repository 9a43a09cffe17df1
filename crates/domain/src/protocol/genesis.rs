//! The first record of every partition of a log that is shared: which log it is of. A topic that was recreated by hand has
//! none, one that was recreated by `topics create` has another id: neither is ever taken for the one that was there.

use serde::{Deserialize, Serialize};

use crate::frame::{self, Body, Frame, Kind};
use crate::model::address::{PartitionId, Partitions};

/// What a log is, as the first record of a partition says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// The partition that it is the first record of, with its topic's id.
    pub source: PartitionId,
    /// The log's id.
    pub id: u128,
    /// Whether `received` is the running maximum of the events' times, and not the edge's clock.
    pub is_event_clock: bool,
    pub partitions: Partitions,
}

impl Genesis {
    /// Its record.
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
    /// The frame is none, as a phrase.
    pub fn of(frame: &Frame<'_>) -> Result<Self, String> {
        if frame.kind != Kind::Genesis {
            return Err(format!("a frame of {:?} is not the first record of a partition", frame.kind));
        }
        let birth = frame.items::<Self>().next().ok_or("the partition's first record is empty")?;
        birth.map_err(|e| e.to_string())
    }

    /// Whether a partition's first record is of this log.
    ///
    /// # Errors
    /// It is of another one, as a phrase.
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
