//! A record of `scans` that is not a frame, is damaged, or cannot be applied: it is copied to `rejects` with its offset, so that no
//! record is lost without a trace.
//!
//! A lane that replays copies it again: the same bytes for the same offset.

use serde::{Deserialize, Serialize};

use crate::frame::{Body, Frame, FrameError, HEADER_BYTES, Kind, PART_BYTES_MAX, seal};
use crate::model::address::{AnswerPos, PartitionId, Provenance, Topic};
use crate::model::time::Millis;

/// Maximum number of bytes of a record that are copied: a whole frame, as large as an edge writes one.
const RECORD_BYTES_MAX: usize = PART_BYTES_MAX + HEADER_BYTES;

/// The copy of the record; the frame's tag has its partition and offset, the frame's `received` is its append time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject<'a> {
    /// Why the record was set aside.
    pub why: &'a str,
    /// Size of the record, bytes; at most [`RECORD_BYTES_MAX`] of them are copied.
    pub bytes: u64,
    /// The beginning of the record.
    #[serde(borrow)]
    pub record: &'a [u8],
}

/// The record for `rejects`.
#[must_use]
pub fn record(source: PartitionId, offset: u64, append: Millis, why: &str, record: &[u8]) -> Vec<u8> {
    let kept = &record[..record.len().min(RECORD_BYTES_MAX)];
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

crate::model::text::words! {
    /// What became of a record that was set aside.
    Handled {
        /// It was appended to `scans` once more.
        SentAgain = "sent-again",
        /// It will not be.
        Discarded = "discarded",
    }
}

/// The record for `rejects` that says what became of the one at an offset of a partition.
#[must_use]
pub fn handled_record(log: u128, partition: u16, offset: u64, now: Millis, handled: Handled) -> Vec<u8> {
    let mut body = Body::default();
    body.push(&handled);
    let source = PartitionId { log, topic: Topic::Scans, partition };
    let tag = Provenance { source, at: AnswerPos { offset, part: 0 }, prev: None, hash: 0 };
    let mut sealed = Vec::new();
    body.drain(|bytes, count| sealed = seal(Kind::RejectHandled, now, Some(&tag), count, bytes));
    sealed
}

/// Reads such a record; `None` if the frame is of another kind.
///
/// # Errors
/// The frame cannot be decoded.
pub fn read_handled(frame: &Frame<'_>) -> Result<Option<Handled>, FrameError> {
    if frame.kind != Kind::RejectHandled { Ok(None) } else { frame.items::<Handled>().next().transpose() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn note_names_the_record_that_it_is_about() {
        for handled in Handled::ALL {
            let record = handled_record(7, 3, 4711, 5, *handled);
            let frame = Frame::open(&record).expect("a frame");
            let tag = frame.tag.expect("a place");
            assert_eq!((tag.source.log, tag.source.partition, tag.at.offset), (7, 3, 4711));
            assert_eq!(read_handled(&frame), Ok(Some(*handled)));
            assert_eq!(read(&frame), Ok(None));
        }
    }
}
