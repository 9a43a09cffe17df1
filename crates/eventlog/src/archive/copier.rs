//! Copies what a log holds of a partition of `scans` into its archive.

use std::ops::ControlFlow;
use std::time::Duration;

use domain::model::address::{Topic, TopicPartition};
use domain::model::time::{DAY_MS, Millis};
use domain::protocol::merkle::leaf;

use crate::api::{Consumer, Record, now_ms, try_poll};
use crate::archive::Archive;
use crate::archive::segment::{Builder, Header};
use crate::error::LogError;
use crate::local::meta::{Clock, Meta};
use crate::scans::{ReceivedClock, events_of};

/// Maximum wait of one poll; the poll is then repeated.
const POLL: Duration = Duration::from_millis(200);
/// Number of polls without a record after which the rest is left for later.
const POLLS_EMPTY_MAX: u32 = 50;
/// Maximum number of segments that one call removes; the rest is left for the next call.
const REMOVED_MAX: usize = 10_000;
const MEND: &str = "records were deleted while they were archived";

/// Copies partitions of a log.
#[derive(Debug)]
pub struct Copier {
    archive: Archive,
    meta: Meta,
}

/// What one call did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Number of segments that it created, and their size.
    pub segments: u64,
    /// See `segments`.
    pub bytes: u64,
    /// The first offset that is not archived.
    pub next: u64,
    /// Number of records that the log removed before they were archived.
    pub lost: u64,
    /// Whether everything that the log held at the beginning is archived.
    pub is_whole: bool,
}

impl Copier {
    /// For a log and its archive.
    #[must_use]
    pub fn new(archive: Archive, meta: Meta) -> Self {
        Self { archive, meta }
    }

    /// Makes the archive that of this log, if it is none yet.
    ///
    /// # Errors
    /// The store does not answer, or this is the archive of another log.
    pub fn claim(&self) -> Result<(), LogError> {
        self.archive.claim(&self.meta)
    }

    /// The last segment of a partition; `None` if there is none.
    ///
    /// # Errors
    /// The store does not answer, or the segment is damaged.
    pub fn last(&self, partition: u16) -> Result<Option<Header>, LogError> {
        let firsts = self.archive.segments(partition)?;
        firsts.last().map(|&first| self.archive.header(&self.meta, partition, first)).transpose()
    }

