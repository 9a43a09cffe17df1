//! The stamp of every event (contract section 1, "Receive time").

use domain::frame::{Frame, Kind};
use domain::model::address::{Topic, TopicPartition};
use domain::model::time::{CLOCK_AHEAD_MAX_MS, DAY_MS, Millis};
use eventlog::api::{Consumer, read_all};
use eventlog::error::LogError;
use eventlog::local::meta::{Clock, Meta};
use parking_lot::Mutex;

/// Stamps events.
#[derive(Debug)]
pub enum Stamps {
    /// The machine's clock.
    Wall,
    /// The running maximum of the times of all accepted events.
    Event(Mutex<Running>),
}

/// A running maximum that can be taken back: only what was accepted counts.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// The maximum of all stamped events, and that of the durable ones.
    last: Option<Millis>,
    durable: Option<Millis>,
    epoch: Epoch,
}

/// A new epoch begins when a stamped event is refused. Events stamped in an earlier one must not be accepted either.
pub type Epoch = u64;

/// Why the event clock cannot stamp an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoStamp {
    /// No event had a time yet.
    #[error("is missing; under --clock event the first event must have one")]
    Missing,
    /// One event would take the clock, which never goes back, far ahead of all others.
    #[error("is more than {} days ahead of the clock, which is at the latest time of all events; correct it, or send the events between first", CLOCK_AHEAD_MAX_MS / DAY_MS)]
    Ahead,
}

impl Stamps {
    /// Restores the event clock from the log, and from what was accepted last and is not in the log yet.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn of(meta: &Meta, consumer: &mut dyn Consumer, spooled: Option<Millis>) -> Result<Self, LogError> {
        match meta.clock {
            Clock::Wall => Ok(Self::Wall),
            Clock::Event => {
                let mut last = spooled;
                for topic in [Topic::Scans, Topic::Draws, Topic::Awards, Topic::Facts] {
                    for partition in 0..meta.partitions.of(topic) {
                        last = last.max(last_received(consumer, TopicPartition::new(topic, partition))?);
                    }
                }
                Ok(Self::Event(Mutex::new(Running { last, durable: last, epoch: 0 })))
            }
        }
    }

    /// The epoch in which events are stamped now.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Wall => 0,
            Self::Event(running) => running.lock().epoch,
        }
    }

    /// The stamp of an event that happened at `time` and is read at `now` by the machine's clock.
    ///
    /// # Errors
    /// The event clock cannot stamp it.
    pub fn stamp(&self, now: Millis, time: Option<Millis>, epoch: Epoch) -> Result<Millis, NoStamp> {
        match self {
            Self::Wall => Ok(now),
            Self::Event(running) => {
                let mut running = running.lock();
                let stamp = running.last.max(time).ok_or(NoStamp::Missing)?;
                if running.last.is_some_and(|last| stamp - last > CLOCK_AHEAD_MAX_MS) {
                    return Err(NoStamp::Ahead);
                }
                if running.epoch == epoch {
                    running.last = Some(stamp);
                }
                Ok(stamp)
            }
        }
    }

    /// Everything that was stamped up to `last` is accepted.
    pub(crate) fn accepted(&self, last: Millis) {
        if let Self::Event(running) = self {
            let mut running = running.lock();
            running.durable = running.durable.max(Some(last));
        }
    }

    /// A stamped event is refused: goes back to what is durable. Returns whether a new epoch began.
    pub(crate) fn refused(&self) -> bool {
        match self {
            Self::Wall => false,
            Self::Event(running) => {
                let mut running = running.lock();
                running.last = running.durable;
                running.epoch += 1;
                true
            }
        }
    }
}

/// The `received` of the last frame of a partition, if it has one: markers have none, and answers to them 0.
fn last_received(consumer: &mut dyn Consumer, partition: TopicPartition) -> Result<Option<Millis>, LogError> {
    let bounds = consumer.bounds(partition)?;
    let mut back = 1;
    loop {
        let from = bounds.end.saturating_sub(back).max(bounds.start);
        let mut last = None;
        read_all(consumer, partition, from, "begin again", &mut |record| {
            if let Ok(frame) = Frame::open(record.bytes)
                && !matches!(frame.kind, Kind::Marker | Kind::Genesis)
                && frame.received != 0
            {
                last = last.max(Some(frame.received));
            }
        })?;
        if last.is_some() || from == bounds.start {
            return Ok(last);
        }
        back *= 8;
    }
}
