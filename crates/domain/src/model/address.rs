//! Addresses in a log: topics, partitions, and the tag by which an answer names the frame that it answers.

use serde::{Deserialize, Serialize};

super::text::words! {
    /// The topics of a log. `rejects` keeps records of `scans` that are not frames.
    Topic { Scans = "scans", Draws = "draws", Awards = "awards", Facts = "facts", Rules = "rules", Rejects = "rejects" }
}

/// How many partitions each topic has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partitions {
    /// Of `scans`.
    pub scans: u16,
    /// Of `draws`.
    pub draws: u16,
    /// Of `awards`.
    pub awards: u16,
    /// Of `facts`.
    pub facts: u16,
}

impl Partitions {
    /// `n` partitions of each topic.
    #[must_use]
    pub const fn all(n: u16) -> Self {
        Self { scans: n, draws: n, awards: n, facts: n }
    }

    /// The number for a topic; `rules` and `rejects` have one partition.
    #[must_use]
    pub const fn of(self, topic: Topic) -> u16 {
        match topic {
            Topic::Scans => self.scans,
            Topic::Draws => self.draws,
            Topic::Awards => self.awards,
            Topic::Facts => self.facts,
            Topic::Rules | Topic::Rejects => 1,
        }
    }
}

/// A partition of a topic, in a log that the context names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Topic,
    /// The partition's number, from 0.
    pub partition: u16,
}

impl TopicPartition {
    /// A partition of a topic.
    #[must_use]
    pub const fn new(topic: Topic, partition: u16) -> Self {
        Self { topic, partition }
    }
}

/// `scans partition 0`, as messages name it.
impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} partition {}", self.topic, self.partition)
    }
}

/// A partition of a topic of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartitionId {
    /// The topic's random id: a recreated topic has another.
    pub log: u128,
    /// The topic.
    pub topic: Topic,
    /// The partition's number in the topic, from 0.
    pub partition: u16,
}

impl PartitionId {
    /// The topic and the partition, without the log.
    #[must_use]
    pub const fn topic_partition(self) -> TopicPartition {
        TopicPartition { topic: self.topic, partition: self.partition }
    }
}

impl std::fmt::Display for PartitionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.topic_partition().fmt(f)
    }
}

/// A frame's position in the answers to one partition: the offset answered, and the part of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AnswerPos {
    /// The offset of the record that is answered.
    pub offset: u64,
    /// The number of the part, from 0.
    pub part: u16,
}

impl std::fmt::Display for AnswerPos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "offset {} part {}", self.offset, self.part)
    }
}

/// What a frame answers, and the frame that the same desk sent to the same partition before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The partition of the record that is answered.
    pub source: PartitionId,
    /// The record that is answered, and the part of the answer.
    pub at: AnswerPos,
    /// The frame that was sent there before; `None` if this is the first.
    pub prev: Option<AnswerPos>,
    /// Running hash of the frames sent there, up to and including the previous one.
    pub hash: u64,
}
