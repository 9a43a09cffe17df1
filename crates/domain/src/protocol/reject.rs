//! A record of `scans` that is not a frame, or is damaged: it is copied to `rejects` with its offset, so that no record is
//! lost without a trace.
//!
//! A lane that replays copies it again: the same bytes for the same offset.

use serde::{Deserialize, Serialize};

use crate::frame::{Body, Frame, FrameError, Kind, PART_BYTES_MAX, seal};
use crate::model::address::{AnswerPos, PartitionId, Provenance};
use crate::model::time::Millis;

/// The copy of the record; the frame's tag has its partition and offset, the frame's `received` is its append time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject<'a> {
    /// Why the record is not a frame.
    pub why: &'a str,
    /// Size of the record, bytes; at most [`PART_BYTES_MAX`] of them are copied.
    pub bytes: u64,
    /// The beginning of the record.
    #[serde(borrow)]
    pub record: &'a [u8],
}

/// The record for `rejects`.
#[must_use]
pub fn record(source: PartitionId, offset: u64, append: Millis, why: &str, record: &[u8]) -> Vec<u8> {
    let kept = &record[..record.len().min(PART_BYTES_MAX)];
    let mut body = Body::default();
    body.push(&Reject { why, bytes: record.len() as u64, record: kept });
    let tag = Provenance { source, at: AnswerPos { offset, part: 0 }, prev: None, hash: 0 };
    let mut sealed = Vec::new();
    body.drain(|bytes, count| sealed = seal(Kind::Reject, append, Some(&tag), count, bytes));
    sealed
}

/// Reads a record of `rejects`; `None` if the frame is of another kind.
///
/// # Errors
/// The frame cannot be decoded.
pub fn read<'a>(frame: &Frame<'a>) -> Result<Option<Reject<'a>>, FrameError> {
    if frame.kind != Kind::Reject { Ok(None) } else { frame.items::<Reject<'a>>().next().transpose() }
}
