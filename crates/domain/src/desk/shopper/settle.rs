//! Settling: what an event changes in a shopper's touches, orders and membership, and in the money that follows from them.
//!
//! The counts of the orders concerned are taken back, the orders change, and their new counts are added: events that arrive
//! in another sequence end in the same sums.

use std::cell::Cell;
use std::sync::Arc;

use super::money::credit::is_same_credit;
use super::money::member::Member;
use super::money::order::{Buyer, Cause, CreditMemo, Order};
use super::money::orders::Orders;
use super::money::refunds::Paid;
use super::money::touch::{Added, Touch, candidates_max, insert, insert_all, within};
use super::shopper::Shopper;
use crate::desk::shopper::compiled_rules::{CompiledRules, Interner, Versions};
use crate::desk::shopper::counters::CounterBuffer;
use crate::desk::shopper::resolve::EventContext;
use crate::model::event::{Action, Payment};
use crate::model::fact::Fact;
use crate::model::rules::{Attribution, Members, RulesSeq};
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
    /// The number of refunds that wait, of all shoppers.
    pub(super) waiting_refunds: &'a mut usize,
    /// Number of touches, orders and refunds that events made it look at.
    pub(super) looked_at: &'a mut u64,
    /// Under a behaviour with bounds, which also leaves orders alone whose credit stays as it is: whether a touch was no candidate
    /// because there were too many.
    pub(super) full: Option<&'a Cell<bool>>,
}

