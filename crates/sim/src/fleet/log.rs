//! A log that several processes share and that behaves like Kafka: every partition by itself, in the order in which requests
//! arrive, with its own append time; no rounds, and retention that asks no reader.

use std::collections::BTreeMap;
use std::ops::Range;

use domain::frame::{Frame, Kind};
use domain::model::address::{Topic, TopicPartition};
use domain::model::event::Event;
use domain::model::rules::RulesSeq;
use domain::model::time::Millis;
use domain::protocol::stage::Marker;
use eventlog::error::LogError;
use eventlog::local::meta::{Clock, Meta};

use crate::oracle::Logged;

/// A record in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub append: Millis,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Partition {
    /// The offset of the first record that is still there.
    start: u64,
    /// All records, including removed ones.
    records: Vec<Stored>,
}

/// An event in the log, and the version of the rules in force for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ruled {
    pub logged: Logged,
    pub rules: RulesSeq,
}

#[derive(Debug)]
pub struct SharedLog {
    pub meta: Meta,
    partitions: BTreeMap<TopicPartition, Partition>,
}

impl SharedLog {
    /// A new log: every partition begins with its genesis record.
    #[must_use]
    pub fn new(meta: Meta, now: Millis) -> Self {
        let genesis = |of: TopicPartition| {
            let bytes = meta.genesis(of).record();
            (of, Partition { start: 0, records: vec![Stored { append: now, bytes }] })
        };
        Self { partitions: meta.all().map(genesis).collect(), meta }
    }

    fn partition(&self, topic_partition: TopicPartition) -> &Partition {
        &self.partitions[&topic_partition]
    }

    /// Appends a record; returns its offset.
    ///
    /// # Panics
    /// If the log has no such partition.
    pub fn append(&mut self, topic_partition: TopicPartition, bytes: Vec<u8>, now: Millis) -> u64 {
        let partition = self.partitions.get_mut(&topic_partition).expect("a partition of the log");
        partition.records.push(Stored { append: now, bytes });
        partition.records.len() as u64 - 1
    }

    #[must_use]
    pub fn bounds(&self, topic_partition: TopicPartition) -> Range<u64> {
        let Partition { start, records } = self.partition(topic_partition);
        *start..records.len() as u64
    }

    /// Checks that a reader may start or continue at an offset.
    ///
    /// # Errors
    /// The log begins later or ends earlier.
    pub fn check(&self, topic_partition: TopicPartition, wanted: u64) -> Result<(), LogError> {
        let Range { start, end } = self.bounds(topic_partition);
        let partition = || format!("{} partition {}", topic_partition.topic, topic_partition.partition);
        if wanted < start {
            return Err(LogError::Retired { partition: partition(), wanted, start, mend: "restore the snapshots" });
        }
        if wanted > end {
            return Err(LogError::Short { partition: partition(), wanted, end });
        }
        Ok(())
    }

    /// The record at an offset; `None` at the end.
    ///
    /// # Errors
    /// As [`SharedLog::check`].
    pub fn read(&self, topic_partition: TopicPartition, offset: u64) -> Result<Option<&Stored>, LogError> {
        self.check(topic_partition, offset)?;
        Ok(self.partition(topic_partition).records.get(index(offset)))
    }

    /// Removes the records below an offset; returns whether there were any.
    pub fn retire(&mut self, topic_partition: TopicPartition, below: u64) -> bool {
        let Range { start, end } = self.bounds(topic_partition);
        let is_more = below > start;
        if let Some(partition) = self.partitions.get_mut(&topic_partition) {
            partition.start = start.max(below.min(end));
        }
        is_more
    }

    /// Loses acknowledged records from an offset on, as a broker can; returns them.
    pub fn cut(&mut self, topic_partition: TopicPartition, from: u64) -> Vec<Stored> {
        let records =
            self.partitions.get_mut(&topic_partition).map(|partition| partition.records.split_off(index(from)));
        records.unwrap_or_default()
    }

    /// All records of a partition, including removed ones.
    #[must_use]
    pub fn history(&self, topic_partition: TopicPartition) -> &[Stored] {
        &self.partition(topic_partition).records
    }

    /// Offsets of `scans` whose records are not frames.
    #[must_use]
    pub fn foreign(&self) -> Vec<(u16, u64)> {
        let scans = (0..self.meta.partitions.scans).flat_map(|p| {
            let records = (0..).zip(self.history(TopicPartition::new(Topic::Scans, p)));
            records.filter(|(_, r)| Frame::open(&r.bytes).is_err()).map(move |(offset, _)| (p, offset))
        });
        scans.collect()
    }

    /// All events of `scans` by (`received`, partition, offset), each with the `received` that contract section 1 gives it and
    /// the version that is in force in its partition. `of` gives the records of a partition.
    ///
    /// # Panics
    /// If a frame cannot be decoded, or an event comes before its rules.
    pub fn events<'a>(&'a self, of: impl Fn(u16) -> &'a [Stored]) -> Vec<Ruled> {
        let mut events = Vec::new();
        for partition in 0..self.meta.partitions.scans {
            let mut received = 0;
            let mut rules: BTreeMap<&str, RulesSeq> = BTreeMap::new();
            for (offset, Stored { append, bytes }) in (0..).zip(of(partition)) {
                let Ok(frame) = Frame::open(bytes) else { continue };
                match frame.kind {
                    Kind::Marker => {
                        let marker: Marker<'_> = frame.items().next().expect("an item").expect("a marker");
                        let last = rules.entry(marker.merchant).or_default();
                        *last = marker.seq.max(*last);
                    }
                    Kind::Events => {
                        for (at, event) in frame.items::<Event<'_>>().enumerate() {
                            let event = event.expect("an event");
                            let cut = if self.meta.clock == Clock::Wall { *append } else { Millis::MAX };
                            received = event.stamp.min(cut).max(received);
                            let logged = Logged { received, partition, offset, at, key: event.key };
                            events.push(Ruled { logged, rules: rules[event.merchant] });
                        }
                    }
                    _ => {}
                }
            }
        }
        events.sort_unstable();
        events
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a small log")
}
