//! The records of a partition of `scans`, by the UTC day to which they belong.
//!
//! A record belongs to the day of the `received` of its last event, or of the record before it where it has none. What comes before
//! the first event of a partition belongs to the day of that event.

use anyhow::{Context, Result};
use domain::frame::{Frame, Kind};
use domain::model::address::Topic;
use domain::model::event::Event;
use domain::model::time::{DAY_MS, Millis};
use eventlog::api::Record;
use eventlog::error::LogError;
use eventlog::files::disk::Disk;
use eventlog::kafka::archive::open;
use eventlog::local::archive::{Archive, Records};
use eventlog::local::meta::Clock;

use crate::cli::log_args::LogPlace;
use crate::usage;

/// Opens the topic `scans` of a log.
///
/// # Errors
/// There is no log (usage), or it cannot be read.
pub(crate) fn open_scans(place: &LogPlace, client_id: &str) -> Result<Archive> {
    let archive = match &place.data {
        Some(data) => Archive::open(&Disk, &data.join("log"), Topic::Scans),
        None => open(&place.kafka.settings()?, client_id, Topic::Scans),
    };
    archive.map_err(|e| match e {
        LogError::Missing { .. } => usage(e),
        other => other.into(),
    })
}

/// `received` as the shopper desk makes it: it never goes back in a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceivedClock {
    clock: Clock,
    /// The highest so far; `None` before the first event.
    pub(crate) latest: Option<Millis>,
}

impl ReceivedClock {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, latest: None }
    }

    /// The `received` of the next event.
    pub(crate) fn take(&mut self, event: &Event<'_>, append: Millis) -> Millis {
        let append = if self.clock == Clock::Wall { append } else { Millis::MAX };
        let received = self.latest.unwrap_or(0).max(event.stamp.min(append));
        self.latest = Some(received);
        received
    }
}

/// The events of a record of `scans`; none of a marker, of the first record, and of a record that the shopper desk sets aside
/// because it can be read by no build.
///
/// # Errors
/// Another build has written the record.
pub(crate) fn events_of<'r>(partition: u16, record: &Record<'r>) -> Result<Vec<Event<'r>>> {
    let frame = match Frame::open(record.bytes) {
        Ok(frame) => frame,
        Err(error) if error.is_broken() => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("scans partition {partition} offset {}", record.offset));
        }
    };
    if frame.kind != Kind::Events {
        return Ok(Vec::new());
    }
    // A frame with an item that is no event was set aside whole.
    Ok(frame.items::<Event<'_>>().collect::<Result<_, _>>().unwrap_or_default())
}

/// A day of UTC: the number of days since 1970-01-01.
pub(crate) type UtcDay = i64;

/// The records of a day that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over {
    pub(crate) day: UtcDay,
    pub(crate) first_offset: u64,
    pub(crate) last_offset: u64,
    pub(crate) records: u64,
    /// Whether the log holds all of them: of its first day it may have removed some.
    pub(crate) is_whole: bool,
}

/// What comes next in a partition.
pub(crate) enum Next<'r> {
    /// A record, and its number among those of its day.
    Record { index: u64, record: &'r Record<'r>, events: &'r [Event<'r>] },
    /// The day of the records since the last such day is over: the next record belongs to a later one.
    Over(Over),
}

/// The day whose records are read.
struct Open {
    /// `None` before the first event.
    day: Option<UtcDay>,
    first_offset: u64,
    last_offset: u64,
    records: u64,
    is_whole: bool,
}

/// Passes the records of a partition, and the days that are over, to `each`. Returns the day that is not over.
///
/// # Errors
/// The log cannot be read, or as `each`.
pub(crate) fn walk(
    partition: u16,
    records: &mut Records,
    clock: Clock,
    each: &mut dyn FnMut(Next<'_>) -> Result<()>,
) -> Result<Option<UtcDay>> {
    let mut received = ReceivedClock::new(clock);
    let mut open: Option<Open> = None;
    while let Some(record) = records.next_record()? {
        let events = events_of(partition, &record)?;
        for event in &events {
            received.take(event, record.append);
        }
        let day = received.latest.map(|received| received.div_euclid(DAY_MS));
        let (offset, is_first) = (record.offset, open.is_none());
        let of_day = match open.take() {
            Some(open) if open.day.is_none() || open.day == day => Open { day, ..open },
            before => {
                if let Some(Open { day: Some(day), first_offset, last_offset, records, is_whole }) = before {
                    each(Next::Over(Over { day, first_offset, last_offset, records, is_whole }))?;
                }
                // A log that removed nothing begins at offset 0.
                let is_whole = !is_first || offset == 0;
                Open { day, first_offset: offset, last_offset: offset, records: 0, is_whole }
            }
        };
        each(Next::Record { index: of_day.records, record: &record, events: &events })?;
        open = Some(Open { last_offset: offset, records: of_day.records + 1, ..of_day });
    }
    Ok(open.and_then(|open| open.day))
}
