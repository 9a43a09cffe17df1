//! The readers' side of a partition: durable records only.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::model::address::PartitionId;

use crate::local::segment::Segment;

/// The readers' side of a partition.
#[derive(Debug)]
pub struct Partition {
    source: PartitionId,
    shown: Mutex<Shown>,
}

#[derive(Debug)]
pub struct Shown {
    pub segments: Vec<Arc<Segment>>,
    /// The offset after the last record that may be seen.
    pub end: u64,
}

impl Partition {
    pub fn new(source: PartitionId, segments: Vec<Arc<Segment>>, end: u64) -> Self {
        Self { source, shown: Mutex::new(Shown { segments, end }) }
    }

    /// The first offset that the log still holds.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.shown().segments.first().map_or(0, |s| s.base)
    }

    /// The offset after the last record that may be seen.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.shown().end
    }

    #[must_use]
    pub fn source(&self) -> PartitionId {
        self.source
    }

    /// `scans partition 0`, as messages name it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} partition {}", self.source.topic, self.source.partition)
    }

    /// The segment that holds an offset; for the partition's end, the last segment.
    pub fn segment(&self, offset: u64) -> Option<Arc<Segment>> {
        let shown = self.shown();
        let after = shown.segments.partition_point(|s| s.base <= offset);
        after.checked_sub(1).map(|i| Arc::clone(&shown.segments[i]))
    }

    pub fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The directory of a partition's segments.
pub fn partition_dir(dir: &Path, source: &PartitionId) -> PathBuf {
    dir.join(source.topic.as_str()).join(source.partition.to_string())
}
