//! The orders of one shopper, in the order in which they were first seen.
//!
//! Tills that send one id for all who walk in make shoppers with thousands of orders. Beyond [`INDEXED_FROM`] orders an index finds
//! an order by its number, and the orders of a range of times; no answer depends on whether there is one.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::ops::{Index as At, IndexMut, Range};
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::blocks::{Blocks, Met};
use super::order::{Order, orders_in_snapshot};
use super::refunds::reserve_one;
use super::touch::Touch;
use crate::model::rules::{Attribution, RulesSeq};
use crate::model::time::Millis;

/// Number of orders from which on they are indexed; fewer are found faster by looking at each.
const INDEXED_FROM: usize = 16;

/// The orders of a shopper.
#[derive(Clone, Debug, Default)]
pub(in crate::desk::shopper) struct Orders {
    list: Vec<Order>,
    index: Option<Box<Index>>,
}

/// What is no longer kept.
#[derive(Clone, Copy, Debug)]
pub(in crate::desk::shopper) enum Gone<'a> {
    /// A known order.
    Order(&'a Order),
    /// This number of refunds that waited for their order.
    Waiting(usize),
}

/// Finds orders by their places in the list.
#[derive(Clone, Debug, Default)]
struct Index {
    by_number: HashTable<usize>,
    hasher: DefaultHashBuilder,
    /// Orders that are known, by (time, key).
    by_time: BTreeSet<(Millis, u128, usize)>,
    /// When the first part of each expires, under the rules of the last check; `None` before it.
    expiries: Option<BTreeSet<(Millis, usize)>>,
    /// Number of empty places: orders that are no longer kept leave one, until most places are empty.
    empty: usize,
    /// The orders in blocks, under a behaviour with bounds.
    blocks: Option<Blocks>,
    /// The places of orders that a touch may change, and that are lent their candidates.
    lent: Vec<usize>,
}

impl Index {
    fn of(list: &[Order]) -> Self {
        let mut index = Self::default();
        (0..list.len()).for_each(|at| index.add(list, at));
        index
    }

    fn add(&mut self, list: &[Order], at: usize) {
        let hash = |&at: &usize| self.hasher.hash_one(&*list[at].number);
        self.by_number.insert_unique(hash(&at), at, hash);
        self.by_time.extend(list[at].order().map(|(time, key)| (time, key, at)));
    }

    fn find(&self, list: &[Order], number: &str) -> Option<usize> {
        self.by_number.find(self.hasher.hash_one(number), |&at| &*list[at].number == number).copied()
    }

    fn remove(&mut self, list: &[Order], at: usize) {
        let hash = self.hasher.hash_one(&*list[at].number);
        if let Ok(entry) = self.by_number.find_entry(hash, |&place| place == at) {
            entry.remove();
        }
        list[at].order().map(|(time, key)| self.by_time.remove(&(time, key, at)));
    }
}

