//! Orders: parts, refunds, candidates, and postings (contract sections 5 and 7).

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::credit::{Credited, Due, Payee, Sale, credits, share};
use super::parts::Parts;
use super::refunds::{Paid, Refunds, reserve_one};
use super::touch::Touch;
use crate::desk::shopper::compiled_rules::{CompiledRules, Interner, NONE, Symbol};
use crate::desk::shopper::counters::{CounterBuffer, Key};
use crate::model::event::Part;
use crate::model::fact::{Fact, Metric, OrderState, Posting, What};
use crate::model::rules::RulesSeq;
use crate::model::time::Millis;
use crate::protocol::stage::Outbox;

/// An order, or refunds that wait for one (without parts and rules).
#[derive(Clone, Debug)]
pub(in crate::desk::shopper) struct Order {
    pub(in crate::desk::shopper) number: Box<str>,
    /// The version number of the rules in force when the order was first seen.
    pub(in crate::desk::shopper) rules: RulesSeq,
    parts: Parts,
    refunds: Refunds,
    /// All touches within the window, of every rank, in (time, key) order.
    /// Orders with equal candidates share them; [`orders_in_snapshot`] writes them once.
    pub(in crate::desk::shopper) candidates: Arc<Vec<Touch>>,
    posted: Vec<Due>,
}

/// The fields of an order in a snapshot, in their order; its candidates are beside it.
type Saved<N, P, R, D> = (N, RulesSeq, P, Option<Millis>, R, D);

impl Serialize for Order {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let saved: Saved<_, _, _, _> =
            (&self.number, self.rules, &self.parts, self.time(), &self.refunds, &self.posted);
        saved.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Order {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let saved: Saved<_, _, _, _> = Deserialize::deserialize(from)?;
        let (number, rules, parts, _, refunds, posted) = saved;
        Ok(Self { number, rules, parts, refunds, candidates: Arc::default(), posted })
    }
}

/// The buyer, with what decides commission.
#[derive(Clone, Copy, Debug)]
pub(in crate::desk::shopper) struct Buyer<'a> {
    pub(in crate::desk::shopper) merchant: &'a str,
    pub(in crate::desk::shopper) shopper: &'a str,
    pub(in crate::desk::shopper) key: u128,
    pub(in crate::desk::shopper) first_order: Millis,
}

impl Order {
    pub(in crate::desk::shopper) fn new(number: &str) -> Self {
        Self {
            number: number.into(),
            rules: RulesSeq::default(),
            parts: Parts::None,
            refunds: Refunds::default(),
            candidates: Arc::default(),
            posted: Vec::new(),
        }
    }

    /// The earliest part; its time is the order's.
    pub(in crate::desk::shopper) fn earliest(&self) -> Option<&Paid> {
        self.parts.iter().min_by_key(|p| (p.time, p.key))
    }

    /// Whether it holds nothing: the place of an order that is no longer kept. Numbers of orders are never empty.
    pub(in crate::desk::shopper) fn is_nothing(&self) -> bool {
        self.number.is_empty()
    }

    /// The (time, key) of the earliest part.
    pub(in crate::desk::shopper) fn order(&self) -> Option<(Millis, u128)> {
        self.earliest().map(|part| (part.time, part.key))
    }

    /// Whether it has as many refunds as it can have, and not this one.
    pub(in crate::desk::shopper) fn is_full_for(&mut self, key: u128) -> bool {
        self.refunds.is_full_for(key)
    }

    /// Approximate size in memory beside the order itself, bytes; candidates that orders share count once.
    pub(in crate::desk::shopper) fn bytes(&self) -> usize {
        let candidates = size_of::<Vec<Touch>>() + self.candidates.capacity() * size_of::<Touch>();
        let refunds = size_of_val(self.refunds.all());
        let shared = Arc::strong_count(&self.candidates).max(1);
        self.number.len()
            + self.parts.bytes()
            + self.posted.capacity() * size_of::<Due>()
            + refunds
            + candidates / shared
    }

