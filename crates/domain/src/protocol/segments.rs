//! How a snapshot stores what changed: a head, which is small, and segments. The segments of a base have the whole state, those of a
//! cut have what changed since the cut before. A base and all cuts after it began, with the head of the last cut, make the state at that
//! cut.
//!
//! Both are written bit by bit while the desk works. What a cut stores is the state at the cut, whatever comes after it. A base may store
//! parts of later states: what changed since it began is in the cuts after it, too.

use crate::frame::DecodeError;

/// A desk that can store its state in segments. The defaults are for desks that store it as a whole each time.
pub trait Segments {
    /// Whether the state is stored in segments.
    fn has_segments(&self) -> bool {
        false
    }

    /// From now on it notes what changes.
    fn track(&mut self) {}

    /// Approximate size of the changes that are noted, bytes; `None` if there were too many to note: then a new base is needed.
    fn changed_bytes(&self) -> Option<usize> {
        Some(0)
    }

    /// Begins a cut: what was noted is stored by it. The cut before is written to its end.
    fn cut(&mut self) {}

    /// Writes a part of the cut to the end of `to`, of about `bytes` bytes. Returns whether it was the last.
    fn write_cut(&mut self, _bytes: usize, _to: &mut Vec<u8>) -> bool {
        true
    }

    /// Begins a base. One that is not written to its end is given up.
    fn begin_base(&mut self) {}

    /// Writes a part of the base to the end of `to`, of about `bytes` bytes. Returns whether it was the last.
    fn write_base(&mut self, _bytes: usize, _to: &mut Vec<u8>) -> bool {
        true
    }

    /// Restores a segment, of the base first, then of each cut.
    ///
    /// # Errors
    /// The bytes are no segment.
    fn load_segment(&mut self, _bytes: &[u8]) -> Result<(), DecodeError> {
        Err(DecodeError::Malformed("this desk has no segments".to_owned()))
    }

    /// All segments are restored.
    fn loaded(&mut self) {}
}