impl Orders {
    pub(in crate::desk::shopper) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.list.len() - self.index.as_ref().map_or(0, |index| index.empty)
    }

    /// Approximate size in memory beside this one, bytes, without indexes.
    pub(in crate::desk::shopper) fn bytes(&self) -> usize {
        self.list.capacity() * size_of::<Order>() + self.iter().map(Order::bytes).sum::<usize>()
    }

    pub(in crate::desk::shopper) fn iter(&self) -> impl Iterator<Item = &Order> {
        self.list.iter().filter(|order| !order.is_nothing())
    }

    pub(in crate::desk::shopper) fn all_mut(&mut self) -> &mut [Order] {
        &mut self.list
    }

    /// The index, if there are enough orders for one.
    fn index(&mut self) -> Option<&mut Index> {
        if self.list.len() < INDEXED_FROM {
            return None;
        }
        Some(self.index.get_or_insert_with(|| Box::new(Index::of(&self.list))))
    }

    /// The place of the order with a number, or of the refunds that wait for it.
    pub(in crate::desk::shopper) fn find(&mut self, number: &str) -> Option<usize> {
        self.index();
        match &self.index {
            Some(index) => index.find(&self.list, number),
            None => self.list.iter().position(|order| &*order.number == number),
        }
    }

    /// The place of the order with a number, which is added if there is none.
    pub(in crate::desk::shopper) fn find_or_add(&mut self, number: &str) -> usize {
        self.find(number).unwrap_or_else(|| {
            let at = self.list.len();
            reserve_one(&mut self.list);
            self.list.push(Order::new(number));
            if let Some(index) = &mut self.index {
                index.add(&self.list, at);
            }
            at
        })
    }

    /// The (time, key) of an order that is in no block has changed, or when its first part expires.
    pub(in crate::desk::shopper) fn moved(
        &mut self,
        at: usize,
        (before, expiry_before): (Option<(Millis, u128)>, Millis),
        expiry: Millis,
    ) {
        let now = self.list[at].order();
        let Some(index) = &mut self.index else { return };
        if before != now {
            before.map(|(time, key)| index.by_time.remove(&(time, key, at)));
            index.by_time.extend(now.map(|(time, key)| (time, key, at)));
        }
        if let Some(expiries) = &mut index.expiries {
            expiries.remove(&(expiry_before, at));
            expiries.insert((expiry, at));
        }
    }

    /// The places of all orders whose times lie in a range; of others too, if there is no index. In the order of the places.
    pub(in crate::desk::shopper) fn within(&mut self, times: Range<Millis>) -> Vec<usize> {
        let all = 0..self.list.len();
        let Some(index) = self.index() else { return all.collect() };
        let range = (times.start, 0, 0)..(times.end, 0, 0);
        let mut places: Vec<usize> = index.by_time.range(range).map(|&(.., place)| place).collect();
        places.sort_unstable();
        places
    }

    /// Puts the orders into blocks, if there are enough.
    pub(in crate::desk::shopper) fn put_into_blocks<'a>(
        &mut self,
        attribution: impl Fn(RulesSeq) -> Option<&'a Attribution>,
    ) {
        if self.index().is_some_and(|index| index.blocks.is_none()) {
            let blocks = Blocks::of(&mut self.list, attribution);
            self.index().map(|index| index.blocks.insert(blocks));
        }
    }

    fn blocks(&mut self) -> Option<(&mut Blocks, &mut Vec<usize>, &mut [Order])> {
        let index = self.index.as_mut()?;
        Some((index.blocks.as_mut()?, &mut index.lent, &mut self.list))
    }

    /// Takes an order out of its block: it has its candidates then, until [`Orders::put_back`].
    pub(in crate::desk::shopper) fn take_out(&mut self, at: usize) {
        if let Some((blocks, _, orders)) = self.blocks() {
            blocks.remove(&mut orders[at], at);
        }
    }

    /// Puts an order into its block.
    pub(in crate::desk::shopper) fn put_back<'a>(
        &mut self,
        at: usize,
        attribution: impl Fn(RulesSeq) -> Option<&'a Attribution>,
    ) {
        if let Some((blocks, _, orders)) = self.blocks() {
            let attribution = attribution(orders[at].rules);
            blocks.add(&mut orders[at], at, attribution);
        }
    }

    /// Takes a touch: notes it for the orders in blocks that it leaves alone, and returns the places of all others within whose
    /// window it lies, with their candidates, until [`Orders::touched`]; and how many blocks and orders it looked at for that. `None`
    /// if there are no blocks.
    pub(in crate::desk::shopper) fn touch(&mut self, touch: &Touch, full: &Cell<bool>) -> Option<(Vec<usize>, usize)> {
        let (blocks, lent, orders) = self.blocks()?;
        let Met { full: meets_full, looked_at } = blocks.touch(touch, orders, lent);
        if meets_full {
            full.set(true);
        }
        lent.sort_unstable();
        Some((lent.clone(), looked_at))
    }

    /// Takes back the candidates of the orders that [`Orders::touch`] returned.
    pub(in crate::desk::shopper) fn touched<'a>(&mut self, attribution: impl Fn(RulesSeq) -> Option<&'a Attribution>) {
        if let Some((blocks, lent, orders)) = self.blocks() {
            blocks.take_back(lent, orders, attribution);
            lent.clear();
        }
    }

    /// Takes all orders out of their blocks.
    pub(in crate::desk::shopper) fn take_all_out(&mut self) {
        if let Some(blocks) = self.index.as_mut().and_then(|index| index.blocks.take()) {
            blocks.dissolve(&mut self.list);
        }
    }

    /// Drops what is no longer kept, and passes it to `gone`. Returns when something may expire next.
    ///
    /// `within` is how long an order is kept under the rules with a number; `is_changed`: it was another function at the last check.
    pub(in crate::desk::shopper) fn expire(
        &mut self,
        received: Millis,
        within: impl Fn(RulesSeq) -> i64,
        is_changed: bool,
        mut gone: impl FnMut(Gone<'_>),
    ) -> Millis {
        let Some(index) = self.index() else {
            let mut next = Millis::MAX;
            self.list.retain_mut(|order| match keep(order, received, &within, &mut gone) {
                Some(expiry) => {
                    next = next.min(expiry);
                    true
                }
                None => false,
            });
            return next;
        };
        let known = index.expiries.take().filter(|_| !is_changed);
        let mut expiries = known.unwrap_or_else(|| (0..self.list.len()).map(|at| (Millis::MIN, at)).collect());
        while let Some(&(_, at)) = expiries.first().filter(|&&(expiry, _)| expiry <= received) {
            expiries.pop_first();
            let order = &mut self.list[at];
            if order.is_nothing() {
                continue;
            }
            match keep(order, received, &within, &mut gone) {
                Some(expiry) => {
                    expiries.insert((expiry, at));
                }
                None => self.remove(at),
            }
        }
        let next = expiries.first().map_or(Millis::MAX, |&(expiry, _)| expiry);
        if let Some(index) = &mut self.index {
            index.expiries = Some(expiries);
        }
        self.compact();
        next
    }

    /// Drops the orders with the smallest (time, key), until at most `max` are left; passes each to `closed`. Refunds that wait for
    /// an order are no orders.
    pub(in crate::desk::shopper) fn drop_beyond(&mut self, max: usize, mut closed: impl FnMut(&Order)) {
        self.index();
        while self.len() > max {
            let known = self.list.iter().enumerate().filter_map(|(at, order)| Some((order.order()?, at)));
            let smallest = match &self.index {
                Some(index) if index.by_time.len() > max => index.by_time.first().map(|&(.., at)| at),
                None if known.clone().count() > max => known.min().map(|(_, at)| at),
                _ => None,
            };
            let Some(at) = smallest else { break };
            closed(&self.list[at]);
            self.remove(at);
        }
        self.compact();
    }

    /// Removes an order; if there is an index, it leaves an empty place.
    fn remove(&mut self, at: usize) {
        self.take_out(at);
        if let Some(index) = &mut self.index {
            index.remove(&self.list, at);
            self.list[at] = Order::new("");
            index.empty += 1;
        } else {
            self.list.remove(at);
        }
    }

    /// Removes the empty places if most are empty. The others keep their order, and stay in their blocks.
    fn compact(&mut self) {
        let Some(mut index) = self.index.take_if(|index| 2 * index.empty > self.list.len()) else { return };
        let mut used = 0;
        let place = |order: &Order| {
            used += usize::from(!order.is_nothing());
            used.saturating_sub(1)
        };
        let places: Vec<usize> = self.list.iter().map(place).collect();
        self.list.retain(|order| !order.is_nothing());
        let Some(mut blocks) = index.blocks.take() else { return };
        blocks.renumber(&places);
        match self.index() {
            Some(index) => index.blocks = Some(blocks),
            None => blocks.dissolve(&mut self.list),
        }
    }
}

