//! What a desk on one partition does with one record: it sends at most one answer to each output partition, and each answer names
//! the record that it answers. Only the records that come in decide what to do.
//!
//! A reader drops a frame that is not above its position. It applies a frame only if the frame's tag names the position as
//! the previous answer, with the same running hash. A frame that comes before the one that it follows is early: it raises an
//! alarm and is not applied, but the reader reads on, because only later records can repair the log: the writer replays and
//! sends both frames again. Any other mismatch stops the partition, and the error names both positions. So frames of a zombie
//! are dropped, and a lost frame, a torn log or a diverging desk is an alarm, never a wrong number.
//!
//! - [`outbox`]: a desk's answers to one record
//! - [`segments`]: how a snapshot stores what changed
//!
//! The module `positions` has the reader's rule; this one has the writer's part: which records a stage applies, and its answers.

pub mod outbox;
pub mod segments;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::frame::{self, Body, Frame, Frames, Kind};
use crate::model::address::{AnswerPos, PartitionId, Partitions, Provenance, Topic, TopicPartition};
use crate::model::rules::RulesSeq;
use crate::model::rules::rulebook::Library;
use crate::model::time::Millis;
use crate::protocol::behaviour::{Behaviour, Build};
use crate::protocol::error::{DeskError, RestoreError};
use crate::protocol::genesis::Genesis;
use crate::protocol::kept::Kept;
use crate::protocol::positions::{Admission, Position, Positions, ProtocolError};
use crate::protocol::reject;
pub use outbox::{Outbox, Output};
use segments::Segments;

/// The behaviour of this build, which its markers name.
pub const BEHAVIOUR: u32 = Build::this().own().number;

/// The rules that are in force from this marker on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker<'a> {
    /// The merchant's name.
    #[serde(borrow)]
    pub merchant: &'a str,
    /// The version number; a desk ignores a marker whose number is not above the last one of its merchant.
    pub seq: RulesSeq,
    /// SHA-256 of the published object.
    pub sha256: [u8; 32],
    /// The behaviour that begins at this marker.
    pub behaviour: u32,
}

/// Encodes a marker as a record.
#[must_use]
pub fn marker_record(marker: &Marker<'_>) -> Vec<u8> {
    let mut body = Body::default();
    body.push(marker);
    let mut record = Vec::new();
    body.drain(|bytes, count| record = frame::seal(Kind::Marker, 0, None, count, bytes));
    record
}

/// A desk: a pure function of its state and a frame.
pub trait Desk: Clone + Default + Segments {
    /// The topic that it reads.
    const TOPIC: Topic;

    /// Encodes its state for a snapshot.
    fn save(&self) -> Vec<u8>;

    /// Encodes what of its state is not in segments, so that [`Desk::load`] reads it.
    fn save_head(&self) -> Vec<u8> {
        self.save()
    }

    /// Approximate size of its state in memory, bytes, by kind.
    fn sizes(&self) -> Vec<(&'static str, usize)>;

    /// What it keeps for later, and which bounds that reached. The default is for desks without such bounds.
    fn kept(&self) -> Kept {
        Kept::default()
    }

    /// Restores a state that [`Desk::save`] wrote under a behaviour; `None` before the first marker.
    ///
    /// # Errors
    /// The state cannot be decoded, or names rules that are not in the library.
    fn load(state: &[u8], library: &Library, behaviour: Option<Behaviour>) -> Result<Self, RestoreError>;

    /// Another behaviour begins, with a higher number. The default does nothing, for desks that are the same in all of them.
    fn behave(&mut self, _behaviour: Behaviour) {}

    /// Applies a frame and returns the `received` of its last event. `append` is the log's own append time.
    ///
    /// # Errors
    /// The frame contradicts the log, for example it names rules that are not published. The desk of `scans` has then applied
    /// nothing of it.
    fn apply(
        &mut self,
        frame: &Frame<'_>,
        append: Millis,
        library: &Library,
        out: &mut Outbox,
    ) -> Result<Millis, DeskError>;

    /// Applies a marker that is above the last one of its merchant. The default does nothing, for desks that apply the rules
    /// that each item names.
    ///
    /// # Errors
    /// The rules are not in the library.
    fn switch(&mut self, _marker: &Marker<'_>, _library: &Library, _out: &mut Outbox) -> Result<(), DeskError> {
        Ok(())
    }
}

/// Options of a stage: the behaviours of its build, its clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageOptions {
    /// The behaviours that it knows.
    pub build: Build,
    /// Whether `received` comes from the events' own times alone, without append times.
    pub is_event_clock: bool,
    /// Whether nothing reads the results of scans: facts that only say them are left out of its answers, which then have other bytes.
    pub without_results: bool,
}

