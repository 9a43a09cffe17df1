//! Pairs in memory, in the order of their arrival.

use super::block::Pair;

/// Pairs between two transactions: all bytes in one allocation.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// For each pair: where it begins, where its value begins, where it ends.
    pairs: Vec<[usize; 3]>,
}

impl Buffer {
    /// Adds a pair: `key` appends its key to the bytes, `value` its value.
    pub(crate) fn push(&mut self, key: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        let from = self.bytes.len();
        key(&mut self.bytes);
        let middle = self.bytes.len();
        value(&mut self.bytes);
        self.pairs.push([from, middle, self.bytes.len()]);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Pair<'_>> {
        self.pairs.iter().map(|&[from, middle, to]| (&self.bytes[from..middle], &self.bytes[middle..to]))
    }
}

/// The pairs of several buffers in the order of their keys, one of each key: that with the greatest value.
pub(super) fn sorted<'a>(buffers: &[&'a Buffer]) -> Vec<Pair<'a>> {
    let mut all: Vec<Pair<'a>> = buffers.iter().flat_map(|buffer| buffer.iter()).collect();
    // Of equal keys the greatest value comes first and stays.
    all.sort_unstable_by(|a, b| a.0.cmp(b.0).then_with(|| b.1.cmp(a.1)));
    all.dedup_by(|later, first| later.0 == first.0);
    all
}
