//! The phases of a campaign: odds by time and by the number of the entry.

use domain::model::money::Ratio;
use domain::model::rules::Phase;
use num_bigint::BigUint;

use super::super::ids::Ids;
use super::super::table::{SourceLocation, Table};
use super::super::values::{id, ratio};
use super::reach::{Bounds, Reach};
use crate::json::quoted;

/// Reads the phases of a campaign that draws by odds.
pub(super) fn phases(campaign: &mut Table<'_>, prizes: &Ids<String>, bounds: Bounds) -> Vec<Phase> {
    let tables = campaign.tables("phase", "phase");
    if tables.is_empty() && !campaign.has("phase") {
        campaign.notes.warning(campaign.at(), "has no phase, so that no entry wins anything");
    }
    let mut phases = Vec::new();
    let mut reach = Reach::of(bounds);
    for mut table in tables {
        let (from, to) = table.span();
        let entries = table.get("entries", |value| entries(&id(value)?)).unwrap_or((1, None));
        table.require("odds");
        let odds = table.map("odds", ratio).unwrap_or_default();
        for (prize, _, at) in &odds {
            prizes.check(table.notes, Some(prize), at);
        }
        check_sum(&table, &odds);
        let at = table.at().clone();
        let notes = table.notes;
        table.end();
        if let Some(why) = reach.add(Bounds::new(from, to, entries.0, entries.1)) {
            notes.warning(&at, why);
        }
        let odds = odds.into_iter().map(|(prize, ratio, _)| (prize, ratio)).collect();
        phases.push(Phase { from, to, entries, odds });
    }
    phases
}

/// Reads `"1"`, `"2.."` or `"2..5"`: first and, unless open, last.
fn entries(text: &str) -> Result<(u64, Option<u64>), String> {
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten().filter(|&n: &u64| n > 0)
    };
    let read = match text.split_once("..") {
        None => number(text).map(|n| (n, Some(n))),
        Some((first, "")) => number(first).map(|first| (first, None)),
        Some((first, last)) => number(first).zip(number(last)).map(|(first, last)| (first, Some(last))),
    };
    let (first, last) = read
        .ok_or_else(|| format!("is {}; write entries from 1 on, such as \"1\", \"2..\" or \"2..5\"", quoted(text)))?;
    if last.is_some_and(|last| last < first) {
        return Err(format!("is {}, which ends before it begins", quoted(text)));
    }
    Ok((first, last))
}

/// The sum of odds is exact: one fraction, not cut down on the way.
fn check_sum(table: &Table<'_>, odds: &[(String, Ratio, SourceLocation)]) {
    let mut above = BigUint::ZERO;
    let mut below = BigUint::from(1_u32);
    for (_, ratio, _) in odds {
        if below == BigUint::from(ratio.denominator) {
            above += ratio.numerator;
        } else {
            above = above * ratio.denominator + &below * ratio.numerator;
            below *= ratio.denominator;
        }
    }
    if above > below {
        table.mistake("odds", "add up to more than 1; together they may be 1 at most");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_counted_from_1() {
        assert_eq!(entries("1"), Ok((1, Some(1))));
        assert_eq!(entries("2.."), Ok((2, None)));
        assert_eq!(entries("2..5"), Ok((2, Some(5))));
        for bad in ["", "0", "0..", "..", "..5", "5..2", "1...2", "+1", "1-2", " 1", "99999999999999999999"] {
            assert!(entries(bad).is_err(), "{bad}");
        }
    }
}
