//! The events of one request, encoded and by partition.

use std::cell::Cell;

use domain::frame::{Body, Kind, seal};
use domain::model::address::Topic;
use domain::model::event::Event;
use domain::model::ids;
use domain::model::time::Millis;
use eventlog::api::Append;

use crate::ingest::clock::Epoch;
use crate::ingest::memory::MemoryPermit;
use crate::metrics::Transport;

/// Maximum number of bytes of a batch whose memory is kept for the next one; the memory of a larger batch is freed.
const SPARE_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// An empty batch with its memory.
    static SPARE: Cell<Option<EventBatch>> = const { Cell::new(None) };
}

/// Numbers of events by transport, in the order of [`Transport::ALL`].
pub(super) type Counts = [u64; Transport::ALL.len()];

/// Events of one request, encoded and by partition.
#[derive(Debug)]
pub struct EventBatch {
    bodies: Vec<(Body, Millis)>,
    epoch: Epoch,
    events: Counts,
    /// The memory of the requests, held until their events are durable or refused, even if a sender does not wait for that.
    permits: Vec<MemoryPermit>,
}

impl EventBatch {
    /// An empty batch, for a log with this number of partitions of `scans`, for events that are stamped in one epoch.
    pub(super) fn new(partitions: u16, epoch: Epoch) -> Self {
        Self {
            bodies: (0..partitions).map(|_| (Body::default(), Millis::MIN)).collect(),
            epoch,
            events: Counts::default(),
            permits: Vec::new(),
        }
    }

    /// Holds the memory of the request as long as its events are not durable.
    pub(crate) fn hold(&mut self, permit: MemoryPermit) {
        match self.permits.last_mut() {
            Some(held) if held.is_of_the_same(&permit) => held.join(permit),
            _ => self.permits.push(permit),
        }
    }

    /// The memory of all requests whose events are here.
    pub(super) fn take_permits(&mut self) -> Vec<MemoryPermit> {
        std::mem::take(&mut self.permits)
    }

    /// The same, with the memory of an earlier batch of this thread if there is one.
    pub(super) fn reuse(partitions: u16, epoch: Epoch) -> Self {
        let spare = SPARE.take().filter(|spare| spare.bodies.len() == usize::from(partitions));
        spare.map_or_else(|| Self::new(partitions, epoch), |spare| Self { epoch, ..spare })
    }

    /// Leaves the memory of an empty batch to the next one of this thread.
    pub(super) fn recycle(self) {
        SPARE.set(Some(self));
    }

    /// Whether its memory is worth keeping.
    pub(super) fn is_small(&self) -> bool {
        self.bodies.iter().map(|(body, _)| body.len()).sum::<usize>() <= SPARE_BYTES_MAX
    }

    /// The epoch in which its events must be stamped.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Number of its events.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.iter().sum()
    }

    /// Numbers of its events by transport.
    pub(super) fn counts(&self) -> Counts {
        self.events
    }

    /// The latest stamp of its events.
    pub(super) fn last_stamp(&self) -> Millis {
        self.bodies.iter().map(|(_, received)| *received).max().unwrap_or(Millis::MIN)
    }

    /// Adds a stamped event.
    pub fn push(&mut self, event: &Event<'_>, transport: Transport) {
        self.events[transport as usize] += 1;
        let partitions = u16::try_from(self.bodies.len()).expect("as many as the log has");
        let partition = ids::partition(ids::shard(event.shopper_key), partitions);
        let (body, received) = &mut self.bodies[usize::from(partition)];
        body.push(event);
        *received = event.stamp.max(*received);
    }

    /// Moves all events of another batch here. Returns the number of bytes of the largest body that has grown.
    pub(super) fn append(&mut self, other: &mut Self) -> usize {
        for (sum, more) in self.events.iter_mut().zip(std::mem::take(&mut other.events)) {
            *sum += more;
        }
        other.permits.drain(..).for_each(|permit| self.hold(permit));
        let mut largest = 0;
        for ((body, received), (more, at)) in self.bodies.iter_mut().zip(&mut other.bodies) {
            if !more.is_empty() {
                body.append(more);
                *received = std::mem::replace(at, Millis::MIN).max(*received);
                largest = largest.max(body.len());
            }
        }
        largest
    }

    /// The frames of the events, one per partition unless one would be too large.
    pub(super) fn into_frames(self) -> Vec<Append> {
        let mut frames = Vec::new();
        for (partition, (mut body, received)) in (0..).zip(self.bodies) {
            if body.is_empty() {
                continue;
            }
            body.drain(|bytes, count| {
                let record = seal(Kind::Events, received, None, count, bytes);
                frames.push(Append { topic: Topic::Scans, partition, record });
            });
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntGauge;

    use super::EventBatch;
    use crate::ingest::memory::{MemoryBudget, MemoryPermit};

    /// A sender that goes away frees nothing that its events still hold.
    #[test]
    fn memory_is_held_until_the_round_ends() {
        let gauge = IntGauge::new("inflight", "bytes").expect("a name");
        let budget = MemoryBudget::new(1024 * 1024, gauge.clone());
        let held = |bytes| {
            let mut permit = MemoryPermit::new(&budget, None);
            assert!(permit.hold(bytes));
            let mut batch = EventBatch::new(1, 0);
            batch.hold(permit);
            batch
        };
        let mut round = EventBatch::new(1, 0);
        for bytes in [1_000, 50_000] {
            round.append(&mut held(bytes));
        }
        let bytes = gauge.get();
        assert!(bytes >= 51_000);
        let permits = round.take_permits();
        drop(round.into_frames());
        assert_eq!(gauge.get(), bytes, "until the log answers");
        drop(permits);
        assert_eq!(gauge.get(), 0);
    }
}
