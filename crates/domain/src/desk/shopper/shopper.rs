//! The state of one shopper, and how it expires.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::entry::Entries;
use super::funnel::Progress;
use super::money::member::Member;
use super::money::order::Order;
use super::money::orders::{Gone, Orders};
use super::money::touch::Touches;
use crate::desk::shopper::compiled_rules::{CompiledRules, Symbol};
use crate::model::rules::RulesSeq;
use crate::model::time::Millis;

/// A shopper of one merchant. Most have one touch and nothing else.
#[derive(Clone, Debug, Default)]
pub(super) struct Shopper {
    pub(super) touches: Touches,
    more: Option<Box<More>>,
    /// The day of `received` of the next sweep; 0 if none is scheduled.
    due: i32,
}

/// What few shoppers have.
#[derive(Clone, Debug, Default)]
pub(super) struct More {
    money: Option<Box<Money>>,
    pub(super) entries: Vec<Entries>,
    pub(super) funnels: Vec<Progress>,
}

/// What buyers and members have.
#[derive(Clone, Debug, Default)]
pub(super) struct Money {
    pub(super) orders: Orders,
    /// The rules under which no order expires before this time; `None` before the first check.
    pub(super) orders_kept: Option<(RulesSeq, Millis)>,
    /// The time of the first order; it never expires.
    pub(super) first_order: Option<Millis>,
    /// It never expires.
    pub(super) member: Option<Box<Member>>,
}

/// How long touches are kept, by `received`, ms.
pub(super) fn touches_keep_ms(compiled: &CompiledRules) -> i64 {
    compiled.book.rules.attribution.window_ms.saturating_add(compiled.book.rules.late_ms)
}

impl Shopper {
    /// Reads what most events look up.
    pub(super) fn look_ahead(&self) -> usize {
        let touch = self.touches.all().last().map_or(0, |touch| usize::from(touch.guide != 0));
        touch + self.more.as_ref().map_or(0, |more| more.entries.len())
    }

    pub(super) fn more(&self) -> Option<&More> {
        self.more.as_deref()
    }

    pub(super) fn more_mut(&mut self) -> Option<&mut More> {
        self.more.as_deref_mut()
    }

    /// What few shoppers have; from now on this one has it.
    pub(super) fn more_or_new(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    pub(super) fn money(&self) -> Option<&Money> {
        self.more.as_ref()?.money.as_deref()
    }

    pub(super) fn money_mut(&mut self) -> Option<&mut Money> {
        self.with_money().1
    }

    /// The touches, and the money if there is any.
    pub(super) fn with_money(&mut self) -> (&Touches, Option<&mut Money>) {
        let money = self.more.as_deref_mut().and_then(|more| more.money.as_deref_mut());
        (&self.touches, money)
    }

    /// Makes a shopper one that has money.
    pub(super) fn open_money(&mut self) {
        self.more_or_new().money.get_or_insert_default();
    }

    /// The orders; none for most shoppers.
    pub(super) fn orders(&self) -> impl Iterator<Item = &Order> {
        self.money().into_iter().flat_map(|money| money.orders.iter())
    }

    /// The progress in funnels; none for most shoppers.
    pub(super) fn funnels(&self) -> &[Progress] {
        self.more.as_ref().map_or(&[], |more| &more.funnels)
    }

    /// The day of `received` of the next sweep.
    pub(super) fn due(&self) -> Option<i32> {
        (self.due != 0).then_some(self.due)
    }

    pub(super) fn set_due(&mut self, day: Option<i32>) {
        self.due = day.unwrap_or(0);
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
        let Some(money) = self.money_mut() else { return };
        let kept = money.orders_kept.filter(|&(rules, _)| rules == compiled.book.seq);
        if money.orders.is_empty() || kept.is_some_and(|(_, until)| received < until) {
            return;
        }
        let until = money.orders.expire(received, within, kept.is_none(), gone);
        money.orders_kept = Some((compiled.book.seq, until));
    }

    /// When something of this shopper expires next; `None` if nothing does.
    pub(super) fn next_expiry(
        &self,
        compiled: &CompiledRules,
        within: impl Fn(RulesSeq) -> i64,
        funnels_end: Millis,
    ) -> Option<Millis> {
        let orders = self.orders().map(|o| o.expiry(within(o.rules)));
        let funnels = (!self.funnels().is_empty()).then_some(funnels_end);
        orders.chain(self.touches.next_expiry(touches_keep_ms(compiled))).chain(funnels).min()
    }

    /// The symbols of all texts that the shopper refers to and the rules may not.
    pub(super) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        let member = self.money().and_then(|money| money.member.as_ref());
        let money = self.orders().flat_map(Order::symbols).chain(member.into_iter().flat_map(|m| m.symbols()));
        money.chain(self.funnels().iter().flat_map(Progress::symbols))
    }

    /// Whether the state holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        let holds_money =
            |money: &Money| !money.orders.is_empty() || money.first_order.is_some() || money.member.is_some();
        self.touches.all().is_empty()
            && self.more().is_none_or(|more| more.entries.is_empty() && more.funnels.is_empty())
            && !self.money().is_some_and(holds_money)
    }

    /// Approximate size in memory beside the shopper itself, bytes.
    pub(super) fn bytes(&self) -> usize {
        let money = |money: &Money| size_of::<Money>() + money.orders.bytes();
        let more = |more: &More| {
            let lists =
                more.entries.capacity() * size_of::<Entries>() + more.funnels.capacity() * size_of::<Progress>();
            size_of::<More>() + lists + more.money.as_deref().map_or(0, money)
        };
        self.touches.bytes() + self.more().map_or(0, more)
    }
}

/// A shopper in a snapshot.
type Saved<'a, O, M, E, F> = (Cow<'a, Touches>, O, Option<(RulesSeq, Millis)>, Option<Millis>, M, E, F, Option<i64>);

impl Serialize for Shopper {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let none = Orders::default();
        let money = self.money();
        let orders = money.map_or(&none, |money| &money.orders);
        let member = money.and_then(|money| money.member.as_deref());
        let kept = money.and_then(|money| money.orders_kept);
        let first = money.and_then(|money| money.first_order);
        let entries: &[Entries] = self.more().map_or(&[], |more| &more.entries);
        let saved: Saved<'_, &Orders, Option<&Member>, &[Entries], &[Progress]> = (
            Cow::Borrowed(&self.touches),
            orders,
            kept,
            first,
            member,
            entries,
            self.funnels(),
            self.due().map(i64::from),
        );
        saved.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Shopper {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let saved: Saved<'_, Orders, Option<Box<Member>>, Vec<Entries>, Vec<Progress>> =
            Deserialize::deserialize(from)?;
        let (touches, orders, orders_kept, first_order, member, entries, funnels, due) = saved;
        let mut shopper = Self { touches: touches.into_owned(), ..Self::default() };
        if !orders.is_empty() || orders_kept.is_some() || first_order.is_some() || member.is_some() {
            shopper.more_or_new().money = Some(Box::new(Money { orders, orders_kept, first_order, member }));
        }
        if !entries.is_empty() || !funnels.is_empty() {
            let more = shopper.more_or_new();
            (more.entries, more.funnels) = (entries, funnels);
        }
        // A sweep far ahead may as well come earlier.
        shopper.set_due(due.map(|day| i32::try_from(day).unwrap_or(i32::MAX)));
        Ok(shopper)
    }
}