impl Settlement<'_> {
    /// Settles an event; the shopper's expired state must be dropped before. Returns whether a touch was dropped because there
    /// were too many.
    pub(super) fn settle(&mut self, context: &EventContext<'_, '_>) -> bool {
        let max = self.compiled.book.rules.attribution.touches_max;
        *self.looked_at += self.shopper.touches.all().len() as u64;
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
        if joins {
            self.shopper.open_money();
        }
        let (touches, Some(money)) = self.shopper.with_money() else { return };
        let Some(member) = &mut money.member else {
            if joins {
                let (time, key) = (context.time, context.event.key);
                let member = Member::new(time, key, context.resolved.scopes, self.compiled, touches);
                member.book(1, self.compiled, self.counters);
                let what = member.fact(context.event.shopper, self.compiled, self.names);
                self.out.fact(&Fact { merchant: context.event.merchant, what });
                money.member = Some(Box::new(member));
            }
            return;
        };
        let version = self.versions.get(&member.rules).map_or(self.compiled, |v| v);
        let moves = joins && member.yields_to(context.time, context.event.key);
        let max = self.full.map_or(usize::MAX, |_| candidates_max(version.book.rules.attribution.touches_max));
        let touch = touch.filter(|t| member.wants(t, version) && member.candidates() < max);
        if !moves && touch.is_none() {
            return;
        }
        member.book(-1, version, self.counters);
        if let Some(touch) = touch {
            member.add(touch);
        }
        if moves {
            let place = (context.time, context.event.key);
            member.move_to(place, context.resolved.scopes, version, touches, max);
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
        let Self { shopper, compiled, versions, counters, names, out, waiting_refunds, looked_at, full } = self;
        let full = *full;
        if context.payment().is_some() {
            shopper.open_money();
        }
        let (touches, Some(money)) = shopper.with_money() else { return };
        let mut buyer = Buyer {
            merchant: context.event.merchant,
            shopper: context.event.shopper,
            key: context.event.shopper_key,
            first_order: money.first_order.unwrap_or(Millis::MAX),
        };
        let is_order = context.event.action == Action::Order;
        // The payment, and the place of its order.
        let payment = context.payment().map(|payment| (payment, money.orders.find_or_add(payment.number)));
        // A part that is not the smallest of its kind changes nothing.
        let changes = |payment: &Payment<'_>, order: &Order| {
            full.is_none() || !is_order || order.takes_part(payment.part, context.time, context.event.key)
        };
        let payment = payment.filter(|(payment, at)| changes(payment, &money.orders[*at]));
        let paid = |i: usize| payment.filter(|&(_, at)| at == i).map(|(payment, _)| payment);
        // This order may become the shopper's first one, which can change the commission of all others.
        let earlier = is_order && context.time < buyer.first_order;
        let attribution = |rules| versions.get(&rules).map(|v| &v.book.rules.attribution);
        if full.is_some() {
            money.orders.put_into_blocks(attribution);
        }
        if let Some((_, at)) = payment {
            money.orders.take_out(at);
        }
        let (mut concerned, looks) =
            concerned(&mut money.orders, versions, touch.as_ref(), payment.map(|(_, at)| at), earlier, full);
        **looked_at += looks as u64;
        if let (Some(_), Some(touch)) = (full, touch) {
            settle_unchanged(&mut money.orders, versions, touch, payment.map(|(_, at)| at), &mut concerned);
        }
        // A refund does not change earlier refunds, a touch changes none, a part may change all.
        let settled = |i: usize, order: &Order| match paid(i) {
            // Only what is different is counted, below.
            Some(_) if full.is_some() => usize::MAX,
            Some(_) if is_order => 0,
            Some(_) => order.refunds_before(context.time, context.event.key),
            None => usize::MAX,
        };
        if let Some((_, at)) = payment {
            let order = &money.orders[at];
            let first = if is_order { 0 } else { order.refunds_before(context.time, context.event.key) };
            **looked_at += (order.candidates.len() + order.refunds() - first) as u64;
        }
        let mut before = Vec::with_capacity(concerned.len());
        let mut memo = CreditMemo::default();
        for &i in &concerned {
            let order = &money.orders[i];
            let version = versions.get(&order.rules);
            let settled = settled(i, order);
            before.push(version.map(|version| order.book(-1, settled, &buyer, version, counters, &mut memo)));
        }
        // It shares the candidates, which are changed now.
        drop(memo);
        // A refund changes none before it.
        let refunded = payment.filter(|_| full.is_some()).map(|(_, at)| {
            let order = &money.orders[at];
            let first = if is_order { 0 } else { order.refunds_before(context.time, context.event.key) };
            (first, order.refunded_from(first))
        });
        let mut inserted = Inserted::default();
        for &i in &concerned {
            let order = &mut money.orders[i];
            if let Some(touch) = touch.filter(|touch| is_candidate(touch, order, versions, full)) {
                inserted.insert(i, &mut order.candidates, touch);
            }
            if let Some(payment) = paid(i) {
                let within_ms = |order: &Order| {
                    versions.get(&order.rules).map_or(*compiled, |v| v).book.rules.attribution.refund_within_ms
                };
                let before = (order.order(), order.next_expiry(within_ms(order)));
                let waited = order.waiting_refunds();
                pay(context, order, payment, touches.all(), compiled, versions, full);
                **waiting_refunds = **waiting_refunds + order.waiting_refunds() - waited;
                if order.candidates.len() > 1 && Arc::strong_count(&order.candidates) == 1 {
                    share(money.orders.all_mut(), i);
                }
                let order = &money.orders[i];
                let expiry = order.next_expiry(within_ms(order));
                money.orders.moved(i, before, expiry);
                money.orders_kept = money.orders_kept.map(|(rules, until)| (rules, until.min(expiry)));
                if let Some(c) = money.orders[i].time() {
                    buyer.first_order = buyer.first_order.min(c);
                    money.first_order = Some(buyer.first_order);
                }
            }
        }
        drop(inserted);
        let cause = Cause { id: context.event.id, received: context.received };
        let mut memo = CreditMemo::default();
        for (&i, before) in concerned.iter().zip(before) {
            let order = &mut money.orders[i];
            if let Some(version) = versions.get(&order.rules) {
                let settled = settled(i, order);
                let booked = order.book(1, settled, &buyer, version, counters, &mut memo);
                if let (Some((first, refunded)), Some(_)) = (&refunded, paid(i)) {
                    order.book_refunds(*first, refunded, version, counters);
                }
                if paid(i).is_some() || before.is_none_or(|before| before != booked) {
                    order.post(&booked, &cause, &buyer, names, out);
                }
            }
        }
        // It shares the candidates, which are changed now.
        drop(memo);
        money.orders.touched(attribution);
        if let Some((_, at)) = payment {
            money.orders.put_back(at, attribution);
        }
    }
}

/// The places of the orders that an event concerns: the paid one, those of which the touch is a candidate, and, if the shopper's
/// first order moves, those whose commission depends on it. And how many orders it has looked at.
fn concerned(
    orders: &mut Orders,
    versions: &Versions,
    touch: Option<&Touch>,
    paid: Option<usize>,
    first_moves: bool,
    full: Option<&Cell<bool>>,
) -> (Vec<usize>, usize) {
    let depends =
        |order: &Order| versions.get(&order.rules).is_some_and(|v| v.book.rules.attribution.members == Members::New);
    let (mut concerned, passed) = match touch {
        _ if first_moves && versions.values().any(|v| v.book.rules.attribution.members == Members::New) => {
            orders.take_all_out();
            (orders.within(Millis::MIN..Millis::MAX), 0)
        }
        Some(touch) => {
            let met = full.and_then(|full| orders.touch(touch, full));
            met.unwrap_or_else(|| {
                let windows = versions.values().map(|v| v.book.rules.attribution.window_ms);
                (orders.within(touch.time..touch.time.saturating_add(windows.max().unwrap_or(0))), 0)
            })
        }
        None => (Vec::new(), 0),
    };
    let looks = passed + concerned.len();
    concerned.retain(|&i| {
        let order = &orders[i];
        paid != Some(i)
            && (touch.is_some_and(|t| is_candidate(t, order, versions, full)) || (first_moves && depends(order)))
    });
    if let Some(paid) = paid {
        concerned.insert(concerned.partition_point(|&i| i < paid), paid);
    }
    (concerned, looks)
}

