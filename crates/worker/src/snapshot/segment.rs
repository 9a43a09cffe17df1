//! Segments: the pieces in which a large state is stored, each written once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// The segments of a state, in the order in which they are restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The offset at which its base began: no segment has a lower one.
    pub since: u64,
    /// The base, then what changed.
    pub segments: Vec<Segment>,
    /// What became of those that were handed out, and how many they were.
    pub(crate) fate: Fate,
    pub(crate) handed_out: u64,
}

/// A segment that is written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// The name of its object.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    pub(crate) crc32c: u32,
}

/// A segment that is not written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSegment {
    /// What the manifest says of it.
    pub segment: Segment,
    /// Its content.
    pub bytes: Vec<u8>,
    pub(crate) fate: Fate,
}

/// What becomes of the segments and manifests that a task hands out, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fate(Arc<Written>);

#[derive(Debug, Default)]
struct Written {
    count: AtomicU64,
    has_failed: AtomicBool,
    /// Names of segments that were written ahead of their manifest.
    ahead: Mutex<Vec<String>>,
}

impl Fate {
    /// Whether nothing that was handed out is with a writer any more.
    pub(crate) fn is_known(&self, kept: usize) -> bool {
        Arc::strong_count(&self.0) <= kept
    }

    /// Number of segments and manifests that were written.
    pub(crate) fn written(&self) -> u64 {
        self.0.count.load(Ordering::Acquire)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.0.has_failed.load(Ordering::Acquire)
    }

    /// A segment is written, of which no manifest knows yet.
    pub(crate) fn wrote(&self, name: &str) {
        self.0.ahead.lock().push(name.to_owned());
        self.0.count.fetch_add(1, Ordering::AcqRel);
    }

    /// A manifest is written that has all segments so far.
    pub(crate) fn published(&self) {
        self.0.ahead.lock().clear();
        self.0.count.fetch_add(1, Ordering::AcqRel);
    }

    /// Nothing more will be published. Returns the names of the segments that no manifest knows.
    pub(crate) fn fail(&self) -> Vec<String> {
        self.0.has_failed.store(true, Ordering::Release);
        std::mem::take(&mut *self.0.ahead.lock())
    }
}

/// Equal states may have different fates.
impl PartialEq for Fate {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Fate {}

/// Sizes of segments.
#[derive(Clone, Copy, Debug)]
pub struct SegmentSizes {
    /// Length at which a segment ends, bytes.
    pub segment: usize,
    /// Length of the changes from which on a new base may be due, bytes. It is due when they are also half as long as the base.
    pub base_after: u64,
}

impl Default for SegmentSizes {
    fn default() -> Self {
        Self { segment: 8 * 1024 * 1024, base_after: 32 * 1024 * 1024 }
    }
}

/// What a segment stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    Base,
    Cut,
}

impl SegmentKind {
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Base => 'b',
            Self::Cut => 'c',
        }
    }
}

impl Segment {
    /// Whether it is a part of the base.
    pub(crate) fn is_base(&self) -> bool {
        self.name.as_bytes().get(21) == Some(&(SegmentKind::Base.letter() as u8))
    }
}
