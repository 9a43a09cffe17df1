//! What every reader of the topic `scans` needs: the events of a record, and when they were received.

use domain::frame::{Frame, Kind};
use domain::model::address::{Topic, TopicPartition};
use domain::model::event::Event;
use domain::model::time::Millis;

use crate::api::Record;
use crate::error::LogError;
use crate::local::meta::Clock;

/// `received` as the shopper desk makes it: it never goes back in a partition.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedClock {
    clock: Clock,
    /// The highest so far; `None` before the first event.
    pub latest: Option<Millis>,
}

impl ReceivedClock {
    /// The clock of a partition; `latest` is that of the records before the first one that is read.
    #[must_use]
    pub fn new(clock: Clock, latest: Option<Millis>) -> Self {
        Self { clock, latest }
    }

    /// The `received` of the next event.
    pub fn take(&mut self, event: &Event<'_>, append: Millis) -> Millis {
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
pub fn events_of<'r>(partition: u16, record: &Record<'r>) -> Result<Vec<Event<'r>>, LogError> {
    let frame = match Frame::open(record.bytes) {
        Ok(frame) => frame,
        Err(error) if error.is_broken() => return Ok(Vec::new()),
        Err(error) => {
            let partition = TopicPartition::new(Topic::Scans, partition).to_string();
            return Err(LogError::Foreign { partition, offset: record.offset, what: error.to_string() });
        }
    };
    if frame.kind != Kind::Events {
        return Ok(Vec::new());
    }
    // A frame with an item that is no event was set aside whole.
    Ok(frame.items::<Event<'_>>().collect::<Result<_, _>>().unwrap_or_default())
}
