//! The real log over a disk in memory, and a copy of all records of `scans` and `facts` that readers could see.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use domain::frame::{Frame, Kind};
use domain::model::address::{Topic, TopicPartition};
use domain::model::event::Event;
use domain::model::time::Millis;
use eventlog::api::Append;
use eventlog::error::LogError;
use eventlog::files::memory::{Loss, Memory};
use eventlog::local::meta::{Clock, Meta};
use eventlog::local::reader::{Partition, Reader};
use eventlog::local::store::{Sizes, Store, Unsynced};

use super::plan::Plan;
use crate::alarm::{Alarm, hold};
use crate::oracle::Logged;

const DIR: &str = "data/log";
const MEND: &str = "begin again";

#[derive(Debug)]
pub(crate) struct Logs {
    pub disk: Memory,
    meta: Meta,
    sizes: Sizes,
    store: Store,
    unsynced: Option<Unsynced>,
    /// (append, record) of every record of `scans` and `facts`, by partition.
    seen: BTreeMap<TopicPartition, Vec<(Millis, Vec<u8>)>>,
}

impl Logs {
    /// # Errors
    /// The log cannot be created.
    pub(crate) fn new(plan: &Plan, id: u128) -> Result<Self, Alarm> {
        let disk = Memory::default();
        let meta = Meta::new(id, plan.clock, plan.partitions);
        let store = Store::open(Arc::new(disk.clone()), Path::new(DIR), &meta, plan.sizes)?;
        let is_copied = |of: &TopicPartition| matches!(of.topic, Topic::Scans | Topic::Facts);
        let seen = meta.all().filter(is_copied).map(|of| (of, Vec::new())).collect();
        Ok(Self { disk, meta, sizes: plan.sizes, store, unsynced: None, seen })
    }

    #[must_use]
    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    #[must_use]
    pub(crate) fn partition(&self, topic: Topic, partition: u16) -> Arc<Partition> {
        self.store.partition(TopicPartition::new(topic, partition))
    }

    /// Appends a round.
    ///
    /// # Errors
    /// The log has nothing of it.
    pub(crate) fn append(&mut self, records: &[Append], now: Millis) -> Result<(), LogError> {
        self.store.append(records, now)
    }

    #[must_use]
    pub(crate) fn is_broken(&self) -> bool {
        self.store.is_broken()
    }

    /// The records of a partition from an offset on.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn records(&self, of: TopicPartition, from: u64) -> Result<Vec<(u64, Vec<u8>)>, LogError> {
        let mut reader = Reader::open(self.store.partition(of), from, MEND)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next_record()? {
            records.push((record.offset, record.bytes.to_vec()));
        }
        Ok(records)
    }

    /// Crashes the process: writes that were not synced may be lost. Opens the log again.
    ///
    /// # Errors
    /// The log lost or changed a record that readers could see before.
    pub(crate) fn crash(&mut self, loss: Loss) -> Result<(), Alarm> {
        self.disk.set_room(None);
        self.disk.crash(loss);
        self.unsynced = None;
        self.store = Store::open(Arc::new(self.disk.clone()), Path::new(DIR), &self.meta, self.sizes)?;
        for (TopicPartition { topic, partition }, known) in &self.seen {
            let shown = self.partition(*topic, *partition);
            hold(shown.end() >= known.len() as u64, || {
                format!("a crash took {topic} {partition} back from {} to {}", known.len(), shown.end())
            })?;
            let mut reader = Reader::open(Arc::clone(&shown), shown.start(), MEND)?;
            while let Some(record) = reader.next_record()? {
                let was = usize::try_from(record.offset).ok().and_then(|at| known.get(at));
                hold(was.is_none_or(|(append, bytes)| (*append, &**bytes) == (record.append, record.bytes)), || {
                    format!("a crash changed {topic} {partition} offset {}", record.offset)
                })?;
            }
        }
        self.copy()
    }

    /// Copies the new records of `scans` and `facts`.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn copy(&mut self) -> Result<(), Alarm> {
        for (of, known) in &mut self.seen {
            let mut reader = Reader::open(self.store.partition(*of), known.len() as u64, MEND)?;
            while let Some(record) = reader.next_record()? {
                known.push((record.append, record.bytes.to_vec()));
            }
        }
        Ok(())
    }

    /// Starts another journal if it is time, or syncs and removes the old ones; returns what it did.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn maintain(&mut self, is_due: bool) -> Result<&'static str, LogError> {
        if let Some(unsynced) = self.unsynced.take() {
            unsynced.sync()?;
            self.store.synced(&unsynced)?;
            return Ok("synced");
        }
        if self.store.is_rotation_due() || is_due {
            self.unsynced = Some(self.store.rotate()?);
            return Ok("rotated");
        }
        Ok("nothing")
    }

    /// Removes segments below an offset; returns how many.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn retire(&mut self, topic: Topic, partition: u16, below: u64) -> Result<u64, LogError> {
        self.store.retire(TopicPartition::new(topic, partition), below, Millis::MAX)
    }

    /// The copied records of a topic, by partition.
    fn copies(&self, topic: Topic) -> impl Iterator<Item = (u16, &Vec<(Millis, Vec<u8>)>)> {
        let of_topic = self.seen.iter().filter(move |(of, _)| of.topic == topic);
        of_topic.map(|(of, records)| (of.partition, records))
    }

    /// All records of `facts`.
    pub(crate) fn facts(&self) -> impl Iterator<Item = &[u8]> {
        self.copies(Topic::Facts).flat_map(|(_, records)| records).map(|(_, record)| &**record)
    }

    /// All events of `scans` by (`received`, partition, offset), each with the `received` that contract section 1 gives it.
    ///
    /// # Panics
    /// If a record is not a frame of events or markers.
    #[must_use]
    pub(crate) fn events(&self) -> Vec<Logged> {
        let mut events = Vec::new();
        for (partition, records) in self.copies(Topic::Scans) {
            let mut received = 0;
            for (offset, (append, record)) in (0..).zip(records) {
                let frame = Frame::open(record).expect("a frame");
                if frame.kind != Kind::Events {
                    continue;
                }
                for (at, event) in frame.items::<Event<'_>>().enumerate() {
                    let event = event.expect("an event");
                    let cut = if self.meta.clock == Clock::Wall { *append } else { Millis::MAX };
                    received = event.stamp.min(cut).max(received);
                    events.push(Logged { received, partition, offset, at, key: event.key });
                }
            }
        }
        events.sort_unstable();
        events
    }
}
