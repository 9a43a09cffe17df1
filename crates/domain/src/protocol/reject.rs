//! A record of `scans` that is no frame, or is damaged: set aside with its place, so that nothing is lost without a trace.
//!
//! A lane that replays sets it aside again: the same bytes for the same place.

use serde::{Deserialize, Serialize};

use crate::frame::{Body, Frame, FrameError, Kind, PART_BYTES_MAX, seal};
use crate::model::address::{AnswerPos, PartitionId, Provenance};
use crate::model::time::Millis;

/// What is kept of it; its place is the frame's tag, its append time the frame's `received`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject<'a> {
    pub why: &'a str,
    /// How many bytes it has; no more than [`PART_BYTES_MAX`] of them are kept.
    pub bytes: u64,
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

/// Reads what was set aside.
///
/// # Errors
/// The frame cannot be decoded.
pub fn read<'a>(frame: &Frame<'a>) -> Result<Option<Reject<'a>>, FrameError> {
    if frame.kind != Kind::Reject { Ok(None) } else { frame.items::<Reject<'a>>().next().transpose() }
}
