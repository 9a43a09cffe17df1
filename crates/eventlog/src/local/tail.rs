//! The writer's side of a partition: what a round adds to its segments, until the round is shown or taken back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::model::address::PartitionId;
use domain::model::time::Millis;

use crate::error::{LogError, at};
use crate::files::Files;
use crate::local::reader::{Partition, partition_dir};
use crate::local::segment::{Cursor, HEADER_BYTES, Segment, put};

/// The writer's side of a partition.
#[derive(Debug)]
pub(super) struct Tail {
    /// The readers' side.
    pub partition: Arc<Partition>,
    /// The directory of its segments.
    pub dir: PathBuf,
    /// The last segment.
    pub segment: Arc<Segment>,
    /// The size of the last segment in bytes, and the next offset, both as of the last durable round.
    pub bytes: u64,
    pub next: u64,
    /// The next offset as of the last sync of the segments.
    pub synced: u64,
    /// The current round.
    pub round: Round,
}

/// What a round adds to a partition, until the round is shown or taken back.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// The size of the last segment with what the round wrote to it, bytes.
    bytes: u64,
    /// Segments that the round began, and their sizes in bytes.
    begun: Vec<(Arc<Segment>, u64)>,
    buffer: Vec<u8>,
    /// Number of records of the round.
    pub records: u64,
}

impl Tail {
    /// Opens a partition up to the end that was synced. Later records are cut off; the journal holds them.
    pub(super) fn open(files: &dyn Files, dir: &Path, source: PartitionId, end: u64) -> Result<Self, LogError> {
        let dir = partition_dir(dir, source.topic_partition());
        files.create_dir(&dir).map_err(at(&dir, "made"))?;
        let names = files.list(&dir).map_err(at(&dir, "listed"))?;
        let bases: Vec<u64> = names.iter().filter_map(|name| Segment::base_of(name)).collect();
        // Segments that begin at the end or later were begun after the last sync.
        let (kept, begun): (Vec<u64>, Vec<u64>) = bases.into_iter().partition(|&base| base < end);
        if kept.is_empty() && end > 0 {
            let what = format!("offsets up to {end} were synced, and no segment holds them");
            return Err(LogError::Damaged { path: dir, byte: 0, what });
        }
        for base in begun {
            let path = dir.join(Segment::name(base));
            files.remove(&path).map_err(at(&path, "removed"))?;
        }
        let mut segments = Vec::new();
        for base in kept {
            let segment = Segment::open(files, &dir, &source, base)?;
            segment.show(segment.file.len().map_err(at(&segment.path, "measured"))?);
            segments.push(Arc::new(segment));
        }
        if segments.is_empty() {
            segments.push(Arc::new(Segment::create(files, &dir, &source, 0)?));
        }
        let segment = Arc::clone(segments.last().expect("a partition has a segment"));
        let bytes = byte_of(&segment, end)?;
        segment.file.truncate(bytes).map_err(at(&segment.path, "cut"))?;
        segment.show(bytes);
        let partition = Arc::new(Partition::new(source, segments, end));
        let round = Round { bytes, ..Round::default() };
        Ok(Self { partition, dir, segment, bytes, next: end, synced: end, round })
    }

    pub(super) fn is_touched(&self) -> bool {
        self.round.records > 0 || !self.round.begun.is_empty()
    }

    /// Adds a record to the current round.
    pub(super) fn stage(
        &mut self,
        files: &dyn Files,
        segment_bytes: u64,
        offset: u64,
        append: Millis,
        record: &[u8],
    ) -> Result<(), LogError> {
        let expected = self.next + self.round.records;
        if offset != expected {
            let what = format!("the journal holds offset {offset}, the segments end at {expected}");
            return Err(LogError::Damaged { path: self.dir.clone(), byte: 0, what });
        }
        let size =
            self.round.begun.last().map_or(self.round.bytes, |(_, bytes)| *bytes) + self.round.buffer.len() as u64;
        if size >= segment_bytes && size > HEADER_BYTES as u64 {
            self.write()?;
            let begun = Segment::create(files, &self.dir, &self.partition.source(), offset)?;
            self.round.begun.push((Arc::new(begun), HEADER_BYTES as u64));
        }
        put(&mut self.round.buffer, offset, append, record);
        self.round.records += 1;
        Ok(())
    }

    /// Writes the records that the round has buffered.
    pub(super) fn write(&mut self) -> Result<(), LogError> {
        let Round { bytes, begun, buffer, .. } = &mut self.round;
        let (segment, bytes) = begun.last_mut().map_or((&self.segment, bytes), |(segment, bytes)| (&*segment, bytes));
        segment.file.write_at(buffer, *bytes).map_err(at(&segment.path, "written"))?;
        *bytes += buffer.len() as u64;
        buffer.clear();
        Ok(())
    }

    /// Shows the round to readers; returns the segments that it wrote to.
    pub(super) fn show(&mut self) -> Vec<Arc<Segment>> {
        let mut touched = vec![(Arc::clone(&self.segment), self.round.bytes)];
        touched.append(&mut self.round.begun);
        for (segment, bytes) in &touched {
            segment.show(*bytes);
        }
        let touched: Vec<Arc<Segment>> = touched
            .into_iter()
            .map(|(segment, bytes)| {
                self.bytes = bytes;
                segment
            })
            .collect();
        self.segment = Arc::clone(touched.last().expect("the last segment is always in the list"));
        self.round.bytes = self.bytes;
        self.next += std::mem::take(&mut self.round.records);
        let mut shown = self.partition.shown();
        shown.segments.extend(touched[1..].iter().map(Arc::clone));
        shown.end = self.next;
        drop(shown);
        touched
    }

    /// Takes the round back.
    pub(super) fn undo(&mut self, files: &dyn Files) -> Result<(), LogError> {
        let begun = std::mem::take(&mut self.round.begun);
        self.round = Round { bytes: self.bytes, buffer: std::mem::take(&mut self.round.buffer), ..Round::default() };
        self.round.buffer.clear();
        self.segment.file.truncate(self.bytes).map_err(at(&self.segment.path, "cut back"))?;
        for (segment, _) in begun {
            files.remove(&segment.path).map_err(at(&segment.path, "removed"))?;
        }
        Ok(())
    }
}

/// The append time of a segment's first record.
pub(super) fn first_append(segment: &Segment) -> Result<Millis, LogError> {
    let first = Cursor::new().next(segment, segment.shown(), segment.base)?.map(|found| found.append);
    Ok(first.unwrap_or(Millis::MAX))
}

/// The byte where an offset begins in a segment. All records before it must be whole.
fn byte_of(segment: &Segment, offset: u64) -> Result<u64, LogError> {
    let mut cursor = Cursor::new();
    for expected in segment.base..offset {
        if cursor.next(segment, segment.shown(), expected)?.is_none() {
            let what = format!("it ends before offset {expected}, but offsets up to {offset} were synced");
            return Err(segment.damaged(cursor.at, what));
        }
    }
    Ok(cursor.at)
}
