//! Publishing rules as data: what `rules` says, and what a publisher does next.
//!
//! The topic `rules` gives all versions of all merchants one order, without locks. A publisher reads it to the end and
//! proposes the number after the last. A reader accepts a proposal only if it has exactly that number: of several proposals
//! of one number the first counts, and a proposal that is in the log twice counts once. The other publishers read back that
//! their proposal was late, compare their rules with those now in force, and propose the next number.
//!
//! Then markers of the accepted version go into every partition, the last topic of the pipeline first: a desk never gets an
//! item that names rules without a marker in its own partition. Then a record in `rules` says that the markers are placed.
//! The next publisher completes a version that was left unfinished before its own. A desk ignores a marker whose number is
//! not above the last one of its merchant, so a marker that comes twice or late does no harm.

use std::collections::BTreeSet;

use crate::frame::{Body, Frame, FrameError, Kind, seal};
use crate::model::address::Topic;
use crate::model::rules::RulesSeq;
use crate::protocol::error::{RulesRecordError, Unexpected};
use crate::protocol::genesis::Genesis;
use crate::protocol::positions::ProtocolError;
use crate::protocol::stage::{Marker, marker_record};

/// The topics that markers go to, in this order: those of one topic are acknowledged before the next topic's are sent.
pub const DOWNSTREAM_FIRST: [Topic; 3] = [Topic::Awards, Topic::Draws, Topic::Scans];

/// A published version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number among all versions of all merchants, from 1.
    pub seq: RulesSeq,
    /// The merchant's name.
    pub merchant: String,
    /// SHA-256 of the published object.
    pub sha256: [u8; 32],
    /// The behaviour that begins at its markers.
    pub behaviour: u32,
}

impl Version {
    /// The marker that goes into the partitions.
    #[must_use]
    pub fn marker(&self) -> Marker<'_> {
        Marker { merchant: &self.merchant, seq: self.seq, sha256: self.sha256, behaviour: self.behaviour }
    }
}

/// What a record of `rules` changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesEvent {
    /// The log is named.
    Genesis(Genesis),
    /// A version is published under this number.
    Accepted(RulesSeq),
    /// Nothing: another proposal came first, or the record is there twice.
    Ignored,
    /// Markers of this version are in every partition.
    Placed(RulesSeq),
}

/// A proposal asks for a lower behaviour than what is published: its publisher is of an older build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("behaviour {highest} is published, this build would publish {own}: upgrade it")]
pub struct Outdated {
    /// The behaviour of the proposal.
    pub own: u32,
    /// The highest behaviour that is published.
    pub highest: u32,
}

/// The content of `rules`, as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// The next offset to read.
    next: u64,
    genesis: Option<Genesis>,
    /// The version with number `n` is at index `n - 1`.
    published: Vec<Version>,
    placed: BTreeSet<RulesSeq>,
}

impl Registry {
    /// The next offset to read.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// The log's first record. `None` for an embedded log, whose directory has this information, and for a log that
    /// `topics create` did not create.
    #[must_use]
    pub fn genesis(&self) -> Option<&Genesis> {
        self.genesis.as_ref()
    }

    /// All published versions, in order of their numbers.
    #[must_use]
    pub fn published(&self) -> &[Version] {
        &self.published
    }

    /// The version of a number.
    #[must_use]
    pub fn version(&self, seq: RulesSeq) -> Option<&Version> {
        self.published.get(usize::try_from(seq.0).ok()?.checked_sub(1)?)
    }

    /// The last version of a merchant.
    #[must_use]
    pub fn last(&self, merchant: &str) -> Option<&Version> {
        self.published.iter().rev().find(|version| version.merchant == merchant)
    }

    /// The number of the next version.
    #[must_use]
    pub fn next_seq(&self) -> RulesSeq {
        self.published.last().map_or(RulesSeq::FIRST, |last| last.seq.next())
    }

    /// The highest behaviour that any version asks for; 0 if there is none. It never falls.
    #[must_use]
    pub fn behaviour(&self) -> u32 {
        self.published.last().map_or(0, |last| last.behaviour)
    }

    /// Whether markers of a version are in every partition.
    #[must_use]
    pub fn is_placed(&self, seq: RulesSeq) -> bool {
        self.placed.contains(&seq)
    }

    /// Versions whose markers may be missing in some partition, in order. A version that is not the last of its merchant is
    /// not among them: no desk needs its markers.
    pub fn unplaced(&self) -> impl Iterator<Item = &Version> {
        let is_last = |v: &Version| self.last(&v.merchant).is_some_and(|last| last.seq == v.seq);
        self.published.iter().filter(move |v| !self.placed.contains(&v.seq) && is_last(v))
    }

