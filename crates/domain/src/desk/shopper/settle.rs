//! Settling: what an event changes about a shopper's touches, orders and membership, and the money of it.
//!
//! What the orders concerned counted for is taken back, they are changed, and what they count for now is added: events
//! give the same sums in whatever sequence they come.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::money::member::Member;
use super::money::order::{Buyer, Cause, Order, Paid};
use super::money::touch::{Added, Touch, insert, insert_all, within};
use super::shopper::Shopper;
use crate::desk::shopper::compiled_rules::{CompiledRules, Interner};
use crate::desk::shopper::counters::CounterBuffer;
use crate::desk::shopper::resolve::EventContext;
use crate::model::event::{Action, Payment};
use crate::model::fact::Fact;
use crate::model::rules::Members;
use crate::model::time::Millis;
use crate::protocol::stage::Outbox;

/// A shopper, and all that settling reads and writes besides.
pub(super) struct Settlement<'a> {
    pub(super) shopper: &'a mut Shopper,
    /// The rules in force.
    pub(super) bound: &'a CompiledRules,
    /// Those under which orders and members were first seen.
    pub(super) versions: &'a BTreeMap<u32, Arc<CompiledRules>>,
    pub(super) tally: &'a mut CounterBuffer,
    pub(super) names: &'a Interner,
    pub(super) out: &'a mut Outbox,
}

impl Settlement<'_> {
    /// Settles an event with a shopper from whom everything that is no longer kept is gone. Says whether a touch was dropped
    /// because there were too many.
    pub(super) fn settle(&mut self, p: &EventContext<'_, '_>) -> bool {
        let max = self.bound.book.rules.attribution.touches_max;
        let added = p.touch().map(|touch| (touch, self.shopper.touches.add(touch, max)));
        let touch = added
            .filter(|(_, added)| matches!(added, Added::MerchantState | Added::DroppedAnother))
            .map(|(touch, _)| touch);
        self.member(p, touch);
        if touch.is_some() || p.payment().is_some() {
            self.orders(p, touch);
        }
        added.is_some_and(|(_, added)| matches!(added, Added::DroppedItself | Added::DroppedAnother))
    }

    fn member(&mut self, p: &EventContext<'_, '_>, touch: Option<Touch>) {
        let joins = p.event.action == Action::Join;
        let Some(member) = &mut self.shopper.member else {
            if joins {
                let member = Member::new(p.time, p.event.key, p.arrival.scopes, self.bound, &self.shopper.touches);
                member.book(1, self.bound, self.tally);
                let what = member.fact(p.event.shopper, self.bound, self.names);
                self.out.fact(&Fact { merchant: p.event.merchant, what });
                self.shopper.member = Some(Box::new(member));
            }
            return;
        };
        let version = self.versions.get(&member.rules).map_or(self.bound, |v| v);
        let moves = joins && member.yields_to(p.time, p.event.key);
        let touch = touch.filter(|t| member.wants(t, version));
        if !moves && touch.is_none() {
            return;
        }
        member.book(-1, version, self.tally);
        if let Some(touch) = touch {
            member.add(touch);
        }
        if moves {
            member.move_to(p.time, p.event.key, p.arrival.scopes, version, &self.shopper.touches);
        }
        member.book(1, version, self.tally);
        let what = member.fact(p.event.shopper, version, self.names);
        self.out.fact(&Fact { merchant: p.event.merchant, what });
    }

    fn orders(&mut self, p: &EventContext<'_, '_>, touch: Option<Touch>) {
        let Self { shopper, bound, versions, tally, names, out } = self;
        let payment = p.payment();
        let mut buyer = Buyer {
            merchant: p.event.merchant,
            shopper: p.event.shopper,
            key: p.event.shopper_key,
            first_order: shopper.first_order.unwrap_or(Millis::MAX),
        };
        if let Some(payment) = payment
            && shopper.order(payment.number).is_none()
        {
            shopper.orders.push(Order::new(payment.number));
        }
        // An order may be the first ever of the shopper, on which all others may depend.
        let earlier = p.event.action == Action::Order && p.time < buyer.first_order;
        let concerned = |order: &Order| {
            let version = || versions.get(&order.rules);
            payment.is_some_and(|payment| payment.number == &*order.number)
                || touch.is_some_and(|t| is_candidate(&t, order, versions))
                || (earlier && version().is_some_and(|v| v.book.rules.attribution.members == Members::New))
        };
        let concerned: Vec<usize> = (0..shopper.orders.len()).filter(|&i| concerned(&shopper.orders[i])).collect();
        // A refund changes no earlier one, a touch none at all; a part may change them all.
        let settled = |order: &Order| match payment {
            Some(payment) if payment.number == &*order.number && p.event.action == Action::Order => 0,
            Some(payment) if payment.number == &*order.number => order.refunds_before(p.time, p.event.key),
            _ => usize::MAX,
        };
        let mut before = Vec::with_capacity(concerned.len());
        for &i in &concerned {
            let order = &shopper.orders[i];
            let version = versions.get(&order.rules);
            before.push(version.map(|version| order.book(-1, settled(order), &buyer, version, tally)));
        }
        for &i in &concerned {
            let order = &mut shopper.orders[i];
            if let Some(touch) = touch.filter(|t| is_candidate(t, order, versions)) {
                insert(Arc::make_mut(&mut order.candidates), touch);
            }
            if let Some(payment) = payment.filter(|payment| payment.number == &*order.number) {
                pay(p, order, payment, shopper.touches.all(), bound, versions);
                if order.candidates.len() > 1 && Arc::strong_count(&order.candidates) == 1 {
                    share(&mut shopper.orders, i);
                }
                let order = &shopper.orders[i];
                let within_ms =
                    versions.get(&order.rules).map_or(*bound, |v| v).book.rules.attribution.refund_within_ms;
                let expiry = order.next_expiry(within_ms);
                shopper.orders_kept = shopper.orders_kept.map(|(rules, until)| (rules, until.min(expiry)));
                if let Some(c) = order.time() {
                    buyer.first_order = buyer.first_order.min(c);
                    shopper.first_order = Some(buyer.first_order);
                }
            }
        }
        let cause = Cause { id: p.event.id, received: p.received };
        for (&i, before) in concerned.iter().zip(before) {
            let order = &mut shopper.orders[i];
            if let Some(version) = versions.get(&order.rules) {
                let booked = order.book(1, settled(order), &buyer, version, tally);
                let paid = payment.is_some_and(|payment| payment.number == &*order.number);
                if paid || before.is_none_or(|before| before != booked) {
                    order.post(&booked, &cause, &buyer, names, out);
                }
            }
        }
    }
}

