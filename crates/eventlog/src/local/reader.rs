//! The readers' side of a partition: its durable records, in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::model::address::{PartitionId, TopicPartition};
use parking_lot::{Mutex, MutexGuard};

use crate::api::Record;
use crate::error::LogError;
use crate::local::segment::{Cursor, Segment};

/// The readers' side of a partition.
#[derive(Debug)]
pub struct Partition {
    source: PartitionId,
    shown: Mutex<Shown>,
}

/// What readers may see.
#[derive(Debug)]
pub struct Shown {
    /// The segments, the oldest first.
    pub segments: Vec<Arc<Segment>>,
    /// The offset after the last record that may be seen.
    pub end: u64,
}

impl Partition {
    /// A partition with these segments, shown up to an offset.
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

    /// The partition of which log it is.
    #[must_use]
    pub fn source(&self) -> PartitionId {
        self.source
    }

    /// `scans partition 0`, as messages name it.
    #[must_use]
    pub fn name(&self) -> String {
        self.source.to_string()
    }

    /// The segment that holds an offset; for the partition's end, the last segment.
    pub fn segment(&self, offset: u64) -> Option<Arc<Segment>> {
        let shown = self.shown();
        let after = shown.segments.partition_point(|s| s.base <= offset);
        after.checked_sub(1).map(|i| Arc::clone(&shown.segments[i]))
    }

    /// What readers may see now, locked.
    pub fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock()
    }
}

/// The directory of a partition's segments.
pub(crate) fn partition_dir(dir: &Path, partition: TopicPartition) -> PathBuf {
    dir.join(partition.topic.as_str()).join(partition.partition.to_string())
}

/// Reads a partition from an offset on.
#[derive(Debug)]
pub struct Reader {
    partition: Arc<Partition>,
    next: u64,
    mend: &'static str,
    at: Option<(Arc<Segment>, Cursor)>,
}

impl Reader {
    /// A reader whose first record is the one at `from`.
    ///
    /// # Errors
    /// The log begins later or ends earlier, or cannot be read up to `from`. `mend` is the fix that the error names if the log
    /// begins later.
    pub fn open(partition: Arc<Partition>, from: u64, mend: &'static str) -> Result<Self, LogError> {
        let (start, end) = (partition.start(), partition.end());
        if from < start {
            return Err(LogError::Retired { partition: partition.name(), wanted: from, start, mend });
        }
        if from > end {
            return Err(LogError::Short { partition: partition.name(), wanted: from, end });
        }
        let mut reader = Self { partition, next: start.max(from), mend, at: None };
        if let Some(segment) = reader.partition.segment(from) {
            let mut cursor = Cursor::new();
            for expected in segment.base..from {
                if cursor.next(&segment, segment.shown(), expected)?.is_none() {
                    return Err(segment.damaged(cursor.at, format!("it ends before offset {expected}")));
                }
            }
            reader.at = Some((segment, cursor));
        }
        Ok(reader)
    }

    /// The partition that it reads.
    #[must_use]
    pub fn source(&self) -> PartitionId {
        self.partition.source()
    }

    /// The offset of the next record.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// The number of durable records that are not read yet.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.partition.end() - self.next
    }

    /// The next record; `None` if there is none yet.
    ///
    /// # Errors
    /// The record is damaged, or was deleted before it was read; no record is skipped.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, LogError> {
        if self.next >= self.partition.end() {
            return Ok(None);
        }
        let is_over = self.at.as_ref().is_none_or(|(segment, cursor)| cursor.at >= segment.shown());
        if is_over {
            let Some(segment) = self.partition.segment(self.next) else {
                let (partition, start) = (self.partition.name(), self.partition.start());
                return Err(LogError::Retired { partition, wanted: self.next, start, mend: self.mend });
            };
            if segment.base != self.next {
                let what = format!("it ends before offset {}, which was written", self.next);
                return Err(segment.damaged(segment.shown(), what));
            }
            self.at = Some((segment, Cursor::new()));
        }
        let Some((segment, cursor)) = &mut self.at else { return Ok(None) };
        let offset = self.next;
        let at = cursor.at;
        match cursor.next(segment, segment.shown(), offset)? {
            Some(f) => {
                self.next += 1;
                Ok(Some(Record { offset: f.offset, append: f.append, bytes: f.record }))
            }
            // The offset is below the partition's end, so its record was written.
            None => Err(segment.damaged(at, format!("it ends before offset {offset}, which was written"))),
        }
    }
}
