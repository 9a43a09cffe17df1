//! Promises of a prize: what it gives, how often, and under which condition.

use domain::model::rules::{Campaign, Mode, Prize, Unlock};

use super::breach::Breaches;
use crate::rules::local_time::duration;

/// Compares the prizes of a campaign, by id.
pub(super) fn compare(found: &mut Breaches<'_>, key: &str, was: &Campaign, is: &Campaign) {
    for old in &was.prizes {
        let Some(i) = is.prizes.iter().position(|prize| prize.id == old.id) else {
            found.changed(format!("{key}.prize"), &old.id, "removed");
            continue;
        };
        let (new, key) = (&is.prizes[i], format!("{key}.prize[{i}]"));
        found.value(format!("{key}.amount"), old.amount, new.amount);
        if old.amount_max.is_some() || new.amount_max.is_some() {
            found.value(format!("{key}.amount_max"), old.amount_max.or(old.amount), new.amount_max.or(new.amount));
        }
        if is.mode == was.mode {
            found.value(format!("{key}.count"), old.count, new.count);
        }
        found.bound(format!("{key}.stock"), stock(was, old), stock(is, new));
        found.bound(format!("{key}.stock_day"), old.stock_day, new.stock_day);
        unlock(found, &key, old.unlock.as_ref(), new.unlock.as_ref());
    }
}

/// The stock that is in force. A sealed campaign or one with moments has `count` of a prize, unless other prizes may turn into it.
pub(crate) fn stock(campaign: &Campaign, prize: &Prize) -> Option<u64> {
    let is_else = campaign.prizes.iter().any(|other| other.otherwise.as_ref() == Some(&prize.id));
    let default = prize.count.filter(|_| campaign.mode != Mode::Odds && !is_else);
    prize.stock.or(default)
}

fn unlock(found: &mut Breaches<'_>, key: &str, was: Option<&Unlock>, is: Option<&Unlock>) {
    let Some(is) = is else { return };
    match was {
        Some(was) if was.action == is.action => {
            let (old, new) = (was.within_ms, is.within_ms);
            if new.is_some_and(|new| old.is_none_or(|old| new < old)) {
                let text = |ms: Option<i64>| ms.map_or_else(|| "none".to_owned(), duration);
                found.changed(format!("{key}.unlock_within"), &text(old), &text(new));
            }
        }
        _ => {
            let old = was.map_or("none", |was| was.action.as_str());
            found.changed(format!("{key}.unlock"), old, is.action.as_str());
        }
    }
}
