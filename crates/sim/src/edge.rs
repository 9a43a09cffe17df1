//! An edge: it reads events, stamps them with its own clock, and collects them in frames.

use std::collections::{BTreeMap, BTreeSet};

use domain::frame::{Body, Kind, seal};
use domain::model::address::Topic;
use domain::model::ids;
use domain::model::time::Millis;
use eventlog::api::Append;
use eventlog::local::meta::Clock;
use wire::event::{Merchants, read};

use crate::clients::Line;

/// An edge: it checks and stamps events and makes rounds of them.
#[derive(Debug)]
pub struct Edge {
    /// The number under which it sends.
    pub producer: u64,
    /// Error of its clock, ms.
    pub skew: Millis,
    /// The event clock: the highest time so far.
    last: Millis,
    open: BTreeMap<u16, Open>,
    /// Number of events that it received.
    pub received: u64,
    /// Number of events that it accepted.
    pub accepted: u64,
    /// Number of events that it refused.
    pub refused: u64,
}

/// A frame that is not yet sent.
#[derive(Debug, Default)]
struct Open {
    body: Body,
    received: Millis,
    attempts: Vec<u64>,
}

impl Edge {
    /// An edge whose stamps begin after `last`.
    #[must_use]
    pub fn new(producer: u64, last: Millis) -> Self {
        Self { producer, skew: 0, last, open: BTreeMap::new(), received: 0, accepted: 0, refused: 0 }
    }

    /// Restarts the edge: its open frames are lost, and the event clock is restored from the log.
    pub fn restart(&mut self, producer: u64, last: Millis) {
        (self.producer, self.last) = (producer, last);
        self.open.clear();
    }

    fn stamp(&mut self, clock: Clock, now: Millis, time: Option<Millis>) -> Millis {
        match clock {
            Clock::Wall => now + self.skew,
            Clock::Event => {
                self.last = self.last.max(time.unwrap_or(Millis::MIN));
                self.last
            }
        }
    }

    /// Reads a batch; returns the partitions that must have it before it is acknowledged. A refused line is only counted.
    pub fn take(
        &mut self,
        lines: &[Line],
        attempt: u64,
        merchants: &Merchants,
        clock: Clock,
        now: Millis,
        partitions: u16,
    ) -> BTreeSet<u16> {
        let mut into = BTreeSet::new();
        for line in lines {
            self.received += 1;
            let arena = bumpalo::Bump::new();
            let Ok(found) = read(line.text.as_bytes(), merchants, &arena) else {
                self.refused += 1;
                continue;
            };
            let mut event = found.event;
            event.stamp = self.stamp(clock, now, event.time).max(0);
            self.accepted += 1;
            let partition = ids::partition(ids::shard(event.shopper_key), partitions);
            let open = self.open.entry(partition).or_default();
            open.body.push(&event);
            open.received = event.stamp;
            if open.attempts.last() != Some(&attempt) {
                open.attempts.push(attempt);
            }
            into.insert(partition);
        }
        into
    }

    /// The partitions that have an open frame.
    #[must_use]
    pub fn open(&self) -> Vec<u16> {
        self.open.keys().copied().collect()
    }

    /// Closes the frame of a partition, to be sent for these attempts of clients.
    pub fn flush(&mut self, partition: u16) -> Option<(Append, Vec<u64>)> {
        let Open { mut body, received, attempts } = self.open.remove(&partition)?;
        let mut record = None;
        body.drain(|bytes, count| {
            assert!(record.is_none(), "so few events are one frame");
            record = Some(seal(Kind::Events, received, None, count, bytes));
        });
        Some((Append { topic: Topic::Scans, partition, record: record? }, attempts))
    }
}
