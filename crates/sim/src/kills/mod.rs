//! Kills between a draw and its grant: which places they hit, and how a place is found in a world that runs.
//!
//! - [`bounds`]: cases in which nearly every entry draws, and stock and budget are for one or two
//!
//! Replays after a kill send draws and grants again that are known already. A place counts only with a draw whose grant is not yet in
//! the ledger, so frames are followed by their positions, from the ledger back to the code desk.

pub mod bounds;

use std::collections::BTreeMap;

use domain::frame::{Frame, Frames, Kind};
use domain::model::address::{AnswerPos, Topic, TopicPartition};
use domain::model::fact::{Fact, What};
use domain::protocol::positions::Positions;

/// Maximum number of kills in one world; the rest of its run has none.
pub(crate) const KILLS_MAX: usize = 40;
/// Percentage of the steps after which a kill is considered.
pub(crate) const KILL_PERCENT: u64 = 50;
/// Percentage of the kills that come just after snapshots: those that may be published by then, and no others.
pub(crate) const SNAPSHOTS_PERCENT: u64 = 30;
/// Maximum number of kills by which a place may be ahead of the least hit one of a world.
const AHEAD_MAX: u64 = 4;

/// Where a draw is when a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The code desk has drawn, or passed on an entry that draws at moments; the log does not have its frame.
    DrawSent,
    /// The log is writing that frame.
    DrawWritten,
    /// The log has the draw; the campaign desk has not read it.
    DrawDurable,
    /// The campaign desk has granted; the log does not have its frame.
    GrantSent,
    /// The log is writing that frame.
    GrantWritten,
    /// The log has the grant; the ledger has not read it.
    GrantDurable,
    /// The ledger has read the grant and has not committed it.
    GrantRead,
}

impl Place {
    /// All places of a process.
    pub const ALL: [Self; 7] = [
        Self::DrawSent,
        Self::DrawWritten,
        Self::DrawDurable,
        Self::GrantSent,
        Self::GrantWritten,
        Self::GrantDurable,
        Self::GrantRead,
    ];
    /// All places of a fleet, where brokers write.
    pub const FLEET: [Self; 5] =
        [Self::DrawSent, Self::DrawDurable, Self::GrantSent, Self::GrantDurable, Self::GrantRead];

    /// Whether a world with these counts may be killed here: draws are at some places for long, and at others for a few steps.
    #[must_use]
    pub(crate) fn is_due(self, all: &[Self], counts: &BTreeMap<&str, u64>) -> bool {
        let hits = |place: &Self| counts.get(place.as_str()).copied().unwrap_or_default();
        all.iter().map(hits).min().is_some_and(|least| hits(&self) < least + AHEAD_MAX)
    }

    /// What the counts of a run say of its kills at this place.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DrawSent => "killed: draw in flight",
            Self::DrawWritten => "killed: draw being written",
            Self::DrawDurable => "killed: draw durable, not read",
            Self::GrantSent => "killed: grant in flight",
            Self::GrantWritten => "killed: grant being written",
            Self::GrantDurable => "killed: grant durable, not read",
            Self::GrantRead => "killed: grant read, not committed",
        }
    }
}

/// The last frames that the log and the ledger have. Its caller goes from the ledger back: the stored positions, the records of `facts`
/// and the frames in flight to it, then the same of `awards`.
#[derive(Debug, Default)]
pub(crate) struct FrameTracker {
    /// The last frame of each (source, destination).
    last: BTreeMap<(TopicPartition, TopicPartition), AnswerPos>,
    /// For each partition of `awards`, the last offset of which the log or the ledger has a grant.
    granted: BTreeMap<TopicPartition, u64>,
}

impl FrameTracker {
    /// The reader of a partition has applied the frames up to these positions.
    pub(crate) fn applied(&mut self, to: TopicPartition, positions: &Positions) {
        positions.iter().for_each(|(from, position)| self.advance(from, to, position.at));
    }

    /// Whether a record that the log has of a partition is the first with its frame, and holds a draw or a grant that is pending.
    pub(crate) fn is_pending(&mut self, to: TopicPartition, offset: u64, record: &[u8]) -> bool {
        let is_granted = self.granted.get(&to).is_some_and(|&granted| offset <= granted);
        let is_new = self.is_pending_in_flight(to, record);
        for tag in Frames::open(record).into_iter().flatten().filter_map(|frame| frame.tag) {
            self.advance(tag.source.topic_partition(), to, tag.at);
        }
        is_new && !is_granted
    }

    /// The same of a record that the log does not have.
    pub(crate) fn is_pending_in_flight(&self, to: TopicPartition, record: &[u8]) -> bool {
        let is_pending = |frame: Frame<'_>| {
            let Some(tag) = frame.tag else { return false };
            let last = self.last.get(&(tag.source.topic_partition(), to));
            last.is_none_or(|&last| last < tag.at) && has_draws(&frame)
        };
        Frames::open(record).into_iter().flatten().any(is_pending)
    }

    fn advance(&mut self, from: TopicPartition, to: TopicPartition, at: AnswerPos) {
        let last = self.last.entry((from, to)).or_insert(at);
        *last = at.max(*last);
        if (from.topic, to.topic) == (Topic::Awards, Topic::Facts) {
            let granted = self.granted.entry(from).or_default();
            *granted = at.offset.max(*granted);
        }
    }
}

/// Whether the items are draws for the campaign desk, or facts of which some is an award.
fn has_draws(frame: &Frame<'_>) -> bool {
    let is_award = |fact: Result<Fact<'_>, _>| fact.is_ok_and(|fact| matches!(fact.what, What::Award(_)));
    match frame.kind {
        Kind::Wins => true,
        Kind::Facts => frame.items::<Fact<'_>>().any(is_award),
        _ => false,
    }
}