/// Adds a touch to the candidates of those orders whose credit it does not change, and takes them from the list: nothing else
/// changes for them.
fn settle_unchanged(
    orders: &mut Orders,
    versions: &Versions,
    touch: Touch,
    paid: Option<usize>,
    concerned: &mut Vec<usize>,
) {
    let mut inserted = Inserted::default();
    // The answer for the last candidates: orders next to each other often share theirs. Each order that shares them keeps them
    // alive, and nothing changes what is shared, so equal addresses are equal candidates.
    let mut last: Option<(*const Vec<Touch>, RulesSeq, bool)> = None;
    concerned.retain(|&i| {
        if paid == Some(i) {
            return true;
        }
        let order = &mut orders[i];
        let Some(version) = versions.get(&order.rules) else { return true };
        let (at, attribution) = (Arc::as_ptr(&order.candidates), &version.book.rules.attribution);
        let same = match last {
            Some((last, rules, same)) if (last, rules) == (at, order.rules) => same,
            // The first order decides by the times of touches.
            _ => {
                attribution.members == Members::All
                    && is_same_credit(&order.candidates, &touch, attribution.model, attribution.protect_ms)
            }
        };
        last = Some((at, order.rules, same));
        if same {
            inserted.insert(i, &mut order.candidates, touch);
        }
        !same
    });
}

/// A touch that was inserted into the candidates of an order. Orders next to each other that shared these share the result.
#[derive(Default)]
struct Inserted {
    last: Option<Shared>,
}

/// The place of the last order, and its candidates before and after.
type Shared = (usize, Arc<Vec<Touch>>, Arc<Vec<Touch>>);

impl Inserted {
    /// Inserts a touch into the candidates of the order at a place; the places rise.
    fn insert(&mut self, at: usize, candidates: &mut Arc<Vec<Touch>>, touch: Touch) {
        let last = self.last.take().filter(|(last, before, _)| last + 1 == at && are_same(before, candidates));
        if let Some((_, before, after)) = last {
            *candidates = Arc::clone(&after);
            self.last = Some((at, before, after));
        } else if candidates.len() > 1 && Arc::strong_count(candidates) == 1 {
            insert(Arc::make_mut(candidates), touch);
        } else {
            let before = Arc::clone(candidates);
            insert(Arc::make_mut(candidates), touch);
            self.last = Some((at, before, Arc::clone(candidates)));
        }
    }
}

/// Whether candidates are shared; orders without any, or with one, begin to share theirs where these are equal.
fn are_same(one: &Arc<Vec<Touch>>, other: &Arc<Vec<Touch>>) -> bool {
    Arc::ptr_eq(one, other) || (one.len() <= 1 && one == other)
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

/// Whether a touch lies within the window of a known order that has room for it.
fn is_candidate(touch: &Touch, order: &Order, versions: &Versions, full: Option<&Cell<bool>>) -> bool {
    let in_time = order.time().filter(|&c| touch.time <= c).zip(versions.get(&order.rules));
    in_time.is_some_and(|(c, version)| {
        let attribution = &version.book.rules.attribution;
        c - attribution.window_ms < touch.time && !is_full(&order.candidates, attribution, full)
    })
}

/// Whether there are as many candidates as there may be; `full` remembers that.
fn is_full(candidates: &[Touch], attribution: &Attribution, full: Option<&Cell<bool>>) -> bool {
    let Some(full) = full.filter(|_| candidates.len() >= candidates_max(attribution.touches_max)) else { return false };
    full.set(true);
    true
}

/// Adds a part or a refund to an order; an earlier part moves the order's time and its window.
fn pay(
    context: &EventContext<'_, '_>,
    order: &mut Order,
    payment: Payment<'_>,
    touches: &[Touch],
    compiled: &CompiledRules,
    versions: &Versions,
    full: Option<&Cell<bool>>,
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
        let max = full.map_or(usize::MAX, |_| candidates_max(version.book.rules.attribution.touches_max));
        insert_all(candidates, within(touches, from, c), max);
    }
}
