//! Which phases an entry can reach at all: rectangles of time and entry number, each less those before it.

use domain::model::time::{Millis, TIME_MAX};

/// `[from, to)` and the entries from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    from: Millis,
    to: Millis,
    first: u64,
    last: u64,
}

impl Bounds {
    pub(super) fn new(from: Option<Millis>, to: Option<Millis>, first: u64, last: Option<u64>) -> Self {
        Self { from: from.unwrap_or(0), to: to.unwrap_or(TIME_MAX + 1), first, last: last.unwrap_or(u64::MAX) }
    }

    fn is_empty(self) -> bool {
        self.from >= self.to || self.first > self.last
    }

    fn both(self, other: Self) -> Self {
        Self {
            from: self.from.max(other.from),
            to: self.to.min(other.to),
            first: self.first.max(other.first),
            last: self.last.min(other.last),
        }
    }

    /// What of it lies outside another: before and after in time, and below and above in number.
    fn without(self, other: Self) -> Vec<Self> {
        let hole = self.both(other);
        if hole.is_empty() {
            return vec![self];
        }
        let before = Self { to: hole.from, ..self };
        let after = Self { from: hole.to, ..self };
        let below = Self { last: hole.first.saturating_sub(1), first: self.first, ..hole };
        let above = Self { first: hole.last.saturating_add(1), last: self.last, ..hole };
        let is_none_above = hole.last == u64::MAX;
        let around = [before, after, below].into_iter().chain((!is_none_above).then_some(above));
        around.filter(|piece| !piece.is_empty()).collect()
    }
}

/// The phases of a campaign so far.
pub(super) struct Reach {
    campaign: Bounds,
    earlier: Vec<Bounds>,
}

impl Reach {
    pub(super) fn of(campaign: Bounds) -> Self {
        Self { campaign, earlier: Vec::new() }
    }

    /// Adds the next phase; why no entry can reach it, if none can.
    pub(super) fn add(&mut self, phase: Bounds) -> Option<&'static str> {
        /// Maximum number of pieces of a shape; a shape with more is not examined further, and only a warning is missed.
        const PIECES_MAX: usize = 1_000;
        if phase.is_empty() || self.campaign.is_empty() {
            // Both are mistakes, reported elsewhere.
            return None;
        }
        let in_time = Bounds { first: phase.first, last: phase.last, ..phase.both(self.campaign) };
        let inside = phase.both(self.campaign);
        let mut pieces = vec![inside];
        if in_time.is_empty() {
            return Some("no entry can reach it: it lies outside the campaign's `from` and `to`");
        }
        if inside.is_empty() {
            return Some("no entry can reach it: its entries are beyond the campaign's `limit_total`");
        }
        for &earlier in &self.earlier {
            pieces = pieces.into_iter().flat_map(|piece| piece.without(earlier)).collect();
            if pieces.len() > PIECES_MAX {
                break;
            }
        }
        self.earlier.push(inside);
        pieces.is_empty().then_some("no entry can reach it: the phases before it take all of its entries")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bounds() -> impl Strategy<Value = Bounds> {
        (0..6_i64, 1..6_i64, 1..6_u64, prop::option::of(0..5_u64)).prop_map(|(from, length, first, more)| {
            Bounds::new(Some(from), Some(from + length), first, more.map(|m| first + m))
        })
    }

    proptest! {
        /// A phase is out of reach if and only if no (time, entry) of the campaign finds it first.
        #[test]
        fn agrees_with_trying_every_entry(campaign in bounds(), phases in prop::collection::vec(bounds(), 1..6)) {
            let holds = |b: &Bounds, at: i64, n: u64| b.from <= at && at < b.to && b.first <= n && n <= b.last;
            let mut reach = Reach::of(campaign);
            for (i, phase) in phases.iter().enumerate() {
                let reached = (0..12).any(|at| (1..12).any(|n| {
                    holds(&campaign, at, n) && phases.iter().position(|p| holds(p, at, n)) == Some(i)
                }));
                prop_assert_eq!(reach.add(*phase).is_none(), reached);
            }
        }
    }
}