/// Lets an order share the candidates of the one before it, if they are the same.
fn share(orders: &mut [Order], at: usize) {
    let (before, rest) = orders.split_at_mut(at);
    if let (Some(last), Some(order)) = (before.last(), rest.first_mut())
        && last.candidates == order.candidates
    {
        order.candidates = Arc::clone(&last.candidates);
    }
}

/// Whether a touch lies within the window of an order that is there.
fn is_candidate(touch: &Touch, order: &Order, versions: &BTreeMap<u32, Arc<CompiledRules>>) -> bool {
    let in_time = order.time().filter(|&c| touch.time <= c).zip(versions.get(&order.rules));
    in_time.is_some_and(|(c, version)| c - version.book.rules.attribution.window_ms < touch.time)
}

/// Adds a part or a refund to an order; an earlier part moves the order, and its window with it.
fn pay(
    p: &EventContext<'_, '_>,
    order: &mut Order,
    payment: Payment<'_>,
    touches: &[Touch],
    bound: &CompiledRules,
    versions: &BTreeMap<u32, Arc<CompiledRules>>,
) {
    let paid = Paid { time: p.time, key: p.event.key, amount: payment.amount, scopes: p.arrival.scopes };
    if p.event.action == Action::Refund {
        order.add_refund(paid);
        return;
    }
    let before = order.time();
    order.add_part(payment.part, paid);
    if before.is_none() {
        order.rules = bound.book.order;
    }
    let (Some(c), Some(version)) = (order.time(), versions.get(&order.rules)) else { return };
    if before != Some(c) {
        let from = c - version.book.rules.attribution.window_ms;
        let candidates = Arc::make_mut(&mut order.candidates);
        candidates.retain(|t| from < t.time && t.time <= c);
        insert_all(candidates, within(touches, from, c));
    }
}