/// When the first part of an order expires; `None` if all of it is no longer kept. `gone` learns what is not.
fn keep(
    order: &mut Order,
    received: Millis,
    within: impl Fn(RulesSeq) -> i64,
    mut gone: impl FnMut(Gone<'_>),
) -> Option<Millis> {
    let within_ms = within(order.rules);
    let waited = order.waiting_refunds();
    order.forget_waiting(received, within_ms);
    if received < order.expiry(within_ms) {
        if order.waiting_refunds() < waited {
            gone(Gone::Waiting(waited - order.waiting_refunds()));
        }
        return Some(order.next_expiry(within_ms));
    }
    gone(if order.time().is_some() { Gone::Order(order) } else { Gone::Waiting(waited) });
    None
}

impl At<usize> for Orders {
    type Output = Order;

    fn index(&self, at: usize) -> &Order {
        &self.list[at]
    }
}

impl IndexMut<usize> for Orders {
    fn index_mut(&mut self, at: usize) -> &mut Order {
        &mut self.list[at]
    }
}

impl Serialize for Orders {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let blocks = self.index.as_ref().and_then(|index| index.blocks.as_ref());
        let mut in_blocks = blocks.map(Blocks::candidates).unwrap_or_default().into_iter().peekable();
        let used = self.list.iter().enumerate().filter(|(_, order)| !order.is_nothing());
        let rows = used.map(|(at, order)| {
            let candidates = in_blocks.next_if(|&(place, _)| place == at).map(|(_, candidates)| candidates);
            (order, candidates.unwrap_or_else(|| Arc::clone(&order.candidates)))
        });
        orders_in_snapshot::serialize(&rows.collect::<Vec<_>>(), to)
    }
}

impl<'de> Deserialize<'de> for Orders {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self { list: orders_in_snapshot::deserialize(from)?, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::refunds::tests::paid;
    use super::*;
    use crate::model::event::Part;

    /// Adds an order, or an earlier part of one.
    fn pay(orders: &mut Orders, n: usize, part: Part, time: Millis) {
        let at = orders.find_or_add(&n.to_string());
        let before = (orders[at].order(), orders[at].next_expiry(WITHIN));
        orders[at].add_part(part, paid(time, n as u128, 1));
        let expiry = orders[at].next_expiry(WITHIN);
        orders.moved(at, before, expiry);
    }

    const WITHIN: i64 = 1_000;

