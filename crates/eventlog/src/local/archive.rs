//! Reads a log without repairing, locking or changing it; another process may have it open.
//!
//! The journals are read first, then the segments up to where the journals begin. If the log is written meanwhile, the reader
//! sees what it held when it was opened.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use domain::model::address::{PartitionId, Topic, TopicPartition};
use domain::model::time::Millis;

use crate::api::Record;
use crate::error::{LogError, at};
use crate::files::Files;
use crate::local::journal::{self, OldJournal};
use crate::local::meta::{JOURNAL, Meta, read_meta};
use crate::local::reader::{Partition, Reader, partition_dir};
use crate::local::segment::Segment;

const MEND: &str = "records were deleted while they were read; read the log again";

/// The partitions of one topic.
#[derive(Debug)]
pub struct Archive {
    /// The log.
    pub meta: Meta,
    /// The partitions, in their order.
    pub partitions: Vec<Records>,
}

/// The records of one partition, in order.
#[derive(Debug)]
pub struct Records(Box<dyn Next>);

/// A source of the records of one partition.
pub trait Next: Send + std::fmt::Debug {
    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// The record is damaged; no record is skipped.
    fn next_record(&mut self) -> Result<Option<Record<'_>>, LogError>;
}

/// The records of one partition in files.
#[derive(Debug)]
struct FileRecords {
    reader: Reader,
    /// Records that only the journals hold.
    tail: std::vec::IntoIter<Tail>,
    last: Option<Tail>,
}

#[derive(Debug)]
struct Tail {
    offset: u64,
    append: Millis,
    bytes: Vec<u8>,
}

impl Archive {
    /// Opens the log in a directory to read a topic.
    ///
    /// # Errors
    /// There is no log, or it is damaged.
    pub fn open(files: &dyn Files, dir: &Path, topic: Topic) -> Result<Self, LogError> {
        let meta = read_meta(files, dir)?.ok_or_else(|| LogError::Missing { dir: dir.to_owned() })?;
        let journals = dir.join(JOURNAL);
        let names = files.list(&journals).map_err(at(&journals, "listed"))?;
        let mut ends: Option<BTreeMap<TopicPartition, u64>> = None;
        let mut tails: BTreeMap<u16, Vec<Tail>> = BTreeMap::new();
        for number in names.iter().filter_map(|name| journal::number_of(name)) {
            let old = OldJournal::open(files, &journals, number)?;
            ends.get_or_insert_with(|| old.ends.iter().copied().collect());
            old.records(|of, offset, append, record| {
                if of.topic == topic {
                    let tail = Tail { offset, append, bytes: record.to_vec() };
                    tails.entry(of.partition).or_default().push(tail);
                }
                Ok(())
            })?;
        }
        let ends = ends.unwrap_or_default();
        let partitions = (0..meta.partitions.of(topic)).map(|partition| {
            let own = TopicPartition::new(topic, partition);
            let end = ends.get(&own).copied().unwrap_or(0);
            let reader = segments(files, dir, meta.source(own), end)?;
            let tail = tails.remove(&partition).unwrap_or_default().into_iter();
            Ok(Records::of(Box::new(FileRecords { reader, tail, last: None })))
        });
        Ok(Self { partitions: partitions.collect::<Result<_, LogError>>()?, meta })
    }
}

fn segments(files: &dyn Files, dir: &Path, source: PartitionId, end: u64) -> Result<Reader, LogError> {
    let dir = partition_dir(dir, source.topic_partition());
    let names = files.list(&dir).map_err(at(&dir, "listed"))?;
    let mut segments = Vec::new();
    for base in names.iter().filter_map(|name| Segment::base_of(name)).filter(|&base| base < end) {
        let segment = Segment::open(files, &dir, &source, base)?;
        segment.show(segment.file.len().map_err(at(&segment.path, "measured"))?);
        segments.push(Arc::new(segment));
    }
    let partition = Arc::new(Partition::new(source, segments, end));
    let start = partition.start();
    Reader::open(partition, start, MEND)
}

impl Records {
    /// The records of a source.
    pub fn of(source: Box<dyn Next>) -> Self {
        Self(source)
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// The record is damaged; no record is skipped.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, LogError> {
        self.0.next_record()
    }
}

impl Next for FileRecords {
    fn next_record(&mut self) -> Result<Option<Record<'_>>, LogError> {
        if self.reader.lag() > 0 {
            return self.reader.next_record();
        }
        self.last = self.tail.next();
        Ok(self.last.as_ref().map(|t| Record { offset: t.offset, append: t.append, bytes: &t.bytes }))
    }
}