    /// The symbols of all texts that it refers to and the rules may not.
    pub(in crate::desk::shopper) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.parts.iter().chain(self.refunds.all()).flat_map(|paid| paid.scopes.symbols())
    }

    /// The time of the earliest part.
    pub(in crate::desk::shopper) fn time(&self) -> Option<Millis> {
        self.parts.iter().map(|part| part.time).min()
    }

    /// Adds a part if it is the smallest of its kind.
    pub(in crate::desk::shopper) fn add_part(&mut self, part: Part, paid: Paid) {
        if self.takes_part(part, paid.time, paid.key) {
            self.parts.set(part, paid);
        }
    }

    /// Whether a part would be the smallest of its kind.
    pub(in crate::desk::shopper) fn takes_part(&self, part: Part, time: Millis, key: u128) -> bool {
        self.parts.get(part).is_none_or(|known| (time, key) < (known.time, known.key))
    }

    /// What of each refund from a place on counts as refunded: they use up the base in their order. Empty until the order is known.
    pub(in crate::desk::shopper) fn refunded_from(&self, first: usize) -> Vec<i64> {
        if self.time().is_none() {
            return Vec::new();
        }
        let used = self.refunds.sum_of_first(first);
        let mut left = self.base() - i64::try_from(used).unwrap_or(i64::MAX).min(self.base());
        let refunded = |refund: &Paid| {
            let refunded = refund.amount.min(left);
            left -= refunded;
            refunded
        };
        self.refunds.all().iter().skip(first).map(refunded).collect()
    }

    /// Counts what is different in the refunds from a place on, where `before` is what [`Order::refunded_from`] said. A new refund is at
    /// that place.
    pub(in crate::desk::shopper) fn book_refunds(
        &self,
        first: usize,
        before: &[i64],
        compiled: &CompiledRules,
        counters: &mut CounterBuffer,
    ) {
        let after = self.refunded_from(first);
        let new = after.len() - before.len();
        for (at, (&now, refund)) in after.iter().zip(self.refunds.all().iter().skip(first)).enumerate() {
            let (refunds, refunded) = at.checked_sub(new).map_or((1, now), |at| (0, now - before[at]));
            if (refunds, refunded) != (0, 0) {
                let metrics = [(Metric::Refunds, refunds), (Metric::Refunded, refunded)];
                counters.add_all(&refund.scopes, compiled.book.zone.day(refund.time), &metrics);
            }
        }
    }

    /// Adds a refund unless it is known.
    pub(in crate::desk::shopper) fn add_refund(&mut self, paid: Paid) {
        self.refunds.add(paid);
    }

    /// When it expires; for waiting refunds, when the last of them does.
    pub(in crate::desk::shopper) fn expiry(&self, refund_within_ms: i64) -> Millis {
        let since = self.time().or_else(|| self.refunds.all().last().map(|r| r.time));
        since.map_or(Millis::MIN, |t| t + refund_within_ms)
    }

    /// When the first part of it expires.
    pub(in crate::desk::shopper) fn next_expiry(&self, refund_within_ms: i64) -> Millis {
        let since = self.time().or_else(|| self.refunds.all().first().map(|r| r.time));
        since.map_or(Millis::MIN, |t| t.saturating_add(refund_within_ms))
    }

    /// Drops waiting refunds that are older than an order is kept.
    pub(in crate::desk::shopper) fn forget_waiting(&mut self, received: Millis, refund_within_ms: i64) {
        if self.time().is_none() {
            self.refunds.retain(|r| received < r.time + refund_within_ms);
        }
    }

    /// Number of its refunds, or of those that wait for it.
    pub(in crate::desk::shopper) fn refunds(&self) -> usize {
        self.refunds.all().len()
    }

    pub(in crate::desk::shopper) fn waiting_refunds(&self) -> usize {
        if self.time().is_none() { self.refunds.all().len() } else { 0 }
    }

    fn base(&self) -> i64 {
        self.parts.iter().map(|p| p.amount).sum()
    }

    fn refunded(&self) -> i64 {
        let sum = self.refunds.sum_of_first(usize::MAX);
        i64::try_from(sum).unwrap_or(i64::MAX).min(self.base())
    }

    /// Number of refunds before (time, key): a refund there does not change what they count for.
    pub(in crate::desk::shopper) fn refunds_before(&self, time: Millis, key: u128) -> usize {
        self.refunds.before(time, key)
    }

    /// Adds (`sign` 1) or takes back (−1) what the order counts for, without its first `settled` refunds, and returns what
    /// each payee is due.
    pub(in crate::desk::shopper) fn book(
        &self,
        sign: i64,
        settled: usize,
        buyer: &Buyer<'_>,
        compiled: &CompiledRules,
        counters: &mut CounterBuffer,
        memo: &mut CreditMemo,
    ) -> Booked {
        let Some(earliest) = self.earliest() else { return Booked::default() };
        let zone = &compiled.book.zone;
        let day = zone.day(earliest.time);
        counters.add_all(&earliest.scopes, day, &[(Metric::Orders, sign)]);
        for part in self.parts.iter() {
            counters.add_all(&part.scopes, zone.day(part.time), &[(Metric::Gmv, sign * part.amount)]);
        }
        // Refunds use up the base in their order.
        let used = self.refunds.sum_of_first(settled);
        let mut left = self.base() - i64::try_from(used).unwrap_or(i64::MAX).min(self.base());
        for refund in self.refunds.all().iter().skip(settled) {
            let refunded = refund.amount.min(left);
            left -= refunded;
            let metrics = [(Metric::Refunds, sign), (Metric::Refunded, sign * refunded)];
            counters.add_all(&refund.scopes, zone.day(refund.time), &metrics);
        }
        let mut credited = memo.credits(self, compiled);
        let sale = Sale {
            time: earliest.time,
            store: earliest.scopes.store,
            net: self.base() - self.refunded(),
            buyer: buyer.key,
            first_order: buyer.first_order,
        };
        let dues = share(&mut credited, &sale, compiled);
        let mut counted: Vec<Key> = Vec::new();
        for credit in &credited {
            for key in touch_keys(&credit.touch) {
                if !counted.contains(&key) {
                    counted.push(key);
                    counters.add(key, day, Metric::CreditedOrders, sign);
                }
                counters.add(key, day, Metric::CreditedNet, sign * credit.net);
                counters.add(key, day, Metric::Commission, sign * credit.commission);
            }
        }
        let largest = credited.iter().reduce(|best, next| if next.weight > best.weight { next } else { best });
        Booked { dues, main: largest.map(|c| c.touch) }
    }

    /// Posts what is due and not yet posted, and sends the current state of the order.
    pub(in crate::desk::shopper) fn post(
        &mut self,
        booked: &Booked,
        cause: &Cause<'_>,
        buyer: &Buyer<'_>,
        names: &Interner,
        out: &mut Outbox,
    ) {
        let Some(time) = self.time() else { return };
        let fact = |what| Fact { merchant: buyer.merchant, what };
        let mut payees: Vec<Payee> = self.posted.iter().chain(&booked.dues).map(|d| d.payee).collect();
        payees.sort_by_key(|p| (p.kind, names.text(p.symbol)));
        payees.dedup();
        for payee in payees {
            let due = booked.dues.iter().find(|d| d.payee == payee);
            let posted = self.posted.iter().find(|d| d.payee == payee);
            // An amount taken back from a payee who is no longer due anything is held as long as the last posting was.
            let now =
                Due { payee, amount: due.map_or(0, |d| d.amount), hold_ms: due.or(posted).map_or(0, |d| d.hold_ms) };
            let amount = now.amount - posted.map_or(0, |d| d.amount);
            if amount == 0 {
                continue;
            }
            out.fact(&fact(What::Posting(Posting {
                order: &self.number,
                shopper: buyer.shopper,
                payee_kind: payee.kind,
                payee: names.text(payee.symbol).expect("a payee is in the rules"),
                amount,
                approve_at: cause.received.max(time.saturating_add(now.hold_ms)),
                cause: cause.id,
            })));
            self.posted.retain(|d| d.payee != payee);
            reserve_one(&mut self.posted);
            self.posted.push(now);
        }
        let main = booked.main;
        let text = |symbol: Option<Symbol>| symbol.and_then(|s| names.text(s));
        out.fact(&fact(What::Order(OrderState {
            order: &self.number,
            shopper: buyer.shopper,
            time,
            base: self.base(),
            refunded: self.refunded(),
            kind: main.map(|t| t.kind),
            guide: text(main.map(|t| t.guide)),
            store: text(main.map(|t| t.store)),
        })));
    }
}

