//! Reads the records of an archive back, and behind them those that the log still holds.

use domain::model::time::Millis;

use crate::api::Record;
use crate::archive::Archive;
use crate::archive::segment::{Header, Segment};
use crate::error::LogError;
use crate::local::meta::Meta;
use crate::local::topic_reader::{Behind, Next, Records, Start, TopicReader};

/// An archive that is being read.
#[derive(Debug)]
pub struct Opened {
    /// Its partitions.
    pub reader: TopicReader,
    /// Where the log goes on.
    pub behind: Behind,
}

impl Archive {
    /// Opens the archive to read it: of each partition from the segment on that has the first event received at or after `from`.
    ///
    /// # Errors
    /// Nothing was archived here, the store does not answer, or a segment is damaged.
    pub fn open(&self, from: Option<Millis>) -> Result<Opened, LogError> {
        let meta = self.existing()?;
        let mut partitions = Vec::new();
        let mut starts = Vec::new();
        for partition in 0..meta.partitions.scans {
            let mut firsts = self.segments(partition)?;
            let Some(&last) = firsts.last() else {
                partitions.push(Records::default());
                starts.push(Start::default());
                continue;
            };
            let last = self.header(&meta, partition, last)?;
            let is_before = |header: &Header| from.is_some_and(|from| header.received_to.is_none_or(|to| to < from));
            // What was removed from the log before it was archived may lie before the first event that is wanted.
            let must_follow = !is_before(&last);
            starts.push(Start { offset: last.last_offset + 1, must_follow, received_before: last.received_to });
            let skipped = if must_follow { self.skipped(&meta, partition, &firsts, &is_before)? } else { firsts.len() };
            firsts.drain(..skipped);
            let Some(&first) = firsts.first() else {
                partitions.push(Records::default());
                continue;
            };
            let header = self.header(&meta, partition, first)?;
            let (begins_day, received_before) = (header.begins_day, header.received_before);
            let records = ArchivedRecords {
                archive: self.clone(),
                meta: meta.clone(),
                partition,
                firsts: firsts.into_iter(),
                next: None,
                open: None,
            };
            partitions.push(Records::of(Box::new(records)).beginning(begins_day, received_before));
        }
        let behind = Behind { archive: self.objects.address(""), meta: meta.clone(), starts };
        Ok(Opened { reader: TopicReader { meta, partitions }, behind })
    }

    /// How many segments lie before the first that is wanted. `received` never goes back, so half of them are ruled out by each header.
    fn skipped(
        &self,
        meta: &Meta,
        partition: u16,
        firsts: &[u64],
        is_before: &dyn Fn(&Header) -> bool,
    ) -> Result<usize, LogError> {
        let (mut low, mut high) = (0, firsts.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if is_before(&self.header(meta, partition, firsts[middle])?) { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }
}

/// The archived records of one partition.
#[derive(Debug)]
struct ArchivedRecords {
    archive: Archive,
    meta: Meta,
    partition: u16,
    /// The first offsets of the segments that are left.
    firsts: std::vec::IntoIter<u64>,
    /// The offset that must come next; `None` before the first record.
    next: Option<u64>,
    open: Option<Segment>,
}

impl ArchivedRecords {
    /// Reads on to a segment with a record that is left; `false` if there is none.
    fn advance(&mut self) -> Result<bool, LogError> {
        loop {
            let Some(segment) = &mut self.open else {
                if !self.open_next()? {
                    return Ok(false);
                }
                continue;
            };
            if !segment.is_read() {
                return Ok(true);
            }
            let (first, next) = (segment.header.first_offset, segment.header.last_offset + 1);
            segment.end().map_err(|wrong| wrong.at(self.archive.address(self.partition, first)))?;
            self.next = self.next.max(Some(next));
            self.open = None;
        }
    }

    /// Opens the next segment; `false` if there is none.
    fn open_next(&mut self) -> Result<bool, LogError> {
        let Some(first) = self.firsts.next() else { return Ok(false) };
        let next = self.next.unwrap_or(first);
        if next < first {
            return Err(self.archive.hole(self.partition, next, first - 1));
        }
        let mut segment = self.archive.segment(&self.meta, self.partition, first)?;
        // Of two processes, one of which found that the log begins later, both may have written the same records.
        let skipped = segment.skip_below(next);
        skipped.map_err(|wrong| wrong.at(self.archive.address(self.partition, first)))?;
        self.open = Some(segment);
        Ok(true)
    }
}

impl Next for ArchivedRecords {
    fn has_next(&mut self) -> Result<bool, LogError> {
        self.advance()
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>, LogError> {
        if !self.advance()? {
            return Ok(None);
        }
        let Some(segment) = &mut self.open else { return Ok(None) };
        let (archive, partition, first) = (&self.archive, self.partition, segment.header.first_offset);
        segment.next_record().map_err(|wrong| wrong.at(archive.address(partition, first)))
    }
}
