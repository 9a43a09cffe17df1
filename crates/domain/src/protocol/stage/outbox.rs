//! A desk's answers to one record.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::frame::Body;
use crate::model::address::{Partitions, Topic, TopicPartition};
use crate::model::fact::Fact;
use crate::model::ids;

/// A record of an answer, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where it goes.
    pub topic: Topic,
    /// The partition of that topic.
    pub partition: u16,
    /// The record, header and all.
    pub record: Vec<u8>,
}

/// Collects a desk's answers to one frame.
#[derive(Clone, Debug)]
pub struct Outbox {
    pub(super) partitions: Partitions,
    /// The partition of the frame that is answered; it decides the partition of all its facts.
    pub(super) source_partition: u16,
    pub(super) bodies: BTreeMap<TopicPartition, Body>,
    /// Maximum size of a part, bytes; a larger body is cut.
    pub(super) part_bytes_max: usize,
    /// Whether the ledger gets a frame even if it has no fact.
    pub(super) reports_received: bool,
    /// Whether the results of scans are left out.
    pub(super) without_results: bool,
}

impl Outbox {
    /// Adds an item to the answer for the partition of a uniform key.
    pub fn send<T: Serialize>(&mut self, topic: Topic, key: u128, item: &T) {
        let partition = ids::partition(ids::shard(key), self.partitions.of(topic));
        self.body(topic, partition).push(item);
    }

    /// Sends the current `received` to the ledger, even if there is no fact to send.
    pub(crate) fn report_received(&mut self) {
        self.reports_received = true;
        self.body(Topic::Facts, self.facts_partition());
    }

    fn facts_partition(&self) -> u16 {
        self.source_partition % self.partitions.facts
    }

    /// Adds a fact.
    pub fn fact(&mut self, fact: &Fact<'_>) {
        if self.without_results && fact.what.is_result() {
            return;
        }
        self.body(Topic::Facts, self.facts_partition()).push(fact);
    }

    fn body(&mut self, topic: Topic, partition: u16) -> &mut Body {
        let part_bytes_max = self.part_bytes_max;
        self.bodies.entry(TopicPartition::new(topic, partition)).or_insert_with(|| Body::cut_at(part_bytes_max))
    }
}
