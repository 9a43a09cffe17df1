//! Entries: which counted scans enter a draw, and with which number (contract section 6).

use serde::{Deserialize, Serialize};

use crate::desk::shopper::compiled_rules::{Interner, Symbol};
use crate::model::fact::Outcome;
use crate::model::rules::Campaign;
use crate::model::time::{Day, Millis};

/// A shopper's entries in one campaign.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Entries {
    pub(super) campaign: Symbol,
    total: u64,
    /// The last two days with entries, the later one first: where clocks go back over midnight, a day comes again.
    days: [(Day, u64); 2],
}

/// A counted scan that tries to enter a campaign.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryAttempt {
    pub(super) received: Millis,
    /// The day of `received`.
    pub(super) day: Day,
    pub(super) region: Symbol,
    /// A one-item code that this shopper entered with before.
    pub(super) entered_before: bool,
}

/// Says whether a scan is an entry and, if so, which number it has.
pub(super) fn enter(
    campaign: &Campaign,
    sym: Symbol,
    knock: &EntryAttempt,
    entries: &mut Vec<Entries>,
    names: &Interner,
) -> Result<u64, Outcome> {
    if knock.received < campaign.from {
        return Err(Outcome::NotStarted);
    }
    if knock.received >= campaign.to {
        return Err(Outcome::Ended);
    }
    let region = names.text(knock.region).unwrap_or("");
    if !campaign.areas.is_empty() && !campaign.areas.iter().any(|area| region.starts_with(area.as_str())) {
        return Err(Outcome::OutOfArea);
    }
    if knock.entered_before {
        return Err(Outcome::Yours);
    }
    let known = entries.iter().position(|e| e.campaign == sym);
    let none = Entries { campaign: sym, total: 0, days: [(Day::MIN, 0); 2] };
    let mut now = known.map_or(none, |i| entries[i]);
    let of_day = now.days.iter().find(|(day, _)| *day == knock.day).map_or(0, |(_, n)| *n);
    let over = |limit: Option<u32>, had: u64| limit.is_some_and(|limit| had >= u64::from(limit));
    if over(campaign.limit_total, now.total) || over(campaign.limit_day, of_day) {
        return Err(Outcome::Limit);
    }
    now.total += 1;
    match now.days.iter_mut().find(|(day, _)| *day == knock.day) {
        Some((_, n)) => *n += 1,
        None => now.days = [(knock.day, 1), now.days[0]],
    }
    match known {
        Some(i) => entries[i] = now,
        None => entries.push(now),
    }
    Ok(now.total)
}
