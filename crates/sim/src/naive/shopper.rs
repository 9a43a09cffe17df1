//! One shopper: touches, orders, member (contract, section 5).
use super::credit::{Asked, Credited, Payee, Touch, due, shares, touch_of};
use super::event::Event;
use super::rules::{Model, Rules};
use super::{Book, Seen, saw};
use std::collections::{BTreeMap, HashSet};

#[derive(Default)]
pub(crate) struct Order {
    /// the version in force when its first part came
    pub(crate) book: usize,
    /// every part that came, once per key
    pub(crate) parts: Vec<Event>,
    /// refunds that came before the order did
    pub(crate) waiting: Vec<Event>,
    pub(crate) refunds: Vec<Event>,
    /// its candidates, and never fewer for being forgotten by the shopper
    pub(crate) kept: Vec<Touch>,
    pub(crate) posted: BTreeMap<Payee, i128>,
    pub(crate) holds: BTreeMap<Payee, i64>,
    pub(crate) credited: Vec<Credited>,
    /// no longer kept: the shopper had too many
    pub(crate) dropped: bool,
}

impl Order {
    /// One per `part`: the smallest (time, key).
    pub(crate) fn counted_parts(&self) -> Vec<&Event> {
        let mut of: BTreeMap<&str, &Event> = BTreeMap::new();
        for e in &self.parts {
            let best = of.entry(&e.part).or_insert(e);
            if e.at() < best.at() {
                *best = e;
            }
        }
        of.into_values().collect()
    }
    pub(crate) fn earliest(&self) -> Option<&Event> {
        self.counted_parts().into_iter().min_by_key(|e| e.at())
    }
    pub(crate) fn base(&self) -> i128 {
        self.counted_parts().iter().map(|e| e.amount as i128).sum()
    }
    pub(crate) fn refunded(&self) -> i128 {
        self.refunds.iter().map(|e| e.amount as i128).sum::<i128>().min(self.base())
    }
    pub(crate) fn kept_at(&self, rules: &Rules, received: i64) -> bool {
        !self.dropped && self.earliest().is_some_and(|e| received < e.time + rules.refund_within)
    }
}

pub(crate) struct Posting {
    pub(crate) order: String,
    pub(crate) shopper: String,
    pub(crate) payee: Payee,
    pub(crate) amount: i128,
    pub(crate) approve_at: i64,
    pub(crate) cause: String,
}

#[derive(Default)]
pub(crate) struct Shopper {
    pub(crate) touches: Vec<Touch>,
    /// every touch there ever was: only to count how often forgetting matters
    pub(crate) ever: Vec<Touch>,
    pub(crate) orders: BTreeMap<String, Order>,
    pub(crate) first_order: Option<i64>,
    pub(crate) join: Option<Event>,
    pub(crate) join_kept: Vec<Touch>,
    pub(crate) join_credit: Option<Touch>,
}

/// What was kept and what the shopper still remembers, as far as it is a candidate at `c`.
fn keep(rules: &Rules, kept: &mut Vec<Touch>, touches: &[Touch], c: i64) {
    kept.retain(|t| c - rules.window < t.time && t.time <= c);
    let keys: HashSet<[u8; 16]> = kept.iter().map(|t| t.key).collect();
    let mut touches: Vec<&Touch> = touches.iter().collect();
    touches.sort_by_key(|t| (t.time, t.key));
    for t in touches {
        if c - rules.window < t.time && t.time <= c && !keys.contains(&t.key) && kept.len() < rules.candidates_max() {
            kept.push(t.clone());
        }
    }
}

impl Shopper {
    /// Is this order or refund, or the order it belongs to, too old?
    pub(crate) fn too_old(&mut self, rulebooks: &[Book], book: usize, e: &Event, seen: &mut Seen) -> bool {
        let rules = &rulebooks[book].rules;
        if e.received >= e.time + rules.refund_within {
            return true;
        }
        let Some(order) = self.orders.get_mut(&e.order) else { return false };
        if !order.parts.is_empty() && !order.kept_at(rules, e.received) {
            return true;
        }
        order.waiting.retain(|r| e.received < r.time + rules.refund_within);
        let refunds = if order.parts.is_empty() { &order.waiting } else { &order.refunds };
        if e.action == "refund" && refunds.len() >= 10_000 && !refunds.iter().any(|r| r.key == e.key) {
            saw(seen, "refund: too many");
            return true;
        }
        false
    }

