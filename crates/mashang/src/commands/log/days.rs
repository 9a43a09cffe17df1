//! The records of a partition of `scans`, by the UTC day to which they belong.
//!
//! A record belongs to the day of the `received` of its last event, or of the record before it where it has none. What comes before
//! the first event of a partition belongs to the day of that event.

use std::sync::Arc;

use anyhow::Result;
use domain::model::address::Topic;
use domain::model::event::Event;
use domain::model::time::{DAY_MS, Millis};
use eventlog::api::Record;
use eventlog::archive::Archive;
use eventlog::archive::source::Opened;
use eventlog::error::LogError;
use eventlog::files::disk::Disk;
use eventlog::kafka::topic_reader::open_behind;
use eventlog::local::meta::Clock;
use eventlog::local::topic_reader::{Behind, Records, TopicReader};
use eventlog::scans::{ReceivedClock, events_of};

use crate::cli::log_args::LogPlace;
use crate::store::Store;
use crate::usage;

/// Opens the topic `scans` of a log, of its archive, or of both, from the first event received at or after `from` on, or before.
///
/// # Errors
/// There is no log or archive (usage), or it cannot be read.
pub(crate) fn open_scans(place: &LogPlace, client_id: &str, from: Option<Millis>) -> Result<TopicReader> {
    let topic = Topic::Scans;
    let of_log = |behind: Option<&Behind>| match (&place.data, &place.kafka.kafka) {
        (Some(data), _) => TopicReader::open_behind(&Disk, &data.join("log"), topic, behind).map_err(named).map(Some),
        (None, Some(_)) => open_behind(&place.kafka.settings()?, client_id, topic, behind).map_err(named).map(Some),
        (None, None) => Ok(None),
    };
    let Some(url) = &place.archive else {
        return of_log(None)?.ok_or_else(|| usage("give --data DIR, --kafka HOST:PORT,… or --archive URL"));
    };
    let Opened { reader: archived, behind } = open_archive(url)?.open(from).map_err(named)?;
    Ok(match of_log(Some(&behind))? {
        None => archived,
        Some(log) => archived.followed_by(log),
    })
}

/// The archive that `--archive` names.
pub(crate) fn open_archive(url: &str) -> Result<Archive> {
    Ok(Archive::new(Store::of_option("archive", url)?.open(Arc::new(Disk))?))
}

/// The error of a place without the log that is meant is one of usage.
pub(crate) fn named(error: LogError) -> anyhow::Error {
    match error {
        LogError::Missing { .. } | LogError::NoArchive { .. } | LogError::OtherArchive { .. } => usage(error),
        other => other.into(),
    }
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
    let mut received = ReceivedClock::new(clock, records.received_before);
    let records_begin_day = records.begins_day;
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
                let is_whole = !is_first || offset == 0 || records_begin_day;
                Open { day, first_offset: offset, last_offset: offset, records: 0, is_whole }
            }
        };
        each(Next::Record { index: of_day.records, record: &record, events: &events })?;
        open = Some(Open { last_offset: offset, records: of_day.records + 1, ..of_day });
    }
    Ok(open.and_then(|open| open.day))
}
