//! Entries in memory, in the order of their arrival.

use super::block::Entry;

/// Entries between two transactions: all bytes in one allocation.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// For each entry: where it begins, where its value begins, where it ends.
    entries: Vec<[usize; 3]>,
}

impl Buffer {
    /// Adds an entry: `key` appends its key to the bytes, `value` its value.
    pub(crate) fn push(&mut self, key: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        let from = self.bytes.len();
        key(&mut self.bytes);
        let middle = self.bytes.len();
        value(&mut self.bytes);
        self.entries.push([from, middle, self.bytes.len()]);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries.iter().map(|&[from, middle, to]| (&self.bytes[from..middle], &self.bytes[middle..to]))
    }
}

/// The entries of several buffers in the order of their keys, one of each key: that with the greatest value.
pub(super) fn sorted<'a>(buffers: &[&'a Buffer]) -> Vec<Entry<'a>> {
    let mut all: Vec<Entry<'a>> = buffers.iter().flat_map(|buffer| buffer.iter()).collect();
    // Of equal keys the greatest value comes first and stays.
    all.sort_unstable_by(|a, b| a.0.cmp(b.0).then_with(|| b.1.cmp(a.1)));
    all.dedup_by(|later, first| later.0 == first.0);
    all
}