/// Identifies a record that a stage has read: a later read of the same offset must find the same record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordMark {
    /// Its offset.
    pub offset: u64,
    checksum: u32,
    append: Millis,
}

/// A stage in a snapshot.
#[derive(Serialize, Deserialize)]
struct Saved {
    /// 0 before the first marker.
    behaviour: u32,
    source: PartitionId,
    partitions: Partitions,
    next: u64,
    last: Option<(u32, Millis)>,
    positions: Vec<(TopicPartition, Position)>,
    sent: Vec<(TopicPartition, Position)>,
    markers: BTreeMap<String, RulesSeq>,
    /// Copied as a whole, not byte by byte; bincode writes both alike.
    #[serde(with = "serde_bytes")]
    desk: Vec<u8>,
}

/// A desk on one partition, with the state that the protocol needs.
#[derive(Clone, Debug)]
pub struct Stage<D> {
    /// The desk, with its state.
    desk: D,
    source: PartitionId,
    /// The offset that must come next.
    next: u64,
    /// Checksum and append time of the last record.
    last: Option<(u32, Millis)>,
    /// A record that another stage of this partition has read and this one has not reached yet.
    expected: Option<RecordMark>,
    positions: Positions,
    sent: BTreeMap<TopicPartition, Position>,
    markers: BTreeMap<String, RulesSeq>,
    build: Build,
    is_event_clock: bool,
    /// `None` until the first marker names one; there are no answers before it.
    behaviour: Option<Behaviour>,
    outbox: Outbox,
}

