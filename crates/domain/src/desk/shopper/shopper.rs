//! The state of one shopper, and how it expires.

use serde::{Deserialize, Serialize};

use super::entry::Entries;
use super::funnel::Progress;
use super::money::member::Member;
use super::money::order::Order;
use super::money::orders::{Gone, Orders};
use super::money::touch::Touches;
use crate::desk::shopper::compiled_rules::{CompiledRules, Symbol};
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
    /// Reads what most events look up.
    pub(super) fn look_ahead(&self) -> usize {
        let touch = self.touches.all().last().map_or(0, |touch| usize::from(touch.guide != 0));
        touch + usize::from(self.orders.is_empty()) + usize::from(self.due.is_some())
    }

    /// Drops what is no longer kept; passes what orders lose to `gone`.
    pub(super) fn expire(
        &mut self,
        received: Millis,
        touches_floor: Millis,
        compiled: &CompiledRules,
        within: impl Fn(RulesSeq) -> i64,
        gone: impl FnMut(Gone<'_>),
    ) {
        self.touches.expire(received, touches_keep_ms(compiled), touches_floor);
        let kept = self.orders_kept.filter(|&(rules, _)| rules == compiled.book.seq);
        if self.orders.is_empty() || kept.is_some_and(|(_, until)| received < until) {
            return;
        }
        let until = self.orders.expire(received, within, kept.is_none(), gone);
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

    /// The symbols of all texts that the shopper refers to and the rules may not.
    pub(super) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        let money = self.orders.iter().flat_map(Order::symbols).chain(self.member.iter().flat_map(|m| m.symbols()));
        money.chain(self.funnels.iter().flat_map(Progress::symbols))
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
