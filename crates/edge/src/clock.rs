//! The stamp of every event (contract section 1, "Receive time").

use std::sync::atomic::{AtomicI64, Ordering};

use domain::frame::{Frame, Kind};
use domain::model::place::Topic;
use domain::model::time::Millis;
use log::error::LogError;
use log::local::{Log, now_ms};
use log::reader::Reader;
use log::store::Clock;

/// Before any event.
const NEVER: i64 = i64::MIN;

/// Stamps events.
#[derive(Debug)]
pub enum Stamps {
    /// The machine's clock.
    Wall,
    /// The running maximum of the times of all accepted events.
    Event(AtomicI64),
}

impl Stamps {
    /// Takes the event clock up again from the log.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn of(log: &Log) -> Result<Self, LogError> {
        match log.meta().clock {
            Clock::Wall => Ok(Self::Wall),
            Clock::Event => {
                let mut last = NEVER;
                for (topic, partition) in log.meta().all().filter(|(topic, _)| *topic != Topic::Rules) {
                    last = last.max(last_received(log, topic, partition)?.unwrap_or(NEVER));
                }
                Ok(Self::Event(AtomicI64::new(last)))
            }
        }
    }

    /// The stamp of an event that happened at `time`; `None` if nothing says when.
    pub fn stamp(&self, time: Option<Millis>) -> Option<Millis> {
        match self {
            Self::Wall => Some(now_ms()),
            Self::Event(last) => {
                let time = time.unwrap_or(NEVER);
                let stamp = last.fetch_max(time, Ordering::AcqRel).max(time);
                (stamp != NEVER).then_some(stamp)
            }
        }
    }
}

/// The `received` of the last frame of a partition that has one: markers have none.
fn last_received(log: &Log, topic: Topic, partition: u16) -> Result<Option<Millis>, LogError> {
    const MEND: &str = "begin again";
    let partition = log.partition(topic, partition);
    let (start, end) = (partition.start(), partition.end());
    let mut back = 1;
    loop {
        let from = end.saturating_sub(back).max(start);
        let mut reader = Reader::open(partition.clone(), from, MEND)?;
        let mut last = None;
        while let Some(record) = reader.next()? {
            if let Ok(frame) = Frame::open(record.bytes)
                && frame.kind != Kind::Marker
            {
                last = last.max(Some(frame.received));
            }
        }
        if last.is_some() || from == start {
            return Ok(last);
        }
        back *= 8;
    }
}