/// The credited touches of the last order that was asked for: orders next to each other often share their candidates.
#[derive(Default)]
pub(in crate::desk::shopper) struct CreditMemo {
    last: Option<(Arc<Vec<Touch>>, RulesSeq, Vec<Credited>)>,
}

impl CreditMemo {
    fn credits(&mut self, order: &Order, compiled: &CompiledRules) -> Vec<Credited> {
        if let Some((candidates, rules, credited)) = &self.last
            && *rules == order.rules
            && Arc::ptr_eq(candidates, &order.candidates)
        {
            return credited.clone();
        }
        let attribution = &compiled.book.rules.attribution;
        let credited = credits(order.candidates.iter(), attribution.model, attribution.protect_ms);
        self.last = Some((Arc::clone(&order.candidates), order.rules, credited.clone()));
        credited
    }
}

/// The money of an order at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::desk::shopper) struct Booked {
    dues: Vec<Due>,
    /// The credited touch with the largest share; among equals the earliest.
    main: Option<Touch>,
}

/// The event that changed an order.
#[derive(Clone, Copy, Debug)]
pub(in crate::desk::shopper) struct Cause<'a> {
    pub(in crate::desk::shopper) id: &'a str,
    pub(in crate::desk::shopper) received: Millis,
}

/// The keys under which credit is counted: guide, store and kind of the credited touch.
pub(in crate::desk::shopper) fn touch_keys(touch: &Touch) -> impl Iterator<Item = Key> + use<> {
    let symbol = |symbol: Symbol, key: fn(Symbol) -> Key| (symbol != NONE).then(|| key(symbol));
    [symbol(touch.guide, Key::Guide), symbol(touch.store, Key::Store), Some(Key::Kind(touch.kind))]
        .into_iter()
        .flatten()
}

