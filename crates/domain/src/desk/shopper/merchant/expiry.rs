//! Expiry: which orders are too old, what a shopper no longer keeps, and which shoppers are swept.

use super::{Merchant, MerchantState};
use crate::desk::shopper::compiled_rules::{CompiledRules, Versions};
use crate::desk::shopper::money::orders::Gone;
use crate::desk::shopper::resolve::EventContext;
use crate::model::ids::{digest128, join_keys};
use crate::model::rules::RulesSeq;
use crate::model::time::{DAY_MS, Millis};
use crate::protocol::stage::segments::Noted;
use crate::table::changes::{Change, put};
use crate::table::uniform::UniformSet;

/// Maximum number of shoppers that one event sweeps; further ones wait for later events.
const SWEEP_MAX: usize = 2;

impl Merchant {
    /// Whether an order or refund is older than an order is kept, or belongs to an order that is no longer kept.
    pub(super) fn is_too_old(&mut self, context: &EventContext<'_, '_>) -> bool {
        let Some(payment) = context.payment() else { return false };
        self.expire(context.event.shopper_key, context.received);
        // A known order keeps the rules under which it was first seen.
        let rules = self.state.shoppers.get_mut(context.event.shopper_key).and_then(|shopper| {
            let orders = &mut shopper.money_mut()?.orders;
            let at = orders.find(payment.number)?;
            Some(orders[at].rules)
        });
        let rules = rules.unwrap_or_default();
        let within_ms = refund_within_ms(&self.versions, &self.compiled, rules);
        context.received >= context.time.saturating_add(within_ms)
            || self.state.closed.contains(&order_key(context.event.shopper_key, payment.number))
    }

    /// Drops what a shopper no longer keeps; dropped orders are closed.
    pub(super) fn expire(&mut self, key: u128, received: Millis) {
        let Self { versions, compiled, waiting_refunds, state, changes, .. } = self;
        let MerchantState { shoppers, closed, touches_floor, .. } = state;
        if let Some(shopper) = shoppers.get_mut(key) {
            let within = |rules| refund_within_ms(versions, compiled, rules);
            shopper.expire(received, *touches_floor, compiled, within, |gone| match gone {
                Gone::Order(order) => {
                    close(closed, changes.as_mut(), order_key(key, &order.number));
                }
                Gone::Waiting(refunds) => *waiting_refunds -= refunds,
            });
        }
    }

    /// Schedules the next sweep of a shopper.
    pub(super) fn schedule(&mut self, key: u128, received: Millis) {
        let Self { versions, compiled, state: MerchantState { shoppers, .. }, .. } = self;
        shoppers.schedule(key, |shopper| {
            let within = |rules| refund_within_ms(versions, compiled, rules);
            let expiry = shopper.next_expiry(compiled, within, received + DAY_MS)?;
            Some(expiry.max(received) / DAY_MS + 1)
        });
    }

    /// Frees the memory of expired entries. No answer depends on it.
    pub(super) fn sweep(&mut self, received: Millis) {
        let oldest = received.saturating_sub(self.compiled.book.rules.late_ms);
        let first = self.compiled.book.zone.day(oldest.max(0)).saturating_sub(1);
        self.forget_shoppers_before(first);
        if let Some(bounds) = &mut self.bounds {
            bounds.named.late_before(first);
        }
        for _ in 0..SWEEP_MAX {
            let Some(key) = self.state.shoppers.due(received / DAY_MS) else { return };
            self.sweep_shopper(key, received);
        }
    }

    fn sweep_shopper(&mut self, key: u128, received: Millis) {
        self.expire(key, received);
        let today = self.compiled.book.zone.day(received);
        let is_bounded = self.bounds.is_some();
        let Self { versions, compiled, state: MerchantState { shoppers, names, .. }, .. } = self;
        let Some(shopper) = shoppers.get_mut(key) else { return };
        let funnels = &compiled.book.rules.funnels;
        let definition = |symbol| funnels.iter().find(|f| names.text(symbol) == Some(&f.name));
        if let Some(more) = shopper.more_mut() {
            more.funnels.retain_mut(|progress| {
                if is_bounded {
                    // Its own rules, so that no answer depends on the sweep.
                    let funnels =
                        versions.get(&progress.rules).map(|version| &*version.book.rules.funnels).unwrap_or_default();
                    let own = funnels.iter().find(|f| names.text(progress.funnel) == Some(&f.name));
                    progress.expire(received, today, own.map_or(0, |f| f.within_ms));
                } else {
                    progress.expire_unbounded(received, today, definition(progress.funnel).map_or(0, |f| f.within_ms));
                }
                !progress.is_empty()
            });
        }
        if shopper.is_empty() {
            shoppers.remove(key);
        } else {
            self.schedule(key, received);
        }
    }
}

/// The key of a shopper's order among the closed ones.
pub(super) fn order_key(shopper_key: u128, number: &str) -> u128 {
    join_keys(shopper_key, digest128(&[number]))
}

/// Remembers that an order is no longer kept.
pub(super) fn close(closed: &mut UniformSet, changes: Option<&mut Noted>, key: u128) {
    closed.insert(key);
    if let Some(changes) = changes.and_then(Noted::room) {
        put(changes, Change::Closed { key });
    }
}

/// How long an order is kept, ms: by the rules of the order, or else by those in force.
fn refund_within_ms(versions: &Versions, compiled: &CompiledRules, rules: RulesSeq) -> i64 {
    versions.get(&rules).map_or(compiled, |v| v).book.rules.attribution.refund_within_ms
}