    pub(crate) fn take(
        &mut self,
        rulebooks: &[Book],
        book: usize,
        e: &Event,
        postings: &mut Vec<Posting>,
        seen: &mut Seen,
    ) {
        let rules = &rulebooks[book].rules;
        let now = e.received;
        self.touches.retain(|t| now - t.received < rules.window + rules.late);
        if let Some(touch) = touch_of(rules, e, seen) {
            saw(seen, "touch");
            if self.touches.iter().any(|t| t.key == touch.key) {
                saw(seen, "touch: known key");
            } else {
                self.ever.push(touch.clone());
                self.touches.push(touch);
            }
        }
        while self.touches.len() > rules.touches_max {
            let smallest =
                (0..self.touches.len()).min_by_key(|&i| (self.touches[i].time, self.touches[i].key)).unwrap();
            let dropped = self.touches.remove(smallest);
            saw(seen, if dropped.key == e.key { "touch dropped: the new one" } else { "touch dropped" });
        }
        match e.action.as_str() {
            "order" => self.part(rules, book, e, seen),
            "refund" => self.refund(rules, e, seen),
            "join" => {
                if self.join.as_ref().is_none_or(|j| e.at() < j.at()) {
                    saw(seen, if self.join.is_some() { "member moved" } else { "member" });
                    if e.late {
                        saw(seen, "member by a late join");
                    }
                    self.join = Some(e.clone());
                }
            }
            _ => {}
        }
        if let Some(join) = &self.join {
            keep(rules, &mut self.join_kept, &self.touches, join.time);
            self.join_credit =
                shares(rules, &self.join_kept, join.time, Model::Last, &mut Seen::new()).pop().map(|(t, _)| t);
            if self.join_credit.is_some() {
                saw(seen, "member credited");
            }
        }
        if matches!(e.action.as_str(), "order" | "join") {
            let forgotten = |t: &&Touch| {
                e.time - rules.window < t.time && t.time <= e.time && !self.touches.iter().any(|k| k.key == t.key)
            };
            if self.ever.iter().any(|t| forgotten(&t)) {
                saw(
                    seen,
                    if e.late {
                        "forgotten: missed by a late order or join"
                    } else {
                        "forgotten: missed by an order or join in time"
                    },
                );
            }
        }
        let names: Vec<String> = self.orders.keys().cloned().collect();
        for name in names {
            let rules = &rulebooks[self.orders[&name].book].rules;
            self.settle(rules, &name, e, postings, seen);
        }
        if e.action == "order" {
            self.drop_orders(rulebooks, book, e, seen);
        }
    }

    fn drop_orders(&mut self, rulebooks: &[Book], book: usize, e: &Event, seen: &mut Seen) {
        loop {
            let kept = self.orders.values_mut().filter(|o| o.kept_at(&rulebooks[o.book].rules, e.received));
            let mut kept: Vec<&mut Order> = kept.collect();
            if kept.len() <= rulebooks[book].rules.orders_max {
                return;
            }
            kept.sort_by_key(|o| o.earliest().unwrap().at());
            kept[0].dropped = true;
            saw(seen, "order: too many");
        }
    }

