//! How a snapshot stores what changed: a head, which is small, and segments. The segments of a base have the whole state, those of a
//! cut have what changed since the cut before. A base and all cuts after it began, with the head of the last cut, make the state at that
//! cut.
//!
//! Both are written bit by bit while the desk works. What a cut stores is the state at the cut, whatever comes after it. A base may store
//! parts of later states: what changed since it began is in the cuts after it, too.

use std::collections::VecDeque;

use crate::frame::DecodeError;

/// Maximum size of the changes that are noted and not taken yet, bytes. Beyond it they are given up: the next snapshot begins with a
/// base.
const NOTED_MAX: usize = 64 * 1024 * 1024;

/// Length at which a row of changes ends and another begins, bytes.
pub(crate) const ROW_BYTES: usize = 64 * 1024;

/// What has changed since it was taken last, encoded, in rows of whole changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Noted {
    rows: VecDeque<Vec<u8>>,
    /// Length of all rows but the last, bytes.
    full: usize,
    is_lost: bool,
}

impl Noted {
    /// Where a change is written; `None` if there were too many.
    pub(crate) fn room(&mut self) -> Option<&mut Vec<u8>> {
        if self.is_lost {
            return None;
        }
        let last = self.rows.back().map_or(0, Vec::len);
        if self.full + last >= NOTED_MAX {
            *self = Self { is_lost: true, ..Self::default() };
            return None;
        }
        if self.rows.is_empty() || last >= ROW_BYTES {
            self.full += last;
            self.rows.push_back(Vec::new());
        }
        self.rows.back_mut()
    }

    /// Hands out what was noted. It begins anew.
    pub(crate) fn take(&mut self) -> VecDeque<Vec<u8>> {
        std::mem::take(self).rows
    }

    /// Size of what was noted, bytes; `None` if there was too much.
    pub(crate) fn len(&self) -> Option<usize> {
        (!self.is_lost).then(|| self.full + self.rows.back().map_or(0, Vec::len))
    }
}

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

    /// Writes a part of the cut to the end of `to`, until that has about `until` bytes. Returns whether it was the last.
    fn write_cut(&mut self, _until: usize, _to: &mut Vec<u8>) -> bool {
        true
    }

    /// Begins a base. One that is not written to its end is given up.
    fn begin_base(&mut self) {}

    /// Writes a part of the base to the end of `to`, until that has about `until` bytes. Returns whether it was the last.
    fn write_base(&mut self, _until: usize, _to: &mut Vec<u8>) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{encode_into, take_from_row};

    #[test]
    fn changes_beyond_the_bound_are_given_up() {
        let mut noted = Noted::default();
        let mut written = 0;
        while written < NOTED_MAX {
            noted.room().expect("room").extend([0; 1_000]);
            written += 1_000;
            assert_eq!(noted.len(), Some(written));
        }
        assert!(noted.rows.iter().all(|row| row.len() < ROW_BYTES + 1_000));
        assert!(noted.room().is_none() && noted.len().is_none());
        assert!(noted.room().is_none(), "what is noted now would be of no use");
        assert!(noted.take().is_empty() && noted.room().is_some(), "it begins anew");
    }

    /// A shopper with many orders is one value of tens of MB.
    #[test]
    fn values_of_any_size_are_read_again() {
        for numbers in [vec![1_u128; 3_900_000], vec![1; 9_000_000]] {
            let mut row = Vec::new();
            encode_into(&mut row, &(&numbers, 7_u8));
            let (read, rest) = take_from_row::<(Vec<u128>, u8)>(&row).expect("a row");
            assert!(read == (numbers, 7) && rest.is_empty());
        }
        let mut row = Vec::new();
        encode_into(&mut row, &"text");
        row[0] = 253;
        row.extend([255; 7]);
        assert!(take_from_row::<String>(&row).is_err(), "a length beyond the row");
    }
}
