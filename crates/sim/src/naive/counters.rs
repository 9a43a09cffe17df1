//! Counters (contract, section 7), from everything that happened, at the end.
use super::draws::prize;
use super::event::Event;
use super::rules::Rules;
use super::shopper::Order;
use super::{Merchant, codes};
use std::collections::{BTreeMap, BTreeSet};

/// (scope, key, day, metric) -> value
pub(crate) type Counters = BTreeMap<(String, String, String, &'static str), i128>;

fn scopes(e: &Event) -> Vec<(&'static str, String)> {
    let mut out = vec![("merchant", "*".to_string())];
    let mut add = |scope, key: Option<&str>| out.extend(key.map(|k| (scope, k.to_string())));
    add("campaign", e.campaign.as_deref());
    add("kind", e.kind());
    out.extend(e.counted.iter().map(|(scope, key)| (*scope, key.clone())));
    out
}

struct Sheet<'a> {
    rules: &'a Rules,
    counters: Counters,
}

impl Sheet<'_> {
    fn add(&mut self, scope: &str, key: &str, day: &str, metric: &'static str, value: i128) {
        *self.counters.entry((scope.into(), key.into(), day.into(), metric)).or_insert(0) += value;
    }
    /// On the event's own day, in its own scopes.
    fn event(&mut self, e: &Event, metric: &'static str, value: i128) {
        let day = self.rules.day(e.time);
        for (scope, key) in scopes(e) {
            self.add(scope, &key, &day, metric, value);
        }
    }
}

pub(crate) fn counters(m: &Merchant) -> Counters {
    let mut sheet = Sheet { rules: m.rules(), counters: Counters::new() };
    for time in &m.duplicates {
        sheet.add("merchant", "*", &m.rules().day(*time), "duplicates", 1);
    }
    let mut shoppers: BTreeSet<(&str, String, String, &str)> = BTreeSet::new();
    for e in &m.events {
        if e.only_late {
            sheet.event(e, "late", 1);
            continue;
        }
        if e.late {
            sheet.event(e, "late", 1);
        } else {
            for (scope, key) in scopes(e) {
                if matches!(scope, "merchant" | "store" | "guide" | "campaign") {
                    shoppers.insert((scope, key, m.rules().day(e.time), &e.shopper));
                }
            }
        }
        match e.action.as_str() {
            "visit" => sheet.event(e, "visits", 1),
            "follow" => sheet.event(e, "follows", 1),
            "claim" => sheet.event(e, "claims", 1),
            "redeem" => sheet.event(e, "redeems", 1),
            "scan" => {
                let kind = e.kind().unwrap();
                if kind == "unknown" {
                    sheet.event(e, "unknown", 1);
                }
                if e.inactive() {
                    sheet.event(e, "inactive", 1);
                }
                if e.diverted() {
                    sheet.event(e, "diverted", 1);
                }
                if e.forged_scan() {
                    sheet.event(e, "forged", 1);
                } else if e.counted_scan() {
                    sheet.event(e, "scans", 1);
                    if kind == "service" || codes::item(kind) {
                        sheet.event(e, "interactions", 1);
                    }
                } else {
                    sheet.event(e, "repeats", 1);
                }
                if e.entry {
                    sheet.event(e, "entries", 1);
                }
            }
            _ => {}
        }
    }
    for (scope, key, day, _) in shoppers {
        sheet.add(scope, &key, &day, "shoppers", 1);
    }
    for shopper in m.shoppers.values() {
        if let Some(join) = &shopper.join {
            sheet.event(join, "joins", 1);
            if let Some(t) = &shopper.join_credit {
                let day = m.rules().day(join.time);
                for (scope, key) in touch_scopes(t) {
                    sheet.add(scope, &key, &day, "credited_joins", 1);
                }
            }
        }
        for order in shopper.orders.values().filter(|o| !o.parts.is_empty()) {
            of_order(&mut sheet, order);
        }
    }
    for a in &m.draws.awards {
        let Some(awarded) = &a.awarded else { continue };
        let day = m.rules().day(a.time);
        let p = prize(&m.rulebooks[a.book].rules.campaigns[&a.campaign], awarded).unwrap();
        let cash = if p.kind == "cash" { a.amount.unwrap() as i128 } else { 0 };
        let mut at = vec![("merchant", "*"), ("campaign", a.campaign.as_str())];
        at.extend(a.region.as_deref().map(|r| ("region", r)));
        for (scope, key) in at {
            sheet.add(scope, key, &day, "wins", 1);
            sheet.add(scope, key, &day, "prize_cash", cash);
        }
    }
    sheet.counters.retain(|_, v| *v != 0);
    sheet.counters
}

fn touch_scopes(t: &super::credit::Touch) -> Vec<(&'static str, String)> {
    let mut out = vec![("kind", t.kind.clone())];
    out.extend(t.guide.clone().map(|g| ("guide", g)));
    out.extend(t.store.clone().map(|s| ("store", s)));
    out
}

fn of_order(sheet: &mut Sheet, order: &Order) {
    let earliest = order.earliest().unwrap();
    sheet.event(earliest, "orders", 1);
    for part in order.counted_parts() {
        sheet.event(part, "gmv", part.amount as i128);
    }
    let mut refunds: Vec<&Event> = order.refunds.iter().collect();
    refunds.sort_by_key(|e| e.at());
    let mut left = order.base();
    for r in refunds {
        let used = left.min(r.amount as i128);
        left -= used;
        sheet.event(r, "refunds", 1);
        sheet.event(r, "refunded", used);
    }
    let day = sheet.rules.day(earliest.time);
    let mut keys = BTreeSet::new();
    for c in &order.credited {
        for (scope, key) in touch_scopes(&c.touch) {
            sheet.add(scope, &key, &day, "credited_net", c.part);
            sheet.add(scope, &key, &day, "commission", c.commission);
            keys.insert((scope, key));
        }
    }
    for (scope, key) in keys {
        sheet.add(scope, &key, &day, "credited_orders", 1);
    }
}
