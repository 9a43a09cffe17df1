//! A shopper desk that knows a key until a sweep has removed it, even if its horizon is over.

use std::collections::{BTreeMap, VecDeque};

use domain::desk::shopper::ShopperDesk;
use domain::frame::{Body, Frame, decode, encode};
use domain::model::address::Topic;
use domain::model::event::Event;
use domain::model::rules::rulebook::Library;
use domain::model::time::Millis;
use domain::protocol::behaviour::Behaviour;
use domain::protocol::error::{DeskError, RestoreError};
use domain::protocol::stage::segments::Segments;
use domain::protocol::stage::{Desk, Marker, Outbox};

/// Maximum number of expired keys that one event removes; further ones stay until later events.
const SWEEP_MAX: usize = 4;

/// A shopper desk that forgets a key when a sweep reaches it, not when its horizon is over.
#[derive(Clone, Debug, Default)]
pub struct SweepingDesk {
    inner: ShopperDesk,
    /// The highest `received` so far.
    received: Millis,
    /// The horizon of each merchant, minutes.
    horizons: BTreeMap<String, Millis>,
    /// The minute in which a key was first seen.
    first: BTreeMap<u128, Millis>,
    /// All keys, in order of minutes.
    queue: VecDeque<(Millis, u128)>,
}

impl SweepingDesk {
    /// Whether no sweep has reached the key of an event, although its horizon is over.
    fn is_late(&mut self, event: &Event<'_>) -> bool {
        let (now, horizon) = (self.received / 60_000, self.horizons.get(event.merchant).copied().unwrap_or_default());
        for _ in 0..SWEEP_MAX {
            let Some((_, key)) = self.queue.pop_front_if(|(minute, _)| now - *minute >= horizon) else { break };
            self.first.remove(&key);
        }
        match self.first.get(&event.key) {
            Some(first) => now - first >= horizon,
            None => {
                self.first.insert(event.key, now);
                self.queue.push_back((now, event.key));
                false
            }
        }
    }
}

impl Segments for SweepingDesk {}

impl Desk for SweepingDesk {
    const TOPIC: Topic = Topic::Scans;

    fn save(&self) -> Vec<u8> {
        encode(&(self.inner.save(), self.received, &self.horizons, &self.first, &self.queue))
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        self.inner.sizes()
    }

    fn load(state: &[u8], library: &Library, behaviour: Option<Behaviour>) -> Result<Self, RestoreError> {
        let (inner, received, horizons, first, queue) = decode::<(Vec<u8>, _, _, _, _)>(state)?;
        Ok(Self { inner: ShopperDesk::load(&inner, library, behaviour)?, received, horizons, first, queue })
    }

    fn behave(&mut self, behaviour: Behaviour) {
        self.inner.behave(behaviour);
    }

    /// Leaves out events whose key it still knows, as duplicates.
    fn apply(
        &mut self,
        frame: &Frame<'_>,
        append: Millis,
        library: &Library,
        out: &mut Outbox,
    ) -> Result<Millis, DeskError> {
        let mut body = Body::cut_at(usize::MAX);
        for event in frame.items::<Event<'_>>() {
            let event = event?;
            self.received = self.received.max(event.stamp.min(append));
            if !self.is_late(&event) {
                body.push(&event);
            }
        }
        let mut applied = Ok(self.received);
        body.drain(|body, count| applied = self.inner.apply(&Frame { count, body, ..*frame }, append, library, out));
        applied.map(|_| self.received)
    }

    fn switch(&mut self, marker: &Marker<'_>, library: &Library, out: &mut Outbox) -> Result<(), DeskError> {
        let horizon = library.get(&marker.seq).map_or(0, |book| book.rules.dedup.horizon_minutes);
        self.horizons.insert(marker.merchant.to_owned(), horizon.into());
        self.inner.switch(marker, library, out)
    }
}
