//! Publishing rules as data: what `rules` says, and what a publisher does next.
//!
//! `rules` is the order of all versions of all merchants, and it takes no locks to write it. A publisher reads to its end and
//! proposes the number after the last; a reader accepts a proposal only if its number is just that, so of several for one
//! number the first counts, and a proposal that is in the log twice counts once. The other publishers read that they came
//! late, check their rules again, because other rules now hold, and propose again.
//!
//! Markers of an accepted version then go into every partition, topic by topic against the stream: a desk never gets
//! rules from the one before it that are not published in its own partition already. Then `rules` says that they are placed.
//! The next publisher completes what was left unfinished before its own version; a desk ignores a marker that is not above
//! the last one of its merchant, so that it does no harm to place one twice, or late.

use std::collections::BTreeSet;

use crate::frame::{Body, Frame, FrameError, Kind, seal};
use crate::model::address::Topic;
use crate::protocol::genesis::Genesis;
use crate::protocol::positions::ProtocolError;
use crate::protocol::stage::{Marker, marker_record};

/// Where markers go, and in this order: each topic's are acknowledged before the next.
pub const DOWNSTREAM_FIRST: [Topic; 3] = [Topic::Awards, Topic::Draws, Topic::Scans];

/// A version that is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its place among all versions of all merchants, from 1.
    pub order: u32,
    pub merchant: String,
    pub sha256: [u8; 32],
    pub behaviour: u32,
}

impl Version {
    /// What stands in the partitions.
    #[must_use]
    pub fn marker(&self) -> Marker<'_> {
        Marker { merchant: &self.merchant, order: self.order, sha256: self.sha256, behaviour: self.behaviour }
    }
}

/// What a record of `rules` meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Which log it is of.
    Genesis(Genesis),
    /// A version is published, under this number.
    Accepted(u32),
    /// It says nothing new: another publisher's was there first, or it is there twice.
    Ignored,
    /// Markers of this version stand in every partition.
    Placed(u32),
}

/// Rules that ask for less than what is published do: their build is the older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("behaviour {highest} is published, this build would publish {own}: upgrade it")]
pub struct Outdated {
    pub own: u32,
    pub highest: u32,
}

/// What `rules` says, as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// The offset that comes next.
    next: u64,
    birth: Option<Genesis>,
    /// The one of order `n` is at `n - 1`.
    published: Vec<Version>,
    placed: BTreeSet<u32>,
}

impl Registry {
    /// The offset that comes next.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// What log it is; `None` of an embedded one, whose directory says it, and of one that `topics create` did not make.
    #[must_use]
    pub fn birth(&self) -> Option<&Genesis> {
        self.birth.as_ref()
    }

    /// Everything published, in its order.
    #[must_use]
    pub fn published(&self) -> &[Version] {
        &self.published
    }

    /// The version of a number.
    #[must_use]
    pub fn version(&self, order: u32) -> Option<&Version> {
        self.published.get(usize::try_from(order).ok()?.checked_sub(1)?)
    }

    /// The last version of a merchant.
    #[must_use]
    pub fn last(&self, merchant: &str) -> Option<&Version> {
        self.published.iter().rev().find(|version| version.merchant == merchant)
    }

    /// The number that the next version has.
    #[must_use]
    pub fn next_order(&self) -> u32 {
        self.published.last().map_or(1, |last| last.order + 1)
    }

    /// The highest behaviour that any version asks for; 0 if there is none. It never falls.
    #[must_use]
    pub fn behaviour(&self) -> u32 {
        self.published.last().map_or(0, |last| last.behaviour)
    }

    /// Whether markers of a version stand in every partition.
    #[must_use]
    pub fn is_placed(&self, order: u32) -> bool {
        self.placed.contains(&order)
    }

    /// Versions whose markers may be missing somewhere, in their order. One that a later one of its merchant follows is not
    /// among them: no desk needs it any more.
    pub fn unplaced(&self) -> impl Iterator<Item = &Version> {
        let is_last = |v: &Version| self.last(&v.merchant).is_some_and(|last| last.order == v.order);
        self.published.iter().filter(move |v| !self.placed.contains(&v.order) && is_last(v))
    }

