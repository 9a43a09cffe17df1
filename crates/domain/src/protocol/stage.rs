//! The partition protocol as data (design, principle 3): one frame in, at most one frame out per output partition, each
//! tagged with what it answers; what came in decides what to do.
//!
//! A reader drops a frame that is not above its position, and applies one only if its previous one and running hash are
//! the position's. A frame that came before the one that it follows is early: it is an alarm, and is not applied, but the
//! reader reads on, because only later records can repair a log: its writer replays and sends both again.
//! Anything else stops the partition with both places named. So a zombie's frames are dropped, and a lost frame, a torn
//! log or a diverging desk is an alarm, never a wrong number.
//!
//! - `positions`: the reader's rule; the rest is the writer's: what a stage takes, and what it answers

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::frame::{self, Body, Frame, Kind};
use crate::model::address::{AnswerPos, PartitionId, Partitions, Provenance, Topic};
use crate::model::ids;
use crate::model::rulebook::Library;
use crate::model::time::Millis;
use crate::protocol::behaviour::{Behaviour, Build};
use crate::protocol::genesis::Genesis;
use crate::protocol::reject;

pub use crate::protocol::positions::{Admission, FaultInjection, Missing, Position, Positions, ProtocolError};

/// The behaviour of this build, which its markers name.
pub const BEHAVIOUR: u32 = Build::this().own().number;

/// The rules that hold from a marker on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker<'a> {
    #[serde(borrow)]
    pub merchant: &'a str,
    /// The place in `rules`; a desk ignores a marker that is not above the last one of its merchant.
    pub order: u32,
    pub sha256: [u8; 32],
    pub behaviour: u32,
}

/// A record for a marker.
#[must_use]
pub fn marker_record(marker: &Marker<'_>) -> Vec<u8> {
    let mut body = Body::default();
    body.push(marker);
    let mut record = Vec::new();
    body.drain(|bytes, count| record = frame::seal(Kind::Marker, 0, None, count, bytes));
    record
}

/// A record that a stage answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub topic: Topic,
    pub partition: u16,
    pub record: Vec<u8>,
}

/// Where a desk puts its answers to one frame.
#[derive(Clone, Debug)]
pub struct Outbox {
    partitions: Partitions,
    /// The partition of the frame that is answered: its facts all go to one partition.
    source_partition: u16,
    bodies: BTreeMap<(Topic, u16), Body>,
    /// Where bodies are cut.
    part_bytes_max: usize,
    /// Whether the ledger gets a frame even if there is no fact in it.
    tells: bool,
    /// The safeguards of the stage, for the desks that have one of them.
    guards: FaultInjection,
}

impl Outbox {
    /// Adds an item to the answer for the partition of a uniform key.
    pub fn send<T: Serialize>(&mut self, topic: Topic, key: u128, item: &T) {
        let partition = ids::partition(ids::shard(key), self.partitions.of(topic));
        self.body(topic, partition).push(item);
    }

    /// Reports the latest `received` to the ledger, even if there is nothing else to report.
    pub fn tell_received(&mut self) {
        self.tells = true;
        self.body(Topic::Facts, self.facts_partition());
    }

    /// Which safeguards hold.
    #[must_use]
    pub fn guards(&self) -> FaultInjection {
        self.guards
    }

    fn facts_partition(&self) -> u16 {
        self.source_partition % self.partitions.facts
    }

    /// Adds a fact.
    pub fn fact(&mut self, fact: &crate::model::fact::Fact<'_>) {
        self.body(Topic::Facts, self.facts_partition()).push(fact);
    }

    fn body(&mut self, topic: Topic, partition: u16) -> &mut Body {
        let part_bytes_max = self.part_bytes_max;
        self.bodies.entry((topic, partition)).or_insert_with(|| Body::cut_at(part_bytes_max))
    }
}

/// A desk: a pure function of its state and a frame.
pub trait Desk: Clone + Default {
    /// The topic that it reads.
    const TOPIC: Topic;

    /// Its state, for a snapshot.
    fn save(&self) -> Vec<u8>;

