//! Promises of minted codes: those that are active stay active.
//!
//! A batch may have 2³² codes, so intervals of serials are compared, never serials.

use domain::model::rules::{Activate, Batch, Range, RangeState, Rules};

use super::breach::{Breaches, MEND};

/// Maximum number of ranges of a batch that are named each; the others are counted in one message.
const RANGES_NAMED_MAX: usize = 20;

/// Compares the batches whose scans enter a campaign in the old rules.
pub(super) fn compare(found: &mut Breaches<'_>, campaign: &str, old: &Rules, new: &Rules) {
    for was in old.batches.iter().filter(|batch| batch.campaign.as_deref() == Some(campaign)) {
        let Some(i) = new.batches.iter().position(|batch| batch.number == was.number) else {
            found.changed("batch".to_owned(), &was.number.to_string(), "removed, and its codes are forged");
            continue;
        };
        let (is, key) = (&new.batches[i], format!("batch[{i}]"));
        found.value(format!("{key}.count"), Some(was.count), Some(is.count));
        if is.commit != was.commit {
            found.changed(format!("{key}.commit"), &was.commit, &is.commit);
        }
        let is_darker = was.activate == Activate::All && is.activate == Activate::Ranges;
        if is_darker {
            found.changed(format!("{key}.activate"), was.activate.as_str(), is.activate.as_str());
        }
        serials(found, &key, (old, was), (new, is), is_darker);
    }
}

/// Consecutive serials, half-open.
type Serials = (u64, u64);

/// Finds serials that are active in the old rules and are not in the new ones.
fn serials(
    found: &mut Breaches<'_>,
    key: &str,
    (old, was): (&Rules, &Batch),
    (new, is): (&Rules, &Batch),
    is_darker: bool,
) {
    let active = active(old, was);
    let (first, ranges) = ranges(new, is.number);
    let mut unnamed = (0, 0);
    let mut named = 0;
    for (i, range) in (first..).zip(ranges).filter(|(_, range)| range.state != RangeState::Active) {
        let Some(lost) = Lost::of(&active, (range.from, range.to)) else { continue };
        if named == RANGES_NAMED_MAX {
            unnamed = (unnamed.0 + 1, unnamed.1 + lost.count);
        } else {
            named += 1;
            let state = range.state;
            found.range_state(i, format!("was active, is {state}: {}: {MEND}", lost.text(is.number)));
        }
    }
    if unnamed.0 > 0 {
        let (ranges, count) = unnamed;
        let what = format!("was active, is not in {ranges} more ranges: {count} codes: {MEND}");
        found.add("range".to_owned(), what);
    }
    // Where all codes outside of ranges become dark, `activate` says so.
    if is.activate == Activate::Ranges && !is_darker {
        let dark = gaps(ranges, is.count).into_iter().filter_map(|gap| Lost::of(&active, gap));
        if let Some(lost) = dark.reduce(|all, more| Lost { first: all.first, count: all.count + more.count }) {
            let what = format!("was active, is in no range: {}: {MEND}", lost.text(is.number));
            found.add(key.to_owned(), what);
        }
    }
}

/// Serials that were active, within others.
struct Lost {
    first: u64,
    count: u64,
}

impl Lost {
    /// What of `active`, ascending, lies within an interval; `None` if nothing does.
    fn of(active: &[Serials], (from, to): Serials) -> Option<Self> {
        let start = active.partition_point(|&(_, end)| end <= from);
        let parts = active[start..].iter().take_while(|(begin, _)| *begin < to);
        let mut parts = parts.map(|&(begin, end)| (begin.max(from), end.min(to))).filter(|(begin, end)| begin < end);
        let (first, end) = parts.next()?;
        Some(Self { first, count: end - first + parts.map(|(begin, end)| end - begin).sum::<u64>() })
    }

    fn text(&self, batch: u32) -> String {
        let Self { first, count } = self;
        let codes = if *count == 1 { "1 code".to_owned() } else { format!("{count} codes") };
        format!("{codes} of batch {batch}, the first is {batch}:{first}")
    }
}

/// The ranges of a batch, and the place of the first among all: ranges are sorted by batch and serial.
fn ranges(rules: &Rules, batch: u32) -> (usize, &[Range]) {
    let first = rules.ranges.partition_point(|range| range.batch < batch);
    let end = rules.ranges.partition_point(|range| range.batch <= batch);
    (first, &rules.ranges[first..end])
}

/// The active serials of a batch, ascending.
fn active(rules: &Rules, batch: &Batch) -> Vec<Serials> {
    let ranges = ranges(rules, batch.number).1;
    let living = ranges.iter().filter(|range| range.state == RangeState::Active);
    let mut active: Vec<Serials> = living.map(|range| (range.from, range.to.min(batch.count))).collect();
    if batch.activate == Activate::All {
        active.extend(gaps(ranges, batch.count));
        active.sort_unstable();
    }
    active
}

/// The serials of a batch that are in no range, ascending.
fn gaps(ranges: &[Range], count: u64) -> Vec<Serials> {
    let mut next = 0;
    let mut gaps = Vec::new();
    for range in ranges {
        gaps.push((next, range.from.min(count)));
        next = range.to;
    }
    gaps.push((next, count));
    gaps.retain(|(from, to)| from < to);
    gaps
}
