//! The reader's rule: which frames of a chain a reader applies, and which stop the partition.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::frame::{Frame, FrameError, Kind};
use crate::model::address::{AnswerPos, Provenance, TopicPartition};
use crate::model::time::Millis;
use crate::protocol::error::Unexpected;

/// The last frame of a chain, and the running hash that includes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The topic's id in the source log.
    pub log: u128,
    /// What the frame answers.
    pub at: AnswerPos,
    /// The running hash, up to and including the frame.
    pub hash: u64,
}

impl Position {
    pub(super) fn after(tag: &Provenance, kind: Kind, received: Millis, body: &[u8]) -> Self {
        let seed = tag.hash ^ tag.at.offset.rotate_left(17) ^ u64::from(tag.at.part) << 1 ^ (kind as u64) << 56;
        let hash = xxhash_rust::xxh3::xxh3_64_with_seed(body, seed ^ received.cast_unsigned().rotate_left(29));
        Self { log: tag.source.log, at: tag.at, hash }
    }
}

/// What a reader does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The frame is new, and follows the last one.
    Apply,
    /// The frame was applied before: it comes from a retry or a zombie.
    Drop,
    /// The frame that it follows is missing: [`Positions::missing`] names it until both have come again.
    Early,
    /// The desk cannot apply the record: it is copied to `rejects`. Only in `scans`, where other programs may write.
    Reject,
}

/// Frames that came before the frame that they follow. An alarm, until the writer's replay sends them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{partition}: the frame for {found} follows {named}, but the last one applied was {}: a frame is lost; replay {partition} from a snapshot at or below it",
    place(*.applied)
)]
pub struct Missing {
    /// The partition that the missing frame answers.
    pub partition: TopicPartition,
    /// The last frame that was early.
    pub found: AnswerPos,
    /// The frame that it follows.
    pub named: AnswerPos,
    /// The last frame that was applied; `None` if there is none.
    pub applied: Option<AnswerPos>,
}

fn place(position: Option<AnswerPos>) -> String {
    position.map_or_else(|| "nothing".to_owned(), |p| p.to_string())
}

/// Why a partition stops. Its position does not move.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A record is not a frame, or is damaged.
    #[error("{to} offset {offset}: {error}")]
    Frame {
        /// The partition of the record.
        to: String,
        /// The offset of the record.
        offset: u64,
        /// What is wrong with it.
        error: FrameError,
    },
    #[error(
        "{from}: the frame for {found} follows {named}, but the last one applied was {applied}: its writer knows nothing of that one; compare the builds and snapshots of its writers"
    )]
    /// The writer of a frame does not know the last one applied.
    Skipped {
        /// The source of the frame.
        from: String,
        /// What the frame answers.
        found: AnswerPos,
        /// The frame that it follows.
        named: String,
        /// The last frame that was applied.
        applied: String,
    },
    #[error(
        "{from}: the frame for {found} names hash {named:016x} for {applied}, here it is {known:016x}: two desks gave different answers; compare the builds and snapshots of its writers"
    )]
    /// The writer of a frame has sent something else before.
    Diverged {
        /// The source of the frame.
        from: String,
        /// What the frame answers.
        found: AnswerPos,
        /// The last frame that was applied.
        applied: String,
        /// The running hash that the frame names for it.
        named: u64,
        /// Its running hash here.
        known: u64,
    },
    #[error(
        "{from}: the frame names log {found:032x}, the position is of log {known:032x}: the topic was recreated; restore it or begin a new deployment"
    )]
    /// A frame answers another log than the frames before it.
    OtherLog {
        /// The source of the frame.
        from: String,
        /// The topic's id that the frame names.
        found: u128,
        /// The topic's id of the position.
        known: u128,
    },
    /// A record is missing, or comes again.
    #[error("{partition}: offset {found} came, {expected} was next: the log has a hole or was rewound")]
    Offset {
        /// The partition that is read.
        partition: String,
        /// The offset that must come next.
        expected: u64,
        /// The offset that came.
        found: u64,
    },
    #[error(
        "{partition}: offset {offset} holds another record than the one that was taken: the log was cut and went on; restore it or begin a new deployment"
    )]
    /// The log holds another record than before.
    Rewritten {
        /// The partition that is read.
        partition: String,
        /// The offset of the other record.
        offset: u64,
    },
    /// A record may not be in this partition.
    #[error("{partition} offset {offset}: {what}")]
    Unexpected {
        /// The partition that is read.
        partition: String,
        /// The offset of the record.
        offset: u64,
        /// What it may not hold.
        what: Box<Unexpected>,
    },
}

/// A reader's positions, one per source partition.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    pub(super) by_source: BTreeMap<TopicPartition, Position>,
    early: BTreeMap<TopicPartition, (AnswerPos, AnswerPos)>,
}

impl Positions {
    /// The position in one source partition.
    #[must_use]
    pub fn get(&self, source: TopicPartition) -> Option<&Position> {
        self.by_source.get(&source)
    }

    /// All positions, in order of their sources.
    pub fn iter(&self) -> impl Iterator<Item = (TopicPartition, &Position)> {
        self.by_source.iter().map(|(&source, position)| (source, position))
    }

    /// The frames that must come again. While there are any, a reader publishes no snapshot and stores no offset above the
    /// first early one.
    pub fn missing(&self) -> impl Iterator<Item = Missing> {
        self.early.iter().map(|(&source, &(found, named))| Missing {
            partition: source,
            found,
            named,
            applied: self.get(source).map(|p| p.at),
        })
    }

    /// Restores a stored position.
    pub fn restore(&mut self, source: TopicPartition, position: Position) {
        self.by_source.insert(source, position);
    }

    /// Decides what to do with a tagged frame and, if it is to be applied, moves the position.
    ///
    /// # Errors
    /// The frame does not follow the last one applied; the position does not move.
    pub fn admit(&mut self, frame: &Frame<'_>, tag: &Provenance) -> Result<Admission, ProtocolError> {
        let key = tag.source.topic_partition();
        let from = || key.to_string();
        // Every partition of the topic counts: a partition that has sent nothing yet has no position of its own to compare.
        let mut of_topic =
            self.by_source.range(TopicPartition::new(key.topic, 0)..=TopicPartition::new(key.topic, u16::MAX));
        if let Some((_, other)) = of_topic.find(|(_, known)| known.log != tag.source.log) {
            return Err(ProtocolError::OtherLog { from: from(), found: tag.source.log, known: other.log });
        }
        let known = self.by_source.get(&key);
        if known.is_some_and(|known| tag.at <= known.at) {
            return Ok(Admission::Drop);
        }
        let applied = known.map(|k| k.at);
        if let Some(named) = tag.prev
            && tag.prev > applied
        {
            let early = self.early.entry(key).or_insert((tag.at, named));
            *early = (*early).max((tag.at, named));
            return Ok(Admission::Early);
        }
        if tag.prev != applied {
            return Err(ProtocolError::Skipped {
                from: from(),
                found: tag.at,
                named: place(tag.prev),
                applied: place(applied),
            });
        }
        let hash = known.map_or(0, |k| k.hash);
        if tag.hash != hash {
            return Err(ProtocolError::Diverged {
                from: from(),
                found: tag.at,
                applied: place(applied),
                named: tag.hash,
                known: hash,
            });
        }
        self.by_source.insert(key, Position::after(tag, frame.kind, frame.received, frame.body));
        self.early.retain(|&early, &mut (last, _)| early != key || last > tag.at);
        Ok(Admission::Apply)
    }
}