    /// About how many bytes of memory its state takes, by kind.
    fn sizes(&self) -> Vec<(&'static str, usize)>;

    /// Takes up a state that [`Desk::save`] wrote.
    ///
    /// # Errors
    /// Why it cannot, as a phrase.
    fn load(state: &[u8], library: &Library) -> Result<Self, String>;

    /// Applies a frame and says the `received` of its last event. `append` is the log's own append time.
    ///
    /// # Errors
    /// What is impossible in the frame, such as rules that were never published.
    fn apply(
        &mut self,
        frame: &Frame<'_>,
        append: Millis,
        library: &Library,
        out: &mut Outbox,
    ) -> Result<Millis, String>;

    /// Applies a marker that is above the last one of its merchant. Nothing, at a desk that works under the rules that
    /// each of its items names.
    ///
    /// # Errors
    /// The rules are not at hand.
    fn switch(&mut self, _marker: &Marker<'_>, _library: &Library, _out: &mut Outbox) -> Result<(), String> {
        Ok(())
    }
}

/// What a stage works with: what its build can do, and which safeguards hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageOptions {
    pub build: Build,
    pub guards: FaultInjection,
    /// Whether append times play no part in `received`: events' own times decide.
    pub is_event_clock: bool,
}

/// A record that a stage took: whenever that offset is read again, this must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordMark {
    pub offset: u64,
    checksum: u32,
    append: Millis,
}

/// A stage as a snapshot keeps it.
#[derive(Serialize, Deserialize)]
struct Saved {
    /// 0: no marker has come.
    behaviour: u32,
    source: PartitionId,
    partitions: Partitions,
    next: u64,
    last: Option<(u32, Millis)>,
    positions: Vec<((Topic, u16), Position)>,
    sent: Vec<((Topic, u16), Position)>,
    markers: BTreeMap<String, u32>,
    desk: Vec<u8>,
}

/// A desk on one partition, with all that the protocol asks of it.
#[derive(Clone, Debug)]
pub struct Stage<D> {
    desk: D,
    source: PartitionId,
    /// The offset that must come next.
    next: u64,
    /// Checksum and append time of the one before.
    last: Option<(u32, Millis)>,
    /// What another stage of this partition took, if this one has not come so far yet.
    expected: Option<RecordMark>,
    pub positions: Positions,
    sent: BTreeMap<(Topic, u16), Position>,
    markers: BTreeMap<String, u32>,
    build: Build,
    is_event_clock: bool,
    /// `None` until the first marker names one: nothing is answered before.
    behaviour: Option<Behaviour>,
    outbox: Outbox,
}

impl<D: Desk> Stage<D> {
    /// A desk at the beginning of a partition.
    #[must_use]
    pub fn new(desk: D, log: u128, partition: u16, partitions: Partitions) -> Self {
        Self::new_under(StageOptions::default(), desk, log, partition, partitions)
    }

    /// The same, of another build or without some safeguard.
    #[must_use]
    pub fn new_under(terms: StageOptions, desk: D, log: u128, partition: u16, partitions: Partitions) -> Self {
        let StageOptions { build, guards, is_event_clock } = terms;
        Self {
            desk,
            source: PartitionId { log, topic: D::TOPIC, partition },
            next: 0,
            last: None,
            expected: None,
            positions: Positions::new(guards),
            sent: BTreeMap::new(),
            markers: BTreeMap::new(),
            build,
            is_event_clock,
            behaviour: None,
            outbox: Outbox {
                partitions,
                source_partition: partition,
                bodies: BTreeMap::new(),
                part_bytes_max: build.own().part_bytes_max,
                tells: false,
                guards,
            },
        }
    }

    /// The offset that must come next.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// The last record that it took.
    #[must_use]
    pub fn last_taken(&self) -> Option<RecordMark> {
        let (checksum, append) = self.last?;
        Some(RecordMark { offset: self.next.checked_sub(1)?, checksum, append })
    }

    /// Another stage of this partition has taken this record: it must be there when this one comes to it.
    pub fn expect(&mut self, taken: RecordMark) {
        self.expected = Some(taken).filter(|taken| taken.offset >= self.next);
    }

