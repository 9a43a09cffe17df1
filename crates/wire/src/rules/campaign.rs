//! Campaigns: prize draws with odds.

use data_encoding::HEXLOWER;
use domain::model::money::Ratio;
use domain::model::rules::secrets::{Secret, Secrets};
use domain::model::rules::{Campaign, Mode as DrawMode, Phase};
use num_bigint::BigUint;
use sha2::{Digest, Sha256};

use super::ids::Ids;
use super::prize::{self, Cash};
use super::reach::{Bounds, Reach};
use super::register::{Known, named};
use super::table::{SourceLocation, Table};
use super::values::{PATH_BYTES_MAX, count, hash, https_url, id, integer, ratio, text, word};
use super::{NOT_AT_HAND, Open, Reference};
use crate::hex::hex32;
use crate::json::quoted;

/// Maximum number of areas of a campaign; a longer list is a mistake.
const AREAS_MAX: usize = 10_000;

/// Reads a campaign; its id is taken even if something else is wrong.
pub(super) fn campaign(
    mut table: Table<'_>,
    known: &mut Known,
    currency: Option<&str>,
    open: &mut Open<'_>,
    secrets: &mut Secrets,
) -> Option<Campaign> {
    let id = named(&mut table, "id", &mut known.campaigns, id);
    let mode = table.need("mode", word(Mode::ALL, Mode::as_str));
    if let Some(feature @ (Mode::Sealed | Mode::Moments)) = mode {
        table.mistake("mode", format!("{} are not in this build; write \"odds\"", feature.name()));
        return None;
    }
    table.require("from");
    table.require("to");
    let (from, to) = table.span();
    let areas = table.list("areas", 0..=AREAS_MAX, self::id).unwrap_or_default();
    let limit_total = table.get("limit_total", count);
    let limit_day = table.get("limit_day", count);
    let limit_wins = table.get("limit_wins", count);
    let budget = table.get("budget", integer(0, i64::MAX));
    let landing = table.get("landing", https_url);
    let secret = secret(&mut table, open);
    let mut prize_ids = Ids::of("prize");
    let prizes = prize::prizes(&mut table, &mut prize_ids, Cash::of(currency, budget.is_some()));
    let bounds = Bounds::new(from, to, 1, limit_total.map(u64::from));
    let phases = phases(&mut table, &prize_ids, bounds);
    table.refuse_unbuilt(&[
        ("budget_day", "a budget of a day is"),
        ("exclude_guides", "the exclusion of guides is"),
        ("organiser", "the public notice is"),
        ("contact", "the public notice is"),
        ("redeem", "the public notice is"),
    ]);
    table.end();

    let (reference, key, commit) = secret?;
    let id = id?;
    secrets.campaigns.extend(key.map(|key| (id.clone(), key)));
    Some(Campaign {
        id,
        from: from?,
        to: to?,
        areas,
        limit_total,
        limit_day,
        limit_wins,
        budget,
        landing,
        secret: reference,
        commit,
        prizes,
        phases,
        mode: DrawMode::Odds,
        budget_day: None,
        exclude_guides: false,
        organiser: None,
        contact: None,
        redeem: None,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Odds,
    Sealed,
    Moments,
}

impl Mode {
    const ALL: &'static [Self] = &[Self::Odds, Self::Sealed, Self::Moments];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Odds => "odds",
            Self::Sealed => "sealed",
            Self::Moments => "moments",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Odds => "draws with odds",
            Self::Sealed => "sealed draws",
            Self::Moments => "draws by moments",
        }
    }
}

/// The reference to the secret, the secret if it is at hand, and its commit, which fits it.
fn secret(table: &mut Table<'_>, open: &mut Open<'_>) -> Option<(String, Option<Secret>, String)> {
    let reference = table.need("secret", |value| {
        let reference = text(PATH_BYTES_MAX)(value)?;
        let named = reference.strip_prefix("file:").or_else(|| reference.strip_prefix("env:"));
        if named.is_none_or(str::is_empty) {
            return Err("is no reference to a secret; write \"file:PATH\" or \"env:NAME\", never the secret".to_owned());
        }
        Ok(reference)
    });
    let commit = table.need("commit", hash);
    let reference = reference?;
    let bytes = match open(Reference::Secret(&reference)) {
        Ok(bytes) => bytes,
        Err(why) if why == NOT_AT_HAND => return Some((reference, None, HEXLOWER.encode(&commit?))),
        Err(why) => {
            table.mistake("secret", format!("names {reference:?}, which cannot be read: {why}"));
            return None;
        }
    };
    let Some(secret) = hex32(bytes.trim_ascii()).map(Secret::new) else {
        table.mistake("secret", format!("names {reference:?}, which does not hold 64 hex digits and nothing else"));
        return None;
    };
    let real: [u8; 32] = Sha256::digest(*secret).into();
    let commit = commit?;
    if commit != real {
        table.mistake("commit", format!("is not the SHA-256 of the secret, which is {}", HEXLOWER.encode(&real)));
    }
    Some((reference, Some(secret), HEXLOWER.encode(&commit)))
}

fn phases(campaign: &mut Table<'_>, prizes: &Ids<String>, bounds: Bounds) -> Vec<Phase> {
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
