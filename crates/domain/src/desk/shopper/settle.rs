//! Settling: what an event changes in a shopper's touches, orders and membership, and in the money that follows from them.
//!
//! The counts of the orders concerned are taken back, the orders change, and their new counts are added: events that arrive
//! in another sequence end in the same sums.

use std::sync::Arc;

use super::money::member::Member;
use super::money::order::{Buyer, Cause, Order, Paid};
use super::money::touch::{Added, Touch, insert, insert_all, within};
use super::shopper::Shopper;
use crate::desk::shopper::compiled_rules::{CompiledRules, Interner, Versions};
use crate::desk::shopper::counters::CounterBuffer;
use crate::desk::shopper::resolve::EventContext;
use crate::model::event::{Action, Payment};
use crate::model::fact::Fact;
use crate::model::rules::Members;
use crate::model::time::Millis;
use crate::protocol::stage::Outbox;

/// A shopper, and everything else that settling reads and writes.
pub(super) struct Settlement<'a> {
    pub(super) shopper: &'a mut Shopper,
    /// The rules in force.
    pub(super) compiled: &'a CompiledRules,
    /// The rules under which orders and members were first seen.
    pub(super) versions: &'a Versions,
    pub(super) counters: &'a mut CounterBuffer,
    pub(super) names: &'a Interner,
    pub(super) out: &'a mut Outbox,
}

impl Settlement<'_> {
    /// Settles an event; the shopper's expired state must be dropped before. Returns whether a touch was dropped because there
    /// were too many.
    pub(super) fn settle(&mut self, context: &EventContext<'_, '_>) -> bool {
        let max = self.compiled.book.rules.attribution.touches_max;
        let added = context.touch().map(|touch| (touch, self.shopper.touches.add(touch, max)));
        let touch =
            added.filter(|(_, added)| matches!(added, Added::Kept | Added::DroppedAnother)).map(|(touch, _)| touch);
        self.member(context, touch);
        if touch.is_some() || context.payment().is_some() {
            self.orders(context, touch);
        }
        added.is_some_and(|(_, added)| matches!(added, Added::DroppedItself | Added::DroppedAnother))
    }

    fn member(&mut self, context: &EventContext<'_, '_>, touch: Option<Touch>) {
        let joins = context.event.action == Action::Join;
        let Some(member) = &mut self.shopper.member else {
            if joins {
                let member = Member::new(
                    context.time,
                    context.event.key,
                    context.resolved.scopes,
                    self.compiled,
                    &self.shopper.touches,
                );
                member.book(1, self.compiled, self.counters);
                let what = member.fact(context.event.shopper, self.compiled, self.names);
                self.out.fact(&Fact { merchant: context.event.merchant, what });
                self.shopper.member = Some(Box::new(member));
            }
            return;
        };
        let version = self.versions.get(&member.rules).map_or(self.compiled, |v| v);
        let moves = joins && member.yields_to(context.time, context.event.key);
        let touch = touch.filter(|t| member.wants(t, version));
        if !moves && touch.is_none() {
            return;
        }
        member.book(-1, version, self.counters);
        if let Some(touch) = touch {
            member.add(touch);
        }
        if moves {
            member.move_to(context.time, context.event.key, context.resolved.scopes, version, &self.shopper.touches);
        }
        member.book(1, version, self.counters);
        let what = member.fact(context.event.shopper, version, self.names);
        self.out.fact(&Fact { merchant: context.event.merchant, what });
    }

    /// Settles the orders that a payment or a touch concerns: takes back what they count for, changes them, adds what they now
    /// count for.
    ///
    /// Each is a pass over all of them, not a step for each order. A payment can move the shopper's first order, which decides
    /// commission of the others: what is taken back depends on the old one, what is added on the new one. And counters are sent
    /// in the order of their first use, so other turns would give a frame with other bytes.
    fn orders(&mut self, context: &EventContext<'_, '_>, touch: Option<Touch>) {
        let Self { shopper, compiled, versions, counters, names, out } = self;
        let mut buyer = Buyer {
            merchant: context.event.merchant,
            shopper: context.event.shopper,
            key: context.event.shopper_key,
            first_order: shopper.first_order.unwrap_or(Millis::MAX),
        };
        let is_order = context.event.action == Action::Order;
        let payment = context.payment();
        // The payment, if it is of this order.
        let paid = |order: &Order| payment.filter(|payment| payment.number == &*order.number);
        if let Some(payment) = payment
            && shopper.order(payment.number).is_none()
        {
            shopper.orders.push(Order::new(payment.number));
        }
        // This order may become the shopper's first one, which can change the commission of all others.
        let earlier = is_order && context.time < buyer.first_order;
        let is_concerned = |order: &Order| {
            paid(order).is_some()
                || touch.is_some_and(|touch| is_candidate(&touch, order, versions))
                || (earlier
                    && versions.get(&order.rules).is_some_and(|v| v.book.rules.attribution.members == Members::New))
        };
        let concerned: Vec<usize> = (0..shopper.orders.len()).filter(|&i| is_concerned(&shopper.orders[i])).collect();
        // A refund does not change earlier refunds, a touch changes none, a part may change all.
        let settled = |order: &Order| match paid(order) {
            Some(_) if is_order => 0,
            Some(_) => order.refunds_before(context.time, context.event.key),
            None => usize::MAX,
        };
        let mut before = Vec::with_capacity(concerned.len());
        for &i in &concerned {
            let order = &shopper.orders[i];
            let version = versions.get(&order.rules);
            before.push(version.map(|version| order.book(-1, settled(order), &buyer, version, counters)));
        }
        for &i in &concerned {
            let order = &mut shopper.orders[i];
            if let Some(touch) = touch.filter(|touch| is_candidate(touch, order, versions)) {
                insert(Arc::make_mut(&mut order.candidates), touch);
            }
            if let Some(payment) = paid(order) {
                pay(context, order, payment, shopper.touches.all(), compiled, versions);
                if order.candidates.len() > 1 && Arc::strong_count(&order.candidates) == 1 {
                    share(&mut shopper.orders, i);
                }
                let order = &shopper.orders[i];
                let within_ms =
                    versions.get(&order.rules).map_or(*compiled, |v| v).book.rules.attribution.refund_within_ms;
                let expiry = order.next_expiry(within_ms);
                shopper.orders_kept = shopper.orders_kept.map(|(rules, until)| (rules, until.min(expiry)));
                if let Some(c) = order.time() {
                    buyer.first_order = buyer.first_order.min(c);
                    shopper.first_order = Some(buyer.first_order);
                }
            }
        }
        let cause = Cause { id: context.event.id, received: context.received };
        for (&i, before) in concerned.iter().zip(before) {
            let order = &mut shopper.orders[i];
            if let Some(version) = versions.get(&order.rules) {
                let booked = order.book(1, settled(order), &buyer, version, counters);
                if paid(order).is_some() || before.is_none_or(|before| before != booked) {
                    order.post(&booked, &cause, &buyer, names, out);
                }
            }
        }
    }
}