/// The form of a shopper's orders in a snapshot: candidates that an order shares with the one before it are written once.
pub(in crate::desk::shopper) mod orders_in_snapshot {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Order, Touch};

    pub(in crate::desk::shopper) fn serialize<'a, S: Serializer>(
        orders: &'a [(&'a Order, Arc<Vec<Touch>>)],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        // Equal candidates are the same ones in memory, or not: what is written must not depend on it.
        let shares = |i: usize| i > 0 && orders[i].1 == orders[i - 1].1;
        let row = |(i, (order, candidates)): (usize, &'a (&'a Order, Arc<Vec<Touch>>))| {
            (*order, (!shares(i)).then(|| &**candidates))
        };
        to.collect_seq(orders.iter().enumerate().map(row))
    }

    pub(in crate::desk::shopper) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Order>, D::Error> {
        let rows: Vec<(Order, Option<Vec<Touch>>)> = Vec::deserialize(from)?;
        let mut orders: Vec<Order> = Vec::with_capacity(rows.len());
        for (mut order, candidates) in rows {
            order.candidates = match (candidates, orders.last()) {
                (Some(own), _) => Arc::new(own),
                (None, Some(before)) => Arc::clone(&before.candidates),
                (None, None) => {
                    return Err(serde::de::Error::custom(
                        "the first order has no candidates: there is no order before it to share them with",
                    ));
                }
            };
            orders.push(order);
        }
        Ok(orders)
    }
}
