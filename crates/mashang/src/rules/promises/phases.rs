//! Promises of odds, compared phase by phase, in the order of the file.

use domain::model::money::Ratio;
use domain::model::rules::{Campaign, Phase};

use super::breach::Breaches;
use crate::rules::local_time;

/// Compares the phases of two campaigns with odds. What of an old phase lies outside its campaign was never promised.
pub(super) fn compare(found: &mut Breaches<'_>, key: &str, (was, is): (&Campaign, &Campaign), zone: &str) {
    for (i, old) in was.phases.iter().enumerate() {
        let key = format!("{key}.phase[{i}]");
        let Some(new) = is.phases.get(i) else {
            found.changed(key, "there", "removed");
            continue;
        };
        times(found, &key, was, (old, new), zone);
        entries(found, &key, was, (old, new));
        // The odds of a removed prize are not another breach.
        for (prize, &odds) in old.odds.iter().filter(|(id, _)| is.prizes.iter().any(|prize| prize.id == **id)) {
            let next = new.odds.get(prize).copied();
            if next.map_or(odds.numerator > 0, |next| is_less(next, odds)) {
                let next = next.map_or_else(|| "none".to_owned(), text);
                found.changed(format!("{key}.odds.{}", written(prize)), &text(odds), &next);
            }
        }
    }
}

fn times(found: &mut Breaches<'_>, key: &str, was: &Campaign, (old, new): (&Phase, &Phase), zone: &str) {
    let from = old.from.unwrap_or(was.from).max(was.from);
    let to = old.to.unwrap_or(was.to).min(was.to);
    let text = |at: Option<_>| at.map_or_else(|| "none".to_owned(), |at| local_time::rfc3339(at, zone));
    if from < to && new.from.is_some_and(|new| new > from) {
        found.changed(format!("{key}.from"), &text(old.from), &text(new.from));
    }
    if from < to && new.to.is_some_and(|new| new < to) {
        found.changed(format!("{key}.to"), &text(old.to), &text(new.to));
    }
}

fn entries(found: &mut Breaches<'_>, key: &str, was: &Campaign, (old, new): (&Phase, &Phase)) {
    let limit = was.limit_total.map_or(u64::MAX, u64::from);
    let last = |phase: &Phase| phase.entries.1.unwrap_or(u64::MAX);
    let (first, old_last) = (old.entries.0, last(old).min(limit));
    if first <= old_last && (new.entries.0 > first || last(new) < old_last) {
        found.changed(format!("{key}.entries"), &entries_text(old), &entries_text(new));
    }
}

/// The entries of a phase as rules write them.
pub(crate) fn entries_text(phase: &Phase) -> String {
    match phase.entries {
        (first, None) => format!("{first}.."),
        (first, Some(last)) if first == last => first.to_string(),
        (first, Some(last)) => format!("{first}..{last}"),
    }
}

/// Products of 64 bits each have 128: exact.
fn is_less(a: Ratio, b: Ratio) -> bool {
    u128::from(a.numerator) * u128::from(b.denominator) < u128::from(b.numerator) * u128::from(a.denominator)
}

fn text(ratio: Ratio) -> String {
    format!("{}/{}", ratio.numerator, ratio.denominator)
}

/// A key as TOML writes it.
fn written(id: &str) -> String {
    let is_bare = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if is_bare { id.to_owned() } else { serde_json::Value::from(id).to_string() }
}