    /// The marker of a proposal for the next version. [`marker_record`] encodes it; after the record was read back,
    /// [`Registry::has`] says whether it was accepted.
    ///
    /// # Errors
    /// The proposal asks for a lower behaviour than what is published.
    pub fn propose<'a>(&self, merchant: &'a str, sha256: [u8; 32], behaviour: u32) -> Result<Marker<'a>, Outdated> {
        if behaviour < self.behaviour() {
            return Err(Outdated { own: behaviour, highest: self.behaviour() });
        }
        Ok(Marker { merchant, seq: self.next_seq(), sha256, behaviour })
    }

    /// Whether exactly this marker was accepted.
    #[must_use]
    pub fn has(&self, marker: &Marker<'_>) -> bool {
        self.version(marker.seq).is_some_and(|version| version.marker() == *marker)
    }

    /// Reads the record at an offset of `rules`.
    ///
    /// # Errors
    /// The offset is not the next one, or the record does not belong into `rules`.
    pub fn take(&mut self, offset: u64, record: &[u8]) -> Result<RulesEvent, ProtocolError> {
        let partition = || format!("{} partition 0", Topic::Rules);
        if offset != self.next {
            return Err(ProtocolError::Offset { partition: partition(), expected: self.next, found: offset });
        }
        let frame = Frame::open(record).map_err(|error| ProtocolError::Frame { to: partition(), offset, error })?;
        let taken = self.frame(offset, &frame);
        let unexpected = |what| ProtocolError::Unexpected {
            partition: partition(),
            offset,
            what: Box::new(Unexpected::Rules(what)),
        };
        let taken = taken.map_err(unexpected)?;
        self.next += 1;
        Ok(taken)
    }

    fn frame(&mut self, offset: u64, frame: &Frame<'_>) -> Result<RulesEvent, RulesRecordError> {
        match frame.kind {
            Kind::Genesis if offset == 0 => {
                let genesis = Genesis::of(frame)?;
                self.genesis = Some(genesis);
                Ok(RulesEvent::Genesis(genesis))
            }
            // A copy of the first record, or the record of another process that created the topics at the same time and lost.
            Kind::Genesis => Ok(RulesEvent::Ignored),
            Kind::Marker => Ok(self.marker(&one(frame.items())?)),
            Kind::Placed => self.placed(one(frame.items())?),
            kind => Err(RulesRecordError::Kind(kind)),
        }
    }

    fn marker(&mut self, marker: &Marker<'_>) -> RulesEvent {
        let Marker { merchant, seq, sha256, behaviour } = *marker;
        if seq != self.next_seq() || behaviour < self.behaviour() {
            return RulesEvent::Ignored;
        }
        self.published.push(Version { seq, merchant: merchant.to_owned(), sha256, behaviour });
        RulesEvent::Accepted(seq)
    }

    fn placed(&mut self, seq: RulesSeq) -> Result<RulesEvent, RulesRecordError> {
        if self.version(seq).is_none() {
            return Err(RulesRecordError::Unpublished(seq));
        }
        Ok(if self.placed.insert(seq) { RulesEvent::Placed(seq) } else { RulesEvent::Ignored })
    }
}

/// A record for `rules`: markers of a version are in every partition.
#[must_use]
pub fn placed_record(seq: RulesSeq) -> Vec<u8> {
    let mut body = Body::default();
    body.push(&seq);
    let mut record = Vec::new();
    body.drain(|bytes, count| record = seal(Kind::Placed, 0, None, count, bytes));
    record
}

/// The only item of a frame.
fn one<T>(mut items: impl Iterator<Item = Result<T, FrameError>>) -> Result<T, RulesRecordError> {
    let item = items.next().ok_or(RulesRecordError::Empty)??;
    if items.next().is_some() { Err(RulesRecordError::Several) } else { Ok(item) }
}

/// The next action of a publisher. The caller asks for another one only after everything that it appended is acknowledged; if
/// it cannot know that, it starts again with a new [`Publisher`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act<'a> {
    /// Check that its rules may follow these, the last of its merchant; then append to `rules`, and read `rules` to the end.
    Propose {
        /// `None` for the first version of the merchant.
        follows: Option<&'a Version>,
        /// The proposal.
        record: Vec<u8>,
    },
    /// Append the record to every partition of a topic.
    Place {
        /// The topic.
        topic: Topic,
        /// The marker.
        record: Vec<u8>,
    },
    /// Append to `rules`, and read `rules` to the end.
    ReportPlaced {
        /// The report.
        record: Vec<u8>,
    },
    /// The rules are published under this number, and markers are in every partition.
    Done {
        /// The number.
        seq: RulesSeq,
    },
}

/// A publisher of one version. It begins after `rules` was read to the end.
#[derive(Clone, Debug)]
pub struct Publisher {
    merchant: String,
    sha256: [u8; 32],
    behaviour: u32,
    /// The number of its last proposal.
    proposed: Option<RulesSeq>,
    /// The version whose markers it places, and the number of topics that have them.
    placing: (RulesSeq, usize),
}

impl Publisher {
    /// A publisher of the object with this SHA-256, under a behaviour.
    #[must_use]
    pub fn new(merchant: &str, sha256: [u8; 32], behaviour: u32) -> Self {
        Self { merchant: merchant.to_owned(), sha256, behaviour, proposed: None, placing: (RulesSeq::default(), 0) }
    }

    /// The next action, according to what `rules` says now.
    ///
    /// # Errors
    /// It is of an older build than other publishers.
    pub fn next<'a>(&mut self, registry: &'a Registry) -> Result<Act<'a>, Outdated> {
        if let Some(version) = registry.unplaced().next() {
            return Ok(self.place(version));
        }
        // The same rules with a higher behaviour are a new version: the behaviour begins at their marker.
        let same = |v: &&Version| v.merchant == self.merchant && v.sha256 == self.sha256;
        let is_own = |v: &&Version| same(v) && v.behaviour >= self.behaviour;
        let accepted = self.proposed.and_then(|seq| registry.version(seq)).filter(is_own);
        let follows = registry.last(&self.merchant);
        if let Some(own) = accepted.or(follows.filter(is_own)) {
            return Ok(Act::Done { seq: own.seq });
        }
        let marker = registry.propose(&self.merchant, self.sha256, self.behaviour)?;
        self.proposed = Some(marker.seq);
        Ok(Act::Propose { follows, record: marker_record(&marker) })
    }

    fn place(&mut self, version: &Version) -> Act<'static> {
        if self.placing.0 != version.seq {
            self.placing = (version.seq, 0);
        }
        match DOWNSTREAM_FIRST.get(self.placing.1) {
            Some(&topic) => {
                self.placing.1 += 1;
                Act::Place { topic, record: marker_record(&version.marker()) }
            }
            None => Act::ReportPlaced { record: placed_record(version.seq) },
        }
    }
}
