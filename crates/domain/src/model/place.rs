//! Places in a log: topics, partitions, and the tag by which an answer names what it answers.

use serde::{Deserialize, Serialize};

super::text::words! {
    /// The topics of a log. `rejects` keeps records of `scans` that are no frames.
    Topic { Scans = "scans", Draws = "draws", Awards = "awards", Facts = "facts", Rules = "rules", Rejects = "rejects" }
}

/// A partition of a topic of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source {
    /// The topic's random id: a recreated topic has another.
    pub log: u128,
    pub topic: Topic,
    pub partition: u16,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} partition {}", self.topic, self.partition)
    }
}

/// A frame's place in the answers to one partition: the offset answered, and the part of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub offset: u64,
    pub part: u16,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "offset {} part {}", self.offset, self.part)
    }
}

/// What a frame answers, and what the same desk had sent there before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    pub source: Source,
    pub at: Place,
    pub prev: Option<Place>,
    /// Running hash of all that went there up to the previous one.
    pub hash: u64,
}