    /// Copies what the log holds now of a partition. It returns early when `is_stopping` says so, and when another process copies the
    /// same partition.
    ///
    /// # Errors
    /// The log or the store does not answer, or the log is not what was archived of it. The consumer must then be dropped.
    pub fn copy(
        &self,
        consumer: &mut dyn Consumer,
        partition: u16,
        is_stopping: &dyn Fn() -> bool,
    ) -> Result<Copied, LogError> {
        let of = TopicPartition::new(Topic::Scans, partition);
        let bounds = consumer.bounds(of)?;
        let last = self.last(partition)?;
        let next = last.as_ref().map_or(bounds.start, |last| last.last_offset + 1);
        if next > bounds.end {
            return Err(LogError::Short { partition: of.to_string(), wanted: next, end: bounds.end });
        }
        let mut copied = Copied { next, is_whole: next == bounds.end, ..Copied::default() };
        if copied.is_whole {
            return Ok(copied);
        }
        // The last archived record is read again: it must be the same.
        let known = last.as_ref().filter(|last| bounds.contains(&last.last_offset));
        let from = known.map_or(next.max(bounds.start), |last| last.last_offset);
        copied.lost = if last.is_some() { bounds.start.saturating_sub(next) } else { 0 };
        let received_before = last.as_ref().and_then(|last| last.received_to);
        let mut run = Run {
            copier: self,
            partition,
            received: ReceivedClock::new(self.meta.clock, received_before),
            known,
            next_begins_day: from == 0,
            is_after_hole: copied.lost > 0,
            builder: None,
            copied,
            is_overtaken: false,
        };
        consumer.assign(of, from, MEND)?;
        let mut empty = 0;
        let mut at = from;
        while at < bounds.end && empty < POLLS_EMPTY_MAX && !is_stopping() {
            let (count, result) = try_poll(consumer, POLL, |_, record| {
                if record.offset >= bounds.end {
                    at = record.offset;
                    return Ok(ControlFlow::Break(()));
                }
                at = record.offset + 1;
                run.take(&record)?;
                Ok(if run.is_overtaken { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            result?;
            if run.is_overtaken {
                break;
            }
            empty = if count == 0 { empty + 1 } else { 0 };
        }
        consumer.revoke(of);
        if !run.is_overtaken && !is_stopping() {
            run.close()?;
            run.copied.is_whole = at >= bounds.end && !run.is_overtaken;
        }
        Ok(run.copied)
    }

    /// Removes a partition's segments of days that ended longer than `keep` ago. The last segment stays: the next one goes on behind it.
    ///
    /// # Errors
    /// The store does not answer, or a segment is damaged.
    pub fn remove_old(&self, partition: u16, keep: Duration) -> Result<usize, LogError> {
        let firsts = self.archive.segments(partition)?;
        let keep = Millis::try_from(keep.as_millis()).unwrap_or(Millis::MAX);
        let mut old = 0;
        let Some((_, before_last)) = firsts.split_last() else { return Ok(0) };
        let now = match self.meta.clock {
            Clock::Wall => now_ms(),
            Clock::Event => self.last(partition)?.and_then(|last| last.received_to).unwrap_or(0),
        };
        for &first in before_last.iter().take(REMOVED_MAX) {
            let day = self.archive.header(&self.meta, partition, first)?.day();
            // What comes before the first event goes with that event's day.
            if day.is_some_and(|day| (day + 1).saturating_mul(DAY_MS).saturating_add(keep) > now) {
                break;
            }
            old += 1;
        }
        if old > 0 {
            self.archive.remove(partition, &firsts[..old])?;
        }
        Ok(old)
    }
}

/// One call of [`Copier::copy`].
struct Run<'c> {
    copier: &'c Copier,
    partition: u16,
    received: ReceivedClock,
    /// The last segment, until its last record was compared.
    known: Option<&'c Header>,
    /// Whether the next segment begins a day.
    next_begins_day: bool,
    /// Whether the log removed what came before the next record: it may have been of the same day.
    is_after_hole: bool,
    builder: Option<Builder>,
    copied: Copied,
    /// Whether another process has created the segment that this one made.
    is_overtaken: bool,
}

impl Run<'_> {
    /// Takes the next record of the log.
    fn take(&mut self, record: &Record<'_>) -> Result<(), LogError> {
        if let Some(known) = self.known.take() {
            if leaf(record.bytes) != known.last_leaf {
                return Err(LogError::Rewritten {
                    partition: TopicPartition::new(Topic::Scans, self.partition).to_string(),
                    offset: record.offset,
                    object: self.copier.archive.address(self.partition, known.first_offset),
                });
            }
            return Ok(());
        }
        let before = self.received.latest;
        for event in events_of(self.partition, record)? {
            self.received.take(&event, record.append);
        }
        let day = self.received.latest.map(|received| received.div_euclid(DAY_MS));
        let is_other_day = self
            .builder
            .as_ref()
            .map_or(before.map(|at| at.div_euclid(DAY_MS)), Builder::day)
            .is_some_and(|of| Some(of) != day);
        if is_other_day || self.builder.as_ref().is_some_and(Builder::is_full) {
            self.close()?;
            if self.is_overtaken {
                return Ok(());
            }
        }
        let is_after_hole = std::mem::take(&mut self.is_after_hole);
        self.next_begins_day |= is_other_day && !is_after_hole;
        let out = |cause| self.copier.archive.failed(&super::name(self.partition, record.offset), "made", cause);
        if self.builder.is_none() {
            let begins_day = std::mem::take(&mut self.next_begins_day);
            self.builder = Some(Builder::new(record.offset, begins_day, before).map_err(out)?);
        }
        let Some(builder) = &mut self.builder else { return Ok(()) };
        builder.push(record, self.received.latest).map_err(out)
    }

    /// Creates the segment of the records that were taken.
    fn close(&mut self) -> Result<(), LogError> {
        let Some(builder) = self.builder.take() else { return Ok(()) };
        let (archive, first) = (&self.copier.archive, builder.first());
        let next = builder.next();
        let made = builder.finish(&self.copier.meta, self.partition, now_ms());
        let made = made.map_err(|cause| archive.failed(&super::name(self.partition, first), "made", cause))?;
        let Some(bytes) = made else { return Ok(()) };
        if !archive.create(self.partition, first, &bytes)? {
            self.is_overtaken = true;
            return Ok(());
        }
        self.copied.next = next;
        self.copied.segments += 1;
        self.copied.bytes += bytes.len() as u64;
        Ok(())
    }
}
