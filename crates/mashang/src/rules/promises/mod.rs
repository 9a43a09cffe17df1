//! What was promised stays (contract section 4): a draw that is on may become better for shoppers, not worse.
//!
//! [`breaches`] compares two versions of a merchant's rules. A campaign of the old version is compared if its `from` has passed
//! and its `to` has not. It does no I/O; the caller says what time it is, and where keys stand in the new file.
//!
//! - `breach`: a broken promise, and the list of them
//! - `prizes`: what a prize gives, and what bounds it
//! - `phases`: odds, phase by phase
//! - `batches`: codes that must stay active

mod batches;
pub(crate) mod breach;
pub(crate) mod phases;
pub(crate) mod prizes;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use domain::model::rules::{Campaign, Rules};
use domain::model::time::Millis;

use crate::rules::local_time;
use breach::{Breach, Breaches, NewFile};

/// Every promise of the old rules that the new ones break, as of a moment.
pub(crate) fn breaches(old: &Rules, new: &Rules, now: Millis, file: NewFile<'_>) -> Vec<Breach> {
    let mut found = Breaches { list: Vec::new(), file };
    for was in old.campaigns.iter().filter(|campaign| campaign.from <= now && now < campaign.to) {
        match new.campaigns.iter().position(|campaign| campaign.id == was.id) {
            Some(i) => campaign(&mut found, &format!("campaign[{i}]"), (was, &new.campaigns[i]), &new.time_zone),
            None => {
                let ends = local_time::rfc3339(was.to, &new.time_zone);
                found.changed("campaign".to_owned(), &format!("{} (on until {ends})", was.id), "removed");
            }
        }
        batches::compare(&mut found, &was.id, old, new);
    }
    found.list
}

fn campaign(found: &mut Breaches<'_>, key: &str, (was, is): (&Campaign, &Campaign), zone: &str) {
    let at = |moment| local_time::rfc3339(moment, zone);
    if is.mode != was.mode {
        found.changed(format!("{key}.mode"), was.mode.as_str(), is.mode.as_str());
    }
    if is.from > was.from {
        found.changed(format!("{key}.from"), &at(was.from), &at(is.from));
    }
    if is.to < was.to {
        found.changed(format!("{key}.to"), &at(was.to), &at(is.to));
    }
    areas(found, key, &was.areas, &is.areas);
    found.bound(format!("{key}.limit_total"), was.limit_total, is.limit_total);
    found.bound(format!("{key}.limit_day"), was.limit_day, is.limit_day);
    found.bound(format!("{key}.limit_wins"), was.limit_wins, is.limit_wins);
    found.bound(format!("{key}.budget"), was.budget, is.budget);
    found.bound(format!("{key}.budget_day"), was.budget_day, is.budget_day);
    if is.exclude_guides && !was.exclude_guides {
        // It is the default, so that the key may be missing in the new file.
        let mend = "write exclude_guides = false, or publish with --because TEXT";
        found.add(format!("{key}.exclude_guides"), format!("was false, is true: {mend}"));
    }
    if is.secret != was.secret {
        found.changed(format!("{key}.secret"), &was.secret, &is.secret);
    }
    if is.commit != was.commit {
        found.changed(format!("{key}.commit"), &was.commit, &is.commit);
    }
    prizes::compare(found, key, was, is);
    if is.mode == was.mode {
        phases::compare(found, key, (was, is), zone);
    }
}

/// Every old area must lie within a new one: areas are prefixes, and none at all is everywhere.
fn areas(found: &mut Breaches<'_>, key: &str, was: &[String], is: &[String]) {
    if is.is_empty() {
        return;
    }
    let key = format!("{key}.areas");
    if was.is_empty() {
        let listed = if is.len() == 1 { "1 area".to_owned() } else { format!("{} areas", is.len()) };
        return found.changed(key, "everywhere", &listed);
    }
    let new: BTreeSet<&str> = is.iter().map(String::as_str).collect();
    let is_covered = |area: &str| (0..=area.len()).filter_map(|end| area.get(..end)).any(|start| new.contains(start));
    let lost: Vec<&String> = was.iter().filter(|area| !is_covered(area)).collect();
    if let Some(first) = lost.first() {
        let more = if lost.len() == 1 { String::new() } else { format!(" and {} more", lost.len() - 1) };
        found.changed(key, &format!("with {first:?}{more}"), "without");
    }
}
