//! The state of one shopper, and how it expires.

use serde::{Deserialize, Serialize};

use super::entry::Entries;
use super::funnel::Progress;
use super::money::member::Member;
use super::money::order::Order;
use super::money::orders::Orders;
use super::money::touch::Touches;
use crate::desk::shopper::compiled_rules::CompiledRules;
use crate::model::rules::RulesSeq;
use crate::model::time::Millis;

/// A shopper of one merchant.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Shopper {
    pub(super) touches: Touches,
    pub(super) orders: Orders,
    /// The rules under which no order expires before this time; `None` before the first check.
    pub(super) orders_kept: Option<(RulesSeq, Millis)>,
    /// The time of the first order; it never expires.
    pub(super) first_order: Option<Millis>,
    /// It never expires.
    pub(super) member: Option<Box<Member>>,
    pub(super) entries: Vec<Entries>,
    pub(super) funnels: Vec<Progress>,
    /// The day of `received` of the next sweep.
    pub(super) due: Option<i64>,
}

/// How long touches are kept, by `received`, ms.
pub(super) fn touches_keep_ms(compiled: &CompiledRules) -> i64 {
    compiled.book.rules.attribution.window_ms.saturating_add(compiled.book.rules.late_ms)
}

impl Shopper {
    /// Drops what is no longer kept; passes each dropped order to `closed`.
    pub(super) fn expire(
        &mut self,
        received: Millis,
        touches_floor: Millis,
        compiled: &CompiledRules,
        within: impl Fn(RulesSeq) -> i64,
        mut closed: impl FnMut(&Order),
    ) {
        self.touches.expire(received, touches_keep_ms(compiled), touches_floor);
        if self.orders.is_empty()
            || self.orders_kept.is_some_and(|(rules, until)| rules == compiled.book.seq && received < until)
        {
            return;
        }
        let mut until = Millis::MAX;
        self.orders.retain_mut(|order| {
            let within_ms = within(order.rules);
            order.forget_waiting(received, within_ms);
            let kept = received < order.expiry(within_ms);
            if kept {
                until = until.min(order.next_expiry(within_ms));
            } else if order.time().is_some() {
                closed(order);
            }
            kept
        });
        self.orders_kept = Some((compiled.book.seq, until));
    }

    /// When something of this shopper expires next; `None` if nothing does.
    pub(super) fn next_expiry(
        &self,
        compiled: &CompiledRules,
        within: impl Fn(RulesSeq) -> i64,
        funnels_end: Millis,
    ) -> Option<Millis> {
        let orders = self.orders.iter().map(|o| o.expiry(within(o.rules)));
        let funnels = (!self.funnels.is_empty()).then_some(funnels_end);
        orders.chain(self.touches.next_expiry(touches_keep_ms(compiled))).chain(funnels).min()
    }

    /// Whether the state holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.touches.next_expiry(0).is_none()
            && self.orders.is_empty()
            && self.first_order.is_none()
            && self.member.is_none()
            && self.entries.is_empty()
            && self.funnels.is_empty()
    }
}
