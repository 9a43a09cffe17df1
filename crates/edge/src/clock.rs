//! The stamp of every event (contract section 1, "Receive time").

use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::frame::{Frame, Kind};
use domain::model::place::Topic;
use domain::model::time::Millis;
use log::error::LogError;
use log::local::{Log, now_ms};
use log::reader::Reader;
use log::store::Clock;

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
    /// Of all that was stamped, and of what is durable.
    last: Option<Millis>,
    durable: Option<Millis>,
    epoch: Epoch,
}

/// Begins anew whenever something that was stamped was not accepted. What was stamped before must not be accepted either.
pub type Epoch = u64;

impl Stamps {
    /// Takes the event clock up again from the log.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn of(log: &Log) -> Result<Self, LogError> {
        match log.meta().clock {
            Clock::Wall => Ok(Self::Wall),
            Clock::Event => {
                let mut last = None;
                for (topic, partition) in log.meta().all().filter(|(topic, _)| *topic != Topic::Rules) {
                    last = last.max(last_received(log, topic, partition)?);
                }
                Ok(Self::Event(Mutex::new(Running { last, durable: last, epoch: 0 })))
            }
        }
    }

    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Wall => 0,
            Self::Event(running) => lock(running).epoch,
        }
    }

    /// The stamp of an event that happened at `time`; `None` if nothing says when.
    pub fn stamp(&self, time: Option<Millis>, epoch: Epoch) -> Option<Millis> {
        match self {
            Self::Wall => Some(now_ms()),
            Self::Event(running) => {
                let mut running = lock(running);
                let stamp = running.last.max(time);
                if running.epoch == epoch {
                    running.last = stamp;
                }
                stamp
            }
        }
    }

    /// Everything that was stamped up to this is accepted.
    pub(crate) fn accepted(&self, last: Millis) {
        if let Self::Event(running) = self {
            let mut running = lock(running);
            running.durable = running.durable.max(Some(last));
        }
    }

    /// Something that was stamped is refused: back to what is durable. Says whether that matters.
    pub(crate) fn refused(&self) -> bool {
        match self {
            Self::Wall => false,
            Self::Event(running) => {
                let mut running = lock(running);
                running.last = running.durable;
                running.epoch += 1;
                true
            }
        }
    }
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
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
        while let Some(record) = reader.next_record()? {
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
