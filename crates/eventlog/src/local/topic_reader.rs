//! Reads a log without repairing, locking or changing it; another process may have it open.
//!
//! The journals are read first, then the segments up to where the journals begin. If the log is written meanwhile, the reader
//! sees what it held when it was opened.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
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

const AFTER_ARCHIVE: &str = "they were not archived before: read what comes after them with `log dump --from`";
const MEND: &str = "records were deleted while they were read; read the log again";

/// The partitions of one topic.
#[derive(Debug)]
pub struct TopicReader {
    /// The log.
    pub meta: Meta,
    /// The partitions, in their order.
    pub partitions: Vec<Records>,
}

/// The records of one partition, in order.
#[derive(Debug, Default)]
pub struct Records {
    /// One after the other.
    sources: VecDeque<Box<dyn Next>>,
    /// Whether the first record is the first of its day although it is not the first of the log.
    pub begins_day: bool,
    /// The latest `received` before the first record, as far as it is known.
    pub received_before: Option<Millis>,
}

/// Where the records of a partition begin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// The first offset that is wanted; the log may begin later.
    pub offset: u64,
    /// Whether it may not.
    pub must_follow: bool,
    /// The latest `received` before it, as far as it is known.
    pub received_before: Option<Millis>,
}

/// Where an archive ends, and its log goes on.
#[derive(Clone, Debug)]
pub struct Behind {
    /// Where the archive is.
    pub archive: String,
    /// The log.
    pub meta: Meta,
    /// By partition.
    pub starts: Vec<Start>,
}

impl Behind {
    /// The places to read a log from.
    pub(crate) fn of<'b>(behind: Option<&'b Self>, meta: &Meta) -> Result<&'b [Start], LogError> {
        match behind {
            None => Ok(&[]),
            Some(behind) if behind.meta == *meta => Ok(&behind.starts),
            Some(Self { archive, meta: found, .. }) => {
                Err(LogError::OtherArchive { object: archive.clone(), found: found.id(), wanted: meta.id() })
            }
        }
    }
}

impl Start {
    /// The offset to read from, in a log that has these offsets.
    pub(crate) fn within(&self, has: Range<u64>, partition: &str) -> Result<u64, LogError> {
        if self.offset > has.end {
            return Err(LogError::Short { partition: partition.to_owned(), wanted: self.offset, end: has.end });
        }
        if self.must_follow && has.start > self.offset {
            let (partition, wanted, start) = (partition.to_owned(), self.offset, has.start);
            return Err(LogError::Retired { partition, wanted, start, mend: AFTER_ARCHIVE });
        }
        Ok(self.offset.max(has.start))
    }
}

/// A source of the records of one partition.
pub trait Next: Send + std::fmt::Debug {
    /// Whether there is a further record.
    ///
    /// # Errors
    /// It cannot be read.
    fn has_next(&mut self) -> Result<bool, LogError>;

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

impl TopicReader {
    /// Opens the log in a directory to read a topic.
    ///
    /// # Errors
    /// There is no log, or it is damaged.
    pub fn open(files: &dyn Files, dir: &Path, topic: Topic) -> Result<Self, LogError> {
        Self::open_behind(files, dir, topic, None)
    }

    /// The same, from where its archive ends.
    ///
    /// # Errors
    /// As [`TopicReader::open`], or the log does not hold what must follow, or it is the archive of another log.
    pub fn open_behind(files: &dyn Files, dir: &Path, topic: Topic, behind: Option<&Behind>) -> Result<Self, LogError> {
        let meta = read_meta(files, dir)?.ok_or_else(|| LogError::Missing { dir: dir.to_owned() })?;
        let starts = Behind::of(behind, &meta)?;
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
        let partitions = (0..meta.partitions.of(topic)).map(|number| {
            let own = TopicPartition::new(topic, number);
            let end = ends.get(&own).copied().unwrap_or(0);
            let mut tail = tails.remove(&number).unwrap_or_default();
            let partition = partition(files, dir, meta.source(own), end)?;
            let start = starts.get(usize::from(number)).copied().unwrap_or_default();
            let last = tail.last().map_or(end, |last| last.offset + 1);
            let from = start.within(partition.start()..last, &partition.name())?;
            tail.retain(|record| record.offset >= from);
            let reader = Reader::open(partition, from.min(end), MEND)?;
            let records = FileRecords { reader, tail: tail.into_iter(), last: None };
            Ok(Records::of(Box::new(records)).beginning(false, start.received_before))
        });
        Ok(Self { partitions: partitions.collect::<Result<_, LogError>>()?, meta })
    }

    /// The same records, and behind them those of another reader of the same log, by partition.
    #[must_use]
    pub fn followed_by(self, behind: Self) -> Self {
        let partitions = self.partitions.into_iter().zip(behind.partitions);
        Self { meta: self.meta, partitions: partitions.map(|(first, then)| first.followed_by(then)).collect() }
    }
}

fn partition(files: &dyn Files, dir: &Path, source: PartitionId, end: u64) -> Result<Arc<Partition>, LogError> {
    let dir = partition_dir(dir, source.topic_partition());
    let names = files.list(&dir).map_err(at(&dir, "listed"))?;
    let mut segments = Vec::new();
    for base in names.iter().filter_map(|name| Segment::base_of(name)).filter(|&base| base < end) {
        let segment = Segment::open(files, &dir, &source, base)?;
        segment.show(segment.file.len().map_err(at(&segment.path, "measured"))?);
        segments.push(Arc::new(segment));
    }
    Ok(Arc::new(Partition::new(source, segments, end)))
}

impl Records {
    /// The records of a source.
    pub fn of(source: Box<dyn Next>) -> Self {
        Self { sources: VecDeque::from([source]), ..Self::default() }
    }

    /// The same, with what is known of the first record.
    #[must_use]
    pub fn beginning(self, begins_day: bool, received_before: Option<Millis>) -> Self {
        Self { begins_day, received_before, ..self }
    }

    /// These records, then others.
    fn followed_by(mut self, then: Self) -> Self {
        if self.sources.is_empty() {
            return then;
        }
        self.sources.extend(then.sources);
        self
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// The record is damaged or missing; no record is skipped.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, LogError> {
        while let Some(source) = self.sources.front_mut()
            && !source.has_next()?
        {
            self.sources.pop_front();
        }
        self.sources.front_mut().map_or(Ok(None), |source| source.next_record())
    }
}

impl Next for FileRecords {
    fn has_next(&mut self) -> Result<bool, LogError> {
        Ok(self.reader.lag() > 0 || self.tail.len() > 0)
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>, LogError> {
        if self.reader.lag() > 0 {
            return self.reader.next_record();
        }
        self.last = self.tail.next();
        Ok(self.last.as_ref().map(|t| Record { offset: t.offset, append: t.append, bytes: &t.bytes }))
    }
}
