//! Entries: the counted scans that enter a draw, and their numbers (contract section 6).

use serde::{Deserialize, Serialize};

use crate::desk::shopper::compiled_rules::Symbol;
use crate::model::fact::Outcome;
use crate::model::rules::Campaign;
use crate::model::time::{Day, Millis};

/// A shopper's entries in one campaign.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Entries {
    pub(super) campaign: Symbol,
    total: u64,
    /// The last two days with entries, the later one first: a day comes again where clocks go back over midnight.
    days: [(Day, u64); 2],
}

/// A counted scan that tries to enter a campaign.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryAttempt<'a> {
    pub(super) received: Millis,
    /// The day of `received`.
    pub(super) day: Day,
    pub(super) region: Option<&'a str>,
    /// Whether the shopper is a guide.
    pub(super) is_guide: bool,
    /// Whether the code does not live.
    pub(super) is_inactive: bool,
    /// Whether this shopper has entered with this one-item code before.
    pub(super) entered_before: bool,
}

/// Decides whether a scan is an entry; returns its number, or the outcome that refuses it.
pub(super) fn enter(
    campaign: &Campaign,
    symbol: Symbol,
    attempt: &EntryAttempt<'_>,
    entries: &mut Vec<Entries>,
) -> Result<u64, Outcome> {
    if attempt.received < campaign.from {
        return Err(Outcome::NotStarted);
    }
    if attempt.received >= campaign.to {
        return Err(Outcome::Ended);
    }
    let region = attempt.region.unwrap_or("");
    if !campaign.areas.is_empty() && !campaign.areas.iter().any(|area| region.starts_with(area.as_str())) {
        return Err(Outcome::OutOfArea);
    }
    if attempt.is_guide && campaign.exclude_guides {
        return Err(Outcome::Excluded);
    }
    if attempt.is_inactive {
        return Err(Outcome::Inactive);
    }
    if attempt.entered_before {
        return Err(Outcome::Yours);
    }
    let known = entries.iter().position(|e| e.campaign == symbol);
    let none = Entries { campaign: symbol, total: 0, days: [(Day::MIN, 0); 2] };
    let mut now = known.map_or(none, |i| entries[i]);
    let of_day = now.days.iter().find(|(day, _)| *day == attempt.day).map_or(0, |(_, n)| *n);
    let over = |limit: Option<u32>, had: u64| limit.is_some_and(|limit| had >= u64::from(limit));
    if over(campaign.limit_total, now.total) || over(campaign.limit_day, of_day) {
        return Err(Outcome::Limit);
    }
    now.total += 1;
    match now.days.iter_mut().find(|(day, _)| *day == attempt.day) {
        Some((_, n)) => *n += 1,
        None => now.days = [(attempt.day, 1), now.days[0]],
    }
    match known {
        Some(i) => entries[i] = now,
        None => {
            // Few shoppers enter several campaigns.
            entries.reserve_exact(1);
            entries.push(now);
        }
    }
    Ok(now.total)
}
