//! Records as a reader takes them that has no rule for the order of frames.

use std::borrow::Cow;

use domain::frame::{Frame, seal};
use domain::model::address::AnswerPos;
use domain::protocol::positions::Positions;

use super::{Safeguard, Without};

/// Whether records are rewritten.
#[must_use]
pub(crate) fn are_rewritten(without: Without) -> bool {
    without.iter().any(|safeguard| matches!(safeguard, Safeguard::DropRule | Safeguard::PreviousRule))
}

/// A record for a reader at these positions. Its frame is rewritten: it is above the reader's position, so that the drop rule
/// finds nothing, and follows the frame at the position, so that the previous-one rule finds nothing.
#[must_use]
pub fn rewritten<'a>(without: Without, positions: &Positions, record: &'a [u8]) -> Cow<'a, [u8]> {
    let frame = Frame::open(record).ok().filter(|_| are_rewritten(without));
    let Some((frame, mut tag)) = frame.and_then(|frame| Some((frame, frame.tag?))) else { return record.into() };
    let last = positions.get(tag.source.topic_partition());
    if without.contains(&Safeguard::DropRule)
        && let Some(last) = last
        && tag.at <= last.at
    {
        tag.at = AnswerPos { part: last.at.part + 1, ..last.at };
    }
    if without.contains(&Safeguard::PreviousRule) {
        (tag.prev, tag.hash) = (last.map(|last| last.at), last.map_or(0, |last| last.hash));
    }
    seal(frame.kind, frame.received, Some(&tag), frame.count, frame.body).into()
}