    /// Keeps the orders from a time on; returns the numbers of the others.
    fn expire(orders: &mut Orders, from: Millis) -> Vec<String> {
        let mut closed = Vec::new();
        let next = orders.expire(
            from - 1 + WITHIN,
            |_| WITHIN,
            false,
            |gone| {
                if let Gone::Order(order) = gone {
                    closed.push(order.number.to_string());
                }
            },
        );
        let wanted = orders.iter().map(|order| order.next_expiry(WITHIN)).min().unwrap_or(Millis::MAX);
        assert!(from - 1 + WITHIN < next && next <= wanted, "{next}, {wanted}");
        closed
    }

    /// An index finds what a look at each order finds.
    fn check(orders: &mut Orders) {
        let has_index = orders.list.len() >= INDEXED_FROM;
        for n in 0..3 * INDEXED_FROM {
            let number = n.to_string();
            let wanted = orders.list.iter().position(|order| *order.number == *number);
            assert_eq!(orders.find(&number), wanted, "{number}");
        }
        assert_eq!(orders.iter().count(), orders.len());
        for times in [0..1, 10..20, 15..1_000, 0..1_000] {
            let wanted: Vec<usize> = (0..orders.list.len())
                .filter(|&at| !has_index || orders[at].time().is_some_and(|time| times.contains(&time)))
                .collect();
            assert_eq!(orders.within(times.clone()), wanted, "{times:?}");
        }
        assert_eq!(orders.index.is_some(), has_index);
    }

    #[test]
    fn indexed_orders_are_those_of_the_list() {
        let mut orders = Orders::default();
        for n in 0..2 * INDEXED_FROM {
            let time = Millis::try_from(n * 7 % 100).expect("small");
            pay(&mut orders, n, Part::Deposit, time);
            // Its time is that of its earliest part.
            pay(&mut orders, n / 2, Part::Balance, time / 3);
            if n % 16 == 0 {
                check(&mut orders);
            }
        }
        check(&mut orders);
        assert_eq!(expire(&mut orders, 0), [""; 0]);
        check(&mut orders);
        let times = |orders: &Orders| orders.iter().filter_map(Order::time).collect::<Vec<_>>();
        let kept: Vec<Millis> = times(&orders).into_iter().filter(|&time| time >= 10).collect();
        let before = orders.len();
        assert_eq!(expire(&mut orders, 10).len(), before - kept.len());
        assert_eq!(times(&orders), kept, "in the same order");
        check(&mut orders);
        pay(&mut orders, 0, Part::Deposit, 11);
        check(&mut orders);
        // The smallest go, in (time, key) order; refunds that wait are no orders.
        orders.find_or_add("refunds");
        let mut dropped = Vec::new();
        orders.drop_beyond(kept.len() / 2, |order| dropped.push(order.order()));
        assert!(dropped.is_sorted() && dropped.len() > 10, "{dropped:?}");
        assert!(orders.iter().all(|order| order.order() > dropped.last().copied().flatten() || order.time().is_none()));
        assert_eq!(times(&orders).len(), kept.len() / 2);
        check(&mut orders);
        expire(&mut orders, 1_000);
        assert!(orders.is_empty());
        check(&mut orders);
    }

    /// Orders keep their blocks and their candidates when empty places are removed.
    #[test]
    fn orders_in_blocks_keep_their_candidates_when_others_go() {
        use super::super::touch::UntimedTouch;
        use crate::model::code::{Kind, Rank};

        let attribution = Attribution { window_ms: 40, ..Attribution::default() };
        let seed = UntimedTouch { guide: 1, store: 2, rank: Rank::Guide, kind: Kind::Guide };
        let touches: Vec<Touch> = (0..400_u32).map(|n| Touch::new(n.into(), u128::from(n), 0, seed)).collect();
        let mut plain = Orders::default();
        for n in 0..400 {
            let time = Millis::try_from(n * 7 % 400).expect("small");
            pay(&mut plain, n, Part::Sale, time);
            let own = super::super::touch::within(&touches, time - attribution.window_ms, time);
            plain[n].candidates = Arc::new(own.to_vec());
        }
        let mut in_blocks = plain.clone();
        for max in [300, 210, 199, 120, 40, 20, 10] {
            in_blocks.put_into_blocks(|_| Some(&attribution));
            assert!(in_blocks.index.as_ref().is_none_or(|index| index.blocks.is_some()));
            for orders in [&mut plain, &mut in_blocks] {
                orders.drop_beyond(max, |_| {});
            }
            assert_eq!(crate::frame::encode(&in_blocks), crate::frame::encode(&plain), "{max}");
        }
        assert_eq!(in_blocks.iter().map(|order| order.candidates.len()).min(), Some(40));
    }
}
