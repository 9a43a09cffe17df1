//! `rules check --against OLD`: what changes from one version of a merchant's rules to the next, and what must not.

use std::path::Path;

use domain::model::rules::Rules;
use domain::model::time::Millis;
use serde_json::{Map, Value};
use wire::rules::Checked;

use crate::rules::promises;
use crate::rules::promises::breach::{Breach, NewFile};

/// A difference: the dotted key, the old value and the new one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: String,
    pub(crate) old: Option<Value>,
    pub(crate) new: Option<Value>,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "~ {}: {old} -> {new}", self.key),
            (Some(_), None) => write!(f, "- {}", self.key),
            (None, _) => write!(f, "+ {}", self.key),
        }
    }
}

/// Every difference, in the order of the keys. Times and durations are ms, rates ppm, as in the published object.
pub(crate) fn changes(old: &Rules, new: &Rules) -> Vec<Change> {
    let value = |rules: &Rules| serde_json::from_slice::<Value>(&wire::rules::object(rules)).unwrap_or_default();
    let mut found = Vec::new();
    compare("", &value(old), &value(new), &mut found);
    found
}

/// Why the new rules cannot follow the old ones, each as `key: reason and mend`.
pub(crate) fn mistakes(old: &Rules, new: &Rules) -> Vec<String> {
    let mut found = Vec::new();
    if old.currency != new.currency {
        let message = "money that is posted stays as it is; begin another merchant for another currency";
        found.push(format!("currency: is {}, was {}: {message}", new.currency, old.currency));
    }
    found
}

/// Promises of draws that are on, which the new rules break; only `--because` lets them.
pub(crate) fn breaches(old: &Rules, file: &Path, new: &Checked, now: Millis) -> Vec<Breach> {
    let name = file.display().to_string();
    let file = NewFile { name: &name, place: &|key| new.place(key), range_key: &|i| new.range_key(i) };
    promises::breaches(old, &new.rules, now, file)
}

/// Changes that are allowed but have consequences that are easily missed.
pub(crate) fn warnings(old: &Rules, new: &Rules) -> Vec<String> {
    let mut found = Vec::new();
    if old.time_zone != new.time_zone {
        found.push(format!(
            "time_zone: is {}, was {}: days that were counted are not cut anew",
            new.time_zone, old.time_zone
        ));
    }
    let longer = [
        ("dedup.horizon", new.dedup.horizon_minutes > old.dedup.horizon_minutes),
        ("dedup.debounce", new.dedup.debounce_ms > old.dedup.debounce_ms),
        ("late", new.late_ms > old.late_ms),
        ("attribution.window", new.attribution.window_ms > old.attribution.window_ms),
    ];
    for (key, _) in longer.iter().filter(|(_, grows)| *grows) {
        found.push(format!("{key}: grows: what expired under the old rules stays forgotten"));
    }
    for campaign in &old.campaigns {
        match new.campaigns.iter().find(|c| c.id == campaign.id) {
            None => found.push(format!("campaign.{}: is gone: its codes enter no draw any more", campaign.id)),
            Some(next) if next.commit != campaign.commit => {
                let keep = "keep the old secret, entries drawn until now are verified with it";
                found.push(format!("campaign.{}.commit: changes: {keep}", campaign.id));
            }
            Some(_) => {}
        }
    }
    found
}

fn compare(key: &str, old: &Value, new: &Value, found: &mut Vec<Change>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => compare_maps(key, old, new, found),
        (Value::Array(old), Value::Array(new)) => compare_maps(key, &by_id(old), &by_id(new), found),
        _ if old == new => {}
        _ => found.push(Change { key: key.to_owned(), old: Some(old.clone()), new: Some(new.clone()) }),
    }
}

fn compare_maps(key: &str, old: &Map<String, Value>, new: &Map<String, Value>, found: &mut Vec<Change>) {
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    for name in names {
        let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) => compare(&key, old, new, found),
            (old, new) => found.push(Change { key, old: old.cloned(), new: new.cloned() }),
        }
    }
}

/// List elements by their ids, or their places where they have none.
fn by_id(list: &[Value]) -> Map<String, Value> {
    let id = |value: &Value| ["id", "name"].iter().find_map(|key| value.get(key)?.as_str().map(ToOwned::to_owned));
    list.iter().enumerate().map(|(i, value)| (id(value).unwrap_or_else(|| i.to_string()), value.clone())).collect()
}