    fn part(&mut self, rules: &Rules, book: usize, e: &Event, seen: &mut Seen) {
        let order = self.orders.entry(e.order.clone()).or_default();
        if order.parts.iter().any(|p| p.key == e.key) {
            saw(seen, "order: known part again");
            return;
        }
        saw(
            seen,
            match e.part.as_str() {
                "sale" => "order: sale",
                "deposit" if order.parts.iter().any(|p| p.part == "balance") => "order: deposit after balance",
                "deposit" => "order: deposit",
                "balance" if order.parts.iter().any(|p| p.part == "deposit") => "order: balance after deposit",
                _ => "order: balance",
            },
        );
        match order.earliest() {
            None => {
                order.book = book;
                for r in std::mem::take(&mut order.waiting) {
                    if e.received < r.time + rules.refund_within {
                        saw(seen, "refund before order");
                        order.refunds.push(r);
                    } else {
                        saw(seen, "refund waited too long");
                    }
                }
            }
            Some(first) if e.at() < first.at() => saw(seen, "order moved earlier"),
            _ => {}
        }
        if let Some(p) = order.counted_parts().into_iter().find(|p| p.part == e.part) {
            saw(seen, if e.at() < p.at() { "order: part replaced" } else { "order: part ignored" });
        }
        order.parts.push(e.clone());
        if self.first_order.is_some_and(|f| e.time < f) {
            saw(seen, "first order moved earlier");
        }
        self.first_order = Some(self.first_order.map_or(e.time, |f| f.min(e.time)));
    }

    fn refund(&mut self, rules: &Rules, e: &Event, seen: &mut Seen) {
        let order = self.orders.entry(e.order.clone()).or_default();
        if order.parts.is_empty() {
            order.waiting.retain(|r| e.received < r.time + rules.refund_within);
            if order.waiting.iter().any(|r| r.key == e.key) {
                saw(seen, "refund: known again");
                return;
            }
            saw(seen, "refund waits");
            order.waiting.push(e.clone());
        } else if order.refunds.iter().any(|r| r.key == e.key) {
            saw(seen, "refund: known again");
        } else {
            saw(seen, "refund");
            order.refunds.push(e.clone());
            if order.refunds.iter().map(|e| e.amount as i128).sum::<i128>() > order.base() {
                saw(seen, "refund above base");
            }
        }
    }

    fn settle(&mut self, rules: &Rules, name: &str, e: &Event, postings: &mut Vec<Posting>, seen: &mut Seen) {
        let order = self.orders.get_mut(name).unwrap();
        if !order.kept_at(rules, e.received) {
            return;
        }
        let earliest = order.earliest().unwrap().clone();
        let c = earliest.time;
        let before = order.kept.len();
        keep(rules, &mut order.kept, &self.touches, c);
        if before > 0 && order.kept.len() > before && e.action != "order" {
            saw(seen, "touch after its order");
        }
        if order.kept.len() >= rules.candidates_max() {
            saw(seen, "order: no room for more candidates");
        }
        if order.kept.iter().any(|t| !self.touches.iter().any(|k| k.key == t.key)) {
            saw(seen, "forgotten: but kept by an order");
        }
        let asked = Asked {
            shopper: &earliest.shopper,
            c,
            store: earliest.store.as_deref(),
            net: order.base() - order.refunded(),
            first_order: self.first_order.unwrap(),
        };
        let found = due(rules, &order.kept, &asked, seen);
        let mut payees: Vec<Payee> = found.payees.keys().cloned().collect();
        payees.extend(order.posted.keys().cloned());
        payees.sort();
        payees.dedup();
        for payee in payees {
            let previous = order.holds.get(&payee).copied();
            let (amount, hold) = found.payees.get(&payee).copied().unwrap_or((0, previous.unwrap_or(0)));
            let posted = order.posted.entry(payee.clone()).or_insert(0);
            if amount != *posted {
                let approve_at = e.received.max(c + hold);
                saw(seen, if approve_at > e.received { "posting: held" } else { "posting: at once" });
                saw(seen, if amount < *posted { "posting: taken back" } else { "posting: given" });
                let change = amount - *posted;
                *posted = amount;
                order.holds.insert(payee.clone(), hold);
                postings.push(Posting {
                    order: name.into(),
                    shopper: earliest.shopper.clone(),
                    payee,
                    amount: change,
                    approve_at,
                    cause: e.id.clone(),
                });
            }
        }
        order.credited = found.credited;
    }
}