    /// A version that would come next. Its record is [`marker_record`]'s; whether it was accepted, [`Registry::has`] says
    /// after it was read back.
    ///
    /// # Errors
    /// It asks for a lower behaviour than what is published.
    pub fn propose<'a>(&self, merchant: &'a str, sha256: [u8; 32], behaviour: u32) -> Result<Marker<'a>, Outdated> {
        if behaviour < self.behaviour() {
            return Err(Outdated { own: behaviour, highest: self.behaviour() });
        }
        Ok(Marker { merchant, order: self.next_order(), sha256, behaviour })
    }

    /// Whether just this was accepted.
    #[must_use]
    pub fn has(&self, marker: &Marker<'_>) -> bool {
        self.version(marker.order).is_some_and(|version| version.marker() == *marker)
    }

    /// Takes the record at an offset of `rules`.
    ///
    /// # Errors
    /// It does not follow, or has no place in `rules`.
    pub fn take(&mut self, offset: u64, record: &[u8]) -> Result<Taken, ProtocolError> {
        let partition = || format!("{} partition 0", Topic::Rules);
        if offset != self.next {
            return Err(ProtocolError::Offset { partition: partition(), expected: self.next, found: offset });
        }
        let frame = Frame::open(record).map_err(|error| ProtocolError::Frame { to: partition(), offset, error })?;
        let taken = self.frame(offset, &frame);
        let taken = taken.map_err(|what| ProtocolError::Unexpected { partition: partition(), offset, what })?;
        self.next += 1;
        Ok(taken)
    }

    fn frame(&mut self, offset: u64, frame: &Frame<'_>) -> Result<Taken, String> {
        match frame.kind {
            Kind::Genesis if offset == 0 => {
                let birth = Genesis::of(frame)?;
                self.birth = Some(birth);
                Ok(Taken::Genesis(birth))
            }
            // The first one a second time, once all topics are made; another one lost a race of two who made them.
            Kind::Genesis => Ok(Taken::Ignored),
            Kind::Marker => Ok(self.marker(&one(frame.items())?)),
            Kind::Placed => self.placed(one(frame.items())?),
            kind => Err(format!("a frame of {kind:?} has no place here")),
        }
    }

    fn marker(&mut self, marker: &Marker<'_>) -> Taken {
        let Marker { merchant, order, sha256, behaviour } = *marker;
        if order != self.next_order() || behaviour < self.behaviour() {
            return Taken::Ignored;
        }
        self.published.push(Version { order, merchant: merchant.to_owned(), sha256, behaviour });
        Taken::Accepted(order)
    }

    fn placed(&mut self, order: u32) -> Result<Taken, String> {
        if self.version(order).is_none() {
            return Err(format!("markers of version {order} are said to be placed, and it was never published"));
        }
        Ok(if self.placed.insert(order) { Taken::Placed(order) } else { Taken::Ignored })
    }
}

/// A record for `rules`: markers of a version stand in every partition.
#[must_use]
pub fn placed_record(order: u32) -> Vec<u8> {
    let mut body = Body::default();
    body.push(&order);
    let mut record = Vec::new();
    body.drain(|bytes, count| record = seal(Kind::Placed, 0, None, count, bytes));
    record
}

/// The only item of a frame.
fn one<T>(mut items: impl Iterator<Item = Result<T, FrameError>>) -> Result<T, String> {
    let item = items.next().ok_or("the frame is empty")?.map_err(|e| e.to_string())?;
    if items.next().is_some() { Err("the frame has more than one item".to_owned()) } else { Ok(item) }
}

/// What a publisher does next. Asked for the one after it, it has done it: whatever it appended is acknowledged. A publisher
/// that does not know that begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act<'a> {
    /// See whether its rules may follow these, the last of its merchant; then append to `rules`, and read that to its end.
    Propose { follows: Option<&'a Version>, record: Vec<u8> },
    /// Append to every partition of a topic.
    Place { topic: Topic, record: Vec<u8> },
    /// Append to `rules`, and read that to its end.
    TellPlaced { record: Vec<u8> },
    /// Its rules are published, under this number, and markers stand in every partition.
    Done { order: u32 },
}

/// A publisher of one version. It begins after `rules` was read to its end.
#[derive(Clone, Debug)]
pub struct Publisher {
    merchant: String,
    sha256: [u8; 32],
    behaviour: u32,
    /// The number that it proposed last.
    proposed: Option<u32>,
    /// The version that it places, and in how many topics it did.
    placing: (u32, usize),
}

impl Publisher {
    #[must_use]
    pub fn new(merchant: &str, sha256: [u8; 32], behaviour: u32) -> Self {
        Self { merchant: merchant.to_owned(), sha256, behaviour, proposed: None, placing: (0, 0) }
    }

    /// What it does next, after what `rules` says now.
    ///
    /// # Errors
    /// It is of an older build than others that publish.
    pub fn next<'a>(&mut self, registry: &'a Registry) -> Result<Act<'a>, Outdated> {
        if let Some(version) = registry.unplaced().next() {
            return Ok(self.place(version));
        }
        // The same rules for a higher behaviour are something new: it begins at their marker.
        let same = |v: &&Version| v.merchant == self.merchant && v.sha256 == self.sha256;
        let is_own = |v: &&Version| same(v) && v.behaviour >= self.behaviour;
        let accepted = self.proposed.and_then(|order| registry.version(order)).filter(is_own);
        let follows = registry.last(&self.merchant);
        if let Some(own) = accepted.or(follows.filter(is_own)) {
            return Ok(Act::Done { order: own.order });
        }
        let marker = registry.propose(&self.merchant, self.sha256, self.behaviour)?;
        self.proposed = Some(marker.order);
        Ok(Act::Propose { follows, record: marker_record(&marker) })
    }

    fn place(&mut self, version: &Version) -> Act<'static> {
        if self.placing.0 != version.order {
            self.placing = (version.order, 0);
        }
        match DOWNSTREAM_FIRST.get(self.placing.1) {
            Some(&topic) => {
                self.placing.1 += 1;
                Act::Place { topic, record: marker_record(&version.marker()) }
            }
            None => Act::TellPlaced { record: placed_record(version.order) },
        }
    }
}
