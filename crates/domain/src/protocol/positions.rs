//! The reader's rule: which frames of a chain are applied, and what stops a partition.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::frame::{Frame, FrameError, Kind};
use crate::model::address::{AnswerPos, Provenance, Topic};
use crate::model::time::Millis;

/// The last frame of a chain, and the running hash with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub log: u128,
    pub at: AnswerPos,
    pub hash: u64,
}

impl Position {
    pub(super) fn after(tag: &Provenance, kind: Kind, received: Millis, body: &[u8]) -> Self {
        let seed = tag.hash ^ tag.at.offset.rotate_left(17) ^ u64::from(tag.at.part) << 1 ^ (kind as u64) << 56;
        let hash = xxhash_rust::xxh3::xxh3_64_with_seed(body, seed ^ received.cast_unsigned().rotate_left(29));
        Self { log: tag.source.log, at: tag.at, hash }
    }
}

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Apply,
    /// It was applied before: a retry or a zombie.
    Drop,
    /// The one that it follows has not come: [`Positions::missing`] names it until both came again.
    Early,
    /// It is no frame, or damaged: set aside in `rejects`. Only in `scans`, where others may write.
    Reject,
}

/// Frames that came before one that they follow. An alarm, until the writer's replay brings them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{topic} partition {partition}: the frame for {found} follows {named}, but the last one applied was {}: a frame is lost; replay {topic} partition {partition} from a snapshot at or below it",
    place(*.applied)
)]
pub struct Missing {
    pub topic: Topic,
    pub partition: u16,
    /// The last one that was early.
    pub found: AnswerPos,
    /// The one that it follows.
    pub named: AnswerPos,
    pub applied: Option<AnswerPos>,
}

fn place(place: Option<AnswerPos>) -> String {
    place.map_or_else(|| "nothing".to_owned(), |p| p.to_string())
}

/// Why a partition stops, its position unmoved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("{to} offset {offset}: {error}")]
    Frame { to: String, offset: u64, error: FrameError },
    #[error(
        "{from}: the frame for {found} follows {named}, but the last one applied was {applied}: its writer knows nothing of that one; compare the builds and snapshots of its writers"
    )]
    Skipped { from: String, found: AnswerPos, named: String, applied: String },
    #[error(
        "{from}: the frame for {found} names hash {named:016x} for {applied}, here it is {known:016x}: two desks gave different answers; compare the builds and snapshots of its writers"
    )]
    Diverged { from: String, found: AnswerPos, applied: String, named: u64, known: u64 },
    #[error(
        "{from}: the frame names log {found:032x}, the position is of log {known:032x}: the topic was recreated; restore it or begin a new deployment"
    )]
    OtherLog { from: String, found: u128, known: u128 },
    #[error("{partition}: offset {found} came, {expected} was next: the log has a hole or was rewound")]
    Offset { partition: String, expected: u64, found: u64 },
    #[error(
        "{partition}: offset {offset} holds another record than the one that was taken: the log was cut and went on; restore it or begin a new deployment"
    )]
    Rewritten { partition: String, offset: u64 },
    #[error("{partition} offset {offset}: {what}")]
    Unexpected { partition: String, offset: u64, what: String },
}

/// Which safeguards hold. All of them, except in tests that show what each is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultInjection {
    /// Frames at or below the position are dropped.
    pub drop: bool,
    /// A frame must follow the position's.
    pub previous: bool,
    /// Whether a key is forgotten is decided by comparing times, not by what was swept.
    pub expiry_at_probe: bool,
    /// Positions, genesis records and states must belong to the log that is read.
    pub log_id: bool,
}

impl Default for FaultInjection {
    fn default() -> Self {
        Self { drop: true, previous: true, expiry_at_probe: true, log_id: true }
    }
}

/// A reader's positions, one per source partition.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    pub(super) by_source: BTreeMap<(Topic, u16), Position>,
    early: BTreeMap<(Topic, u16), (AnswerPos, AnswerPos)>,
    pub guards: FaultInjection,
}

impl Positions {
    /// None yet.
    #[must_use]
    pub fn new(guards: FaultInjection) -> Self {
        Self { guards, ..Self::default() }
    }

    #[must_use]
    pub fn get(&self, topic: Topic, partition: u16) -> Option<&Position> {
        self.by_source.get(&(topic, partition))
    }

    /// All positions, in order of their sources.
    pub fn iter(&self) -> impl Iterator<Item = (Topic, u16, &Position)> {
        self.by_source.iter().map(|(&(topic, partition), position)| (topic, partition, position))
    }

    /// What has to come again. While there is any, a reader publishes no snapshot and stores no offset above the first early one.
    pub fn missing(&self) -> impl Iterator<Item = Missing> {
        self.early.iter().map(|(&(topic, partition), &(found, named))| Missing {
            topic,
            partition,
            found,
            named,
            applied: self.get(topic, partition).map(|p| p.at),
        })
    }

    /// Takes up a position as it was stored.
    pub fn restore(&mut self, topic: Topic, partition: u16, position: Position) {
        self.by_source.insert((topic, partition), position);
    }

    /// Decides over a tagged frame and, if it is to be applied, moves the position.
    ///
    /// # Errors
    /// The frame does not follow the one applied last; the position stays.
    pub fn admit(&mut self, frame: &Frame<'_>, tag: &Provenance) -> Result<Admission, ProtocolError> {
        let key = (tag.source.topic, tag.source.partition);
        let from = || format!("{} partition {}", tag.source.topic, tag.source.partition);
        // Any of the topic's, so that a partition that had sent nothing yet is not taken for the same one either.
        let mut of_topic = self.by_source.range((tag.source.topic, 0)..=(tag.source.topic, u16::MAX));
        if let Some((_, other)) = of_topic.find(|(_, known)| known.log != tag.source.log)
            && self.guards.log_id
        {
            return Err(ProtocolError::OtherLog { from: from(), found: tag.source.log, known: other.log });
        }
        let known = self.by_source.get(&key);
        if self.guards.drop && known.is_some_and(|known| tag.at <= known.at) {
            return Ok(Admission::Drop);
        }
        if self.guards.previous {
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
        }
        self.by_source.insert(key, Position::after(tag, frame.kind, frame.received, frame.body));
        self.early.retain(|&early, &mut (last, _)| early != key || last > tag.at);
        Ok(Admission::Apply)
    }
}
