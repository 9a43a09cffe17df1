//! What happened, step by step: two runs of one seed must give the same trace.

use std::collections::BTreeMap;
use std::fmt::{Arguments, Write};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A running hash of everything that happened, and its lines if they are requested.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub hash: u64,
    pub steps: u64,
    pub lines: Option<Vec<String>>,
    /// How often each thing happened.
    pub counts: BTreeMap<&'static str, u64>,
    buffer: String,
}

impl Trace {
    #[must_use]
    pub(crate) fn new(keeps_lines: bool) -> Self {
        Self { lines: keeps_lines.then(Vec::new), ..Self::default() }
    }

    /// Records one step of a kind.
    pub(crate) fn note(&mut self, kind: &'static str, what: Arguments<'_>) {
        self.steps += 1;
        *self.counts.entry(kind).or_default() += 1;
        self.buffer.clear();
        let _ = write!(self.buffer, "{kind} {what}");
        self.hash = xxh3_64_with_seed(self.buffer.as_bytes(), self.hash);
        if let Some(lines) = &mut self.lines {
            lines.push(self.buffer.clone());
        }
    }

    /// Counts things that are no steps.
    pub(crate) fn count(&mut self, counts: BTreeMap<&'static str, u64>) {
        counts.into_iter().for_each(|(kind, n)| *self.counts.entry(kind).or_default() += n);
    }

    /// Adds bytes that a step produced to the hash.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.hash = xxh3_64_with_seed(bytes, self.hash);
    }
}