impl<D: Desk> Stage<D> {
    /// A desk at the beginning of a partition.
    #[must_use]
    pub fn new(options: StageOptions, desk: D, log: u128, partition: u16, partitions: Partitions) -> Self {
        let StageOptions { build, is_event_clock, without_results } = options;
        Self {
            desk,
            source: PartitionId { log, topic: D::TOPIC, partition },
            next: 0,
            last: None,
            expected: None,
            positions: Positions::default(),
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
                reports_received: false,
                without_results,
            },
        }
    }

    /// The offset that must come next.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// The last record that it has read.
    #[must_use]
    pub fn last_taken(&self) -> Option<RecordMark> {
        let (checksum, append) = self.last?;
        Some(RecordMark { offset: self.next.checked_sub(1)?, checksum, append })
    }

    /// Requires this record at its offset: another stage of this partition has read it there.
    pub fn expect(&mut self, mark: RecordMark) {
        self.expected = Some(mark).filter(|mark| mark.offset >= self.next);
    }

    /// The smallest end offset that the log can have.
    #[must_use]
    pub fn known_end(&self) -> u64 {
        self.expected.map_or(self.next, |mark| mark.offset + 1)
    }

    /// The last frames that it applied of its source partitions.
    #[must_use]
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The desk, with its state.
    #[must_use]
    pub fn desk(&self) -> &D {
        &self.desk
    }

    /// The number of the behaviour in force; 0 before the first marker.
    #[must_use]
    pub fn behaviour(&self) -> u32 {
        self.behaviour.map_or(0, |b| b.number)
    }

    /// Whether the behaviour in force lets its answers share records with others.
    #[must_use]
    pub fn has_bundles(&self) -> bool {
        self.behaviour.is_some_and(|behaviour| behaviour.has_bundles)
    }

    fn behave(&mut self, behaviour: Behaviour) {
        self.behaviour = Some(behaviour);
        self.desk.behave(behaviour);
        self.outbox.part_bytes_max = behaviour.part_bytes_max;
        self.outbox.bodies.values_mut().for_each(|body| body.cut_on_at(behaviour.part_bytes_max));
    }

    /// Whether its state is stored in segments.
    #[must_use]
    pub fn has_segments(&self) -> bool {
        self.behaviour.is_some_and(|behaviour| behaviour.has_segments) && self.desk.has_segments()
    }

    /// The segments of its state.
    pub fn segments(&mut self) -> &mut impl Segments {
        &mut self.desk
    }

    /// Encodes what of the stage is not in segments, for a snapshot.
    #[must_use]
    pub fn save_head(&self) -> Vec<u8> {
        self.save_with(self.desk.save_head())
    }

    /// Encodes the whole stage for a snapshot: a restored stage gives the same answers as this one.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        self.save_with(self.desk.save())
    }

    fn save_with(&self, desk: Vec<u8>) -> Vec<u8> {
        let positions = |map: &BTreeMap<TopicPartition, Position>| map.iter().map(|(k, v)| (*k, *v)).collect();
        frame::encode(&Saved {
            behaviour: self.behaviour(),
            source: self.source,
            partitions: self.outbox.partitions,
            next: self.next,
            last: self.last,
            positions: positions(&self.positions.by_source),
            sent: positions(&self.sent),
            markers: self.markers.clone(),
            desk,
        })
    }

    /// Restores a saved stage of this partition and log. A stage that was saved in segments needs those, too.
    ///
    /// # Errors
    /// The state is of another partition or log, of a behaviour that this build does not know, or torn.
    pub fn restore(
        options: StageOptions,
        saved: &[u8],
        log: u128,
        partition: u16,
        partitions: Partitions,
        library: &Library,
    ) -> Result<Self, RestoreError> {
        let saved: Saved = frame::decode(saved)?;
        let source = PartitionId { log, topic: D::TOPIC, partition };
        if saved.source != source || saved.partitions != partitions {
            return Err(RestoreError::Source);
        }
        let behaviour = (saved.behaviour > 0).then(|| options.build.behaviour(saved.behaviour)).transpose();
        let behaviour = behaviour.map_err(RestoreError::Behaviour)?;
        let mut stage = Self::new(options, D::load(&saved.desk, library, behaviour)?, log, partition, partitions);
        behaviour.into_iter().for_each(|behaviour| stage.behave(behaviour));
        (stage.next, stage.last) = (saved.next, saved.last);
        stage.positions.by_source = saved.positions.into_iter().collect();
        stage.sent = saved.sent.into_iter().collect();
        stage.markers = saved.markers;
        Ok(stage)
    }

    /// Applies the record at an offset of its partition and answers it. A lane that begins from a snapshot also passes the
    /// last record before it, if the log still has it, so that the stage can check that the record is unchanged.
    ///
    /// # Errors
    /// Why the partition stops. The caller must then drop the stage: it may have applied half a frame.
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
        let unexpected = |what| ProtocolError::Unexpected { partition: name(), offset, what: Box::new(what) };
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
        self.check_expected(append, record)?;
        let taken = Some((frame::stored_checksum(record), append));
        let opened =
            if D::TOPIC == Topic::Scans { Frame::open(record).map(Frames::from) } else { Frames::open(record) };
        let frames = match opened {
            Ok(frames) => frames,
            Err(error) if D::TOPIC == Topic::Scans && error.is_broken() => {
                return self.set_aside(append, record, &error.to_string(), answer);
            }
            Err(error) => return Err(ProtocolError::Frame { to: name(), offset, error }),
        };
        let is_bundle = frames.is_bundle();
        let (mut received, mut admitted) = (None, Admission::Drop);
        for (number, frame) in (0..).zip(frames) {
            if frame.kind == Kind::Genesis {
                let checked = Genesis::check(&frame, self.source);
                if checked.is_err() && D::TOPIC == Topic::Scans && offset > 0 {
                    let why = "the frame names a partition, which only the first record of a partition does";
                    return self.set_aside(append, record, why, answer);
                }
                checked.map_err(|what| unexpected(what.into()))?;
                admitted = Admission::Apply;
                continue;
            }
            if D::TOPIC == Topic::Scans && frame.tag.is_some() {
                let why = "the frame names a source, which a frame of scans does not have";
                return self.set_aside(append, record, why, answer);
            }
            if let Some(tag) = &frame.tag {
                let admission = self.positions.admit(&frame, tag)?;
                if admission != Admission::Apply {
                    // A frame that was applied counts most, then an early one.
                    admitted = if admitted == Admission::Drop { admission } else { admitted };
                    continue;
                }
            }
            let applied = if frame.kind == Kind::Marker {
                self.switch(&frame, library).map(|()| frame.received)
            } else {
                let received_max = if self.is_event_clock { Millis::MAX } else { append };
                self.desk.apply(&frame, received_max, library, &mut self.outbox)
            };
            match applied {
                Ok(of_frame) => received = received.max(Some(of_frame)),
                // The desk has applied nothing of it.
                Err(why) if D::TOPIC == Topic::Scans && frame.kind != Kind::Marker && why.is_of_the_record() => {
                    return self.set_aside(append, record, &why.to_string(), answer);
                }
                Err(DeskError::Frame(error)) if is_bundle => {
                    return Err(unexpected(DeskError::Frame(error.in_bundle(number)).into()));
                }
                Err(what) => return Err(unexpected(what.into())),
            }
            admitted = Admission::Apply;
        }
        (self.next, self.last) = (offset + 1, taken);
        if let Some(received) = received {
            self.tag_answers(offset, received, answer);
        }
        Ok(admitted)
    }

    /// Copies the next record to `rejects` instead of applying it, and goes on after it. Only for records of `scans`: what is behind
    /// them does not depend on what was in one of them.
    ///
    /// # Errors
    /// Another record was expected there.
    pub fn set_aside(
        &mut self,
        append: Millis,
        record: &[u8],
        why: &str,
        answer: &mut Vec<Output>,
    ) -> Result<Admission, ProtocolError> {
        self.check_expected(append, record)?;
        let offset = self.next;
        let copy = reject::record(self.source, offset, append, why, record);
        answer.push(Output { topic: Topic::Rejects, partition: 0, record: copy });
        (self.next, self.last) = (offset + 1, Some((frame::stored_checksum(record), append)));
        Ok(Admission::Reject)
    }

    /// Checks the next record against the one that another stage took there.
    fn check_expected(&mut self, append: Millis, record: &[u8]) -> Result<(), ProtocolError> {
        let offset = self.next;
        match self.expected.take_if(|expected| expected.offset == offset) {
            Some(expected) if (frame::stored_checksum(record), append) != (expected.checksum, expected.append) => {
                Err(ProtocolError::Rewritten { partition: self.source.to_string(), offset })
            }
            _ => Ok(()),
        }
    }

    fn tag_answers(&mut self, offset: u64, received: Millis, answer: &mut Vec<Output>) {
        let reports_received = std::mem::take(&mut self.outbox.reports_received);
        for (&to, body) in &mut self.outbox.bodies {
            let TopicPartition { topic, partition } = to;
            if body.is_empty() && !(reports_received && topic == Topic::Facts) {
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
                let sent = self.sent.get(&to);
                let tag = Provenance {
                    source: self.source,
                    at: AnswerPos { offset, part },
                    prev: sent.map(|s| s.at),
                    hash: sent.map_or(0, |s| s.hash),
                };
                self.sent.insert(to, Position::after(&tag, kind, received, bytes));
                answer.push(Output { topic, partition, record: frame::seal(kind, received, Some(&tag), count, bytes) });
                part += 1;
            });
        }
    }

    /// Switches the desk to the rules of a frame's markers. A marker that is not above the last one of its merchant is ignored.
    fn switch(&mut self, frame: &Frame<'_>, library: &Library) -> Result<(), DeskError> {
        for marker in frame.items::<Marker<'_>>() {
            let marker = marker?;
            if self.markers.get(marker.merchant).is_some_and(|&last| marker.seq <= last) {
                continue;
            }
            let behaviour = self.build.behaviour(marker.behaviour).map_err(DeskError::Behaviour)?;
            let book = library.get(&marker.seq);
            if book.is_none_or(|b| b.sha256 != marker.sha256 || b.rules.merchant != marker.merchant) {
                return Err(DeskError::Marker { seq: marker.seq, merchant: marker.merchant.to_owned() });
            }
            // Markers of two publishers may come in another order than in `rules`: the behaviour never goes back.
            if behaviour.number > self.behaviour() {
                self.behave(behaviour);
            }
            self.markers.insert(marker.merchant.to_owned(), marker.seq);
            self.desk.switch(&marker, library, &mut self.outbox)?;
        }
        Ok(())
    }
}