    /// How long the log must be at least.
    #[must_use]
    pub fn known_end(&self) -> u64 {
        self.expected.map_or(self.next, |taken| taken.offset + 1)
    }

    #[must_use]
    pub fn desk(&self) -> &D {
        &self.desk
    }

    /// The number of the behaviour that it is at; 0 before the first marker.
    #[must_use]
    pub fn behaviour(&self) -> u32 {
        self.behaviour.map_or(0, |b| b.number)
    }

    fn behave(&mut self, behaviour: Behaviour) {
        self.behaviour = Some(behaviour);
        self.outbox.part_bytes_max = behaviour.part_bytes_max;
        self.outbox.bodies.values_mut().for_each(|body| body.cut_on_at(behaviour.part_bytes_max));
    }

    /// The whole state, for a snapshot: a stage that is restored from it continues as this one does.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let positions = |map: &BTreeMap<(Topic, u16), Position>| map.iter().map(|(k, v)| (*k, *v)).collect();
        frame::encode(&Saved {
            behaviour: self.behaviour(),
            source: self.source,
            partitions: self.outbox.partitions,
            next: self.next,
            last: self.last,
            positions: positions(&self.positions.by_source),
            sent: positions(&self.sent),
            markers: self.markers.clone(),
            desk: self.desk.save(),
        })
    }

    /// A stage as it was saved, of the partition and the log that it must be of.
    ///
    /// # Errors
    /// It is of something else, of a behaviour that this build does not know, or torn; as a phrase.
    pub fn restore(
        saved: &[u8],
        log: u128,
        partition: u16,
        partitions: Partitions,
        library: &Library,
    ) -> Result<Self, String> {
        Self::restore_under(StageOptions::default(), saved, log, partition, partitions, library)
    }

    /// The same, of another build or without some safeguard.
    ///
    /// # Errors
    /// As [`Stage::restore`].
    pub fn restore_under(
        terms: StageOptions,
        saved: &[u8],
        log: u128,
        partition: u16,
        partitions: Partitions,
        library: &Library,
    ) -> Result<Self, String> {
        let saved: Saved = frame::decode(saved)?;
        let log_known = if terms.guards.log_id { log } else { saved.source.log };
        let source = PartitionId { log: log_known, topic: D::TOPIC, partition };
        if saved.source != source || saved.partitions != partitions {
            return Err("is of another log, partition or number of partitions".to_owned());
        }
        let behaviour = (saved.behaviour > 0).then(|| terms.build.behaviour(saved.behaviour)).transpose();
        let behaviour = behaviour.map_err(|what| format!("is of {what}"))?;
        let mut stage = Self::new_under(terms, D::load(&saved.desk, library)?, log, partition, partitions);
        behaviour.into_iter().for_each(|behaviour| stage.behave(behaviour));
        (stage.next, stage.last) = (saved.next, saved.last);
        stage.positions.by_source = saved.positions.into_iter().collect();
        stage.sent = saved.sent.into_iter().collect();
        stage.markers = saved.markers;
        Ok(stage)
    }

    /// Takes the record at an offset of its partition and answers it. A lane that begins from a snapshot hands in the record
    /// before the next one as well, where the log still has it: it must be the one that was taken.
    ///
    /// # Errors
    /// Why the partition stops. The stage must then be thrown away: it may have seen half a frame.
    pub fn step(
        &mut self,
        offset: u64,
        append: Millis,
        record: &[u8],
        library: &Library,
        answer: &mut Vec<Output>,
    ) -> Result<Admission, ProtocolError> {
        let source = self.source;
        let name = || source.to_string();
        if offset < self.next {
            let same =
                offset + 1 < self.next || self.last.is_none_or(|last| last == (frame::stored_checksum(record), append));
            return if same {
                Ok(Admission::Drop)
            } else {
                Err(ProtocolError::Rewritten { partition: name(), offset })
            };
        }
        if offset > self.next {
            return Err(ProtocolError::Offset { partition: name(), expected: self.next, found: offset });
        }
        let taken = Some((frame::stored_checksum(record), append));
        if let Some(expected) = self.expected.take_if(|expected| expected.offset == offset)
            && taken != Some((expected.checksum, expected.append))
        {
            return Err(ProtocolError::Rewritten { partition: name(), offset });
        }
        let frame = match Frame::open(record) {
            Ok(frame) => frame,
            Err(error) if D::TOPIC == Topic::Scans && error.is_foreign() => {
                let record = reject::record(self.source, offset, append, &error.to_string(), record);
                answer.push(Output { topic: Topic::Rejects, partition: 0, record });
                (self.next, self.last) = (offset + 1, taken);
                return Ok(Admission::Reject);
            }
            Err(error) => return Err(ProtocolError::Frame { to: name(), offset, error }),
        };
        if frame.kind == Kind::Genesis {
            if self.positions.guards.log_id {
                Genesis::check(&frame, self.source).map_err(|what| ProtocolError::Unexpected {
                    partition: name(),
                    offset,
                    what,
                })?;
            }
            (self.next, self.last) = (offset + 1, taken);
            return Ok(Admission::Apply);
        }
        if let Some(tag) = &frame.tag {
            let verdict = self.positions.admit(&frame, tag)?;
            if verdict != Admission::Apply {
                (self.next, self.last) = (offset + 1, taken);
                return Ok(verdict);
            }
        }
        self.outbox.guards = self.positions.guards;
        let applied = if frame.kind == Kind::Marker {
            self.switch(&frame, library).map(|()| frame.received)
        } else {
            let cut = if self.is_event_clock { Millis::MAX } else { append };
            self.desk.apply(&frame, cut, library, &mut self.outbox)
        };
        let received = applied.map_err(|what| ProtocolError::Unexpected { partition: name(), offset, what })?;
        (self.next, self.last) = (offset + 1, taken);
        self.tag_answers(offset, received, answer);
        Ok(Admission::Apply)
    }

    fn tag_answers(&mut self, offset: u64, received: Millis, answer: &mut Vec<Output>) {
        let tells = std::mem::take(&mut self.outbox.tells);
        for (&(topic, partition), body) in &mut self.outbox.bodies {
            if body.is_empty() && !(tells && topic == Topic::Facts) {
                continue;
            }
            let kind = match topic {
                Topic::Draws => Kind::CodeScans,
                Topic::Awards => Kind::Wins,
                Topic::Facts => Kind::Facts,
                Topic::Scans | Topic::Rules | Topic::Rejects => unreachable!("no desk answers into {topic}"),
            };
            let mut part = 0;
            body.drain(|bytes, count| {
                let sent = self.sent.get(&(topic, partition));
                let tag = Provenance {
                    source: self.source,
                    at: AnswerPos { offset, part },
                    prev: sent.map(|s| s.at),
                    hash: sent.map_or(0, |s| s.hash),
                };
                self.sent.insert((topic, partition), Position::after(&tag, kind, received, bytes));
                answer.push(Output { topic, partition, record: frame::seal(kind, received, Some(&tag), count, bytes) });
                part += 1;
            });
        }
    }

    /// Changes over at markers. One that is not above the last of its merchant asks for nothing.
    fn switch(&mut self, frame: &Frame<'_>, library: &Library) -> Result<(), String> {
        for marker in frame.items::<Marker<'_>>() {
            let marker = marker.map_err(|e| e.to_string())?;
            if self.markers.get(marker.merchant).is_some_and(|&last| marker.order <= last) {
                continue;
            }
            let behaviour =
                self.build.behaviour(marker.behaviour).map_err(|what| format!("the marker asks for {what}"))?;
            let book = library.get(&marker.order);
            if book.is_none_or(|b| b.sha256 != marker.sha256 || b.rules.merchant != marker.merchant) {
                return Err(format!(
                    "rules {} of {} are not at hand: publish them again",
                    marker.order, marker.merchant
                ));
            }
            // Two publishers' markers may come in another order than that of `rules`: never back to a lower one.
            if behaviour.number > self.behaviour() {
                self.behave(behaviour);
            }
            self.markers.insert(marker.merchant.to_owned(), marker.order);
            self.desk.switch(&marker, library, &mut self.outbox)?;
        }
        Ok(())
    }
}