/// Shares the candidates of the order before it, if they are equal.
fn share(orders: &mut [Order], at: usize) {
    let (before, rest) = orders.split_at_mut(at);
    if let (Some(last), Some(order)) = (before.last(), rest.first_mut())
        && last.candidates == order.candidates
    {
        order.candidates = Arc::clone(&last.candidates);
    }
}

/// Whether a touch lies within the window of a known order.
fn is_candidate(touch: &Touch, order: &Order, versions: &Versions) -> bool {
    let in_time = order.time().filter(|&c| touch.time <= c).zip(versions.get(&order.rules));
    in_time.is_some_and(|(c, version)| c - version.book.rules.attribution.window_ms < touch.time)
}

/// Adds a part or a refund to an order; an earlier part moves the order's time and its window.
fn pay(
    context: &EventContext<'_, '_>,
    order: &mut Order,
    payment: Payment<'_>,
    touches: &[Touch],
    compiled: &CompiledRules,
    versions: &Versions,
) {
    let paid =
        Paid { time: context.time, key: context.event.key, amount: payment.amount, scopes: context.resolved.scopes };
    if context.event.action == Action::Refund {
        order.add_refund(paid);
        return;
    }
    let before = order.time();
    order.add_part(payment.part, paid);
    if before.is_none() {
        order.rules = compiled.book.seq;
    }
    let (Some(c), Some(version)) = (order.time(), versions.get(&order.rules)) else { return };
    if before != Some(c) {
        let from = c - version.book.rules.attribution.window_ms;
        let candidates = Arc::make_mut(&mut order.candidates);
        candidates.retain(|t| from < t.time && t.time <= c);
        insert_all(candidates, within(touches, from, c));
    }
}
