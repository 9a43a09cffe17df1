//! The orders of one shopper, in the order in which they were first seen.
//!
//! Tills that send one id for all who walk in make shoppers with thousands of orders. Beyond [`INDEXED_FROM`] orders an index finds
//! an order by its number, and the orders of a range of times; no answer depends on whether there is one.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::ops::{Index as At, IndexMut, Range};

use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::order::{Order, orders_in_snapshot};
use crate::model::time::Millis;

/// Number of orders from which on they are indexed; fewer are found faster by looking at each.
const INDEXED_FROM: usize = 64;

/// The orders of a shopper.
#[derive(Clone, Debug, Default)]
pub(in crate::desk::shopper) struct Orders {
    list: Vec<Order>,
    index: Option<Box<Index>>,
}

/// Finds orders by their places in the list.
#[derive(Clone, Debug, Default)]
struct Index {
    by_number: HashTable<usize>,
    hasher: DefaultHashBuilder,
    /// Orders that are known, by time.
    by_time: BTreeSet<(Millis, usize)>,
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
        self.by_time.extend(list[at].time().map(|time| (time, at)));
    }

    fn find(&self, list: &[Order], number: &str) -> Option<usize> {
        self.by_number.find(self.hasher.hash_one(number), |&at| &*list[at].number == number).copied()
    }
}

impl Orders {
    pub(in crate::desk::shopper) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(in crate::desk::shopper) fn iter(&self) -> std::slice::Iter<'_, Order> {
        self.list.iter()
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
            self.list.push(Order::new(number));
            if let Some(index) = &mut self.index {
                index.add(&self.list, at);
            }
            at
        })
    }

    /// The time of an order has changed.
    pub(in crate::desk::shopper) fn moved(&mut self, at: usize, before: Option<Millis>) {
        let now = self.list[at].time();
        if let Some(index) = self.index.as_mut().filter(|_| before != now) {
            before.map(|time| index.by_time.remove(&(time, at)));
            index.by_time.extend(now.map(|time| (time, at)));
        }
    }

    /// The places of all orders whose times lie in a range; of others too, if there is no index. In the order of the places.
    pub(in crate::desk::shopper) fn within(&mut self, times: Range<Millis>) -> Vec<usize> {
        let all = 0..self.list.len();
        let Some(index) = self.index() else { return all.collect() };
        let mut places: Vec<usize> =
            index.by_time.range((times.start, 0)..(times.end, 0)).map(|&(_, place)| place).collect();
        places.sort_unstable();
        places
    }

    /// Keeps the orders for which `keeps` is true. It may not change the times of those that it keeps.
    pub(in crate::desk::shopper) fn retain_mut(&mut self, keeps: impl FnMut(&mut Order) -> bool) {
        let had = self.list.len();
        self.list.retain_mut(keeps);
        if self.list.len() != had {
            // The places of others changed.
            self.index = None;
        }
    }
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
        orders_in_snapshot::serialize(&self.list, to)
    }
}

impl<'de> Deserialize<'de> for Orders {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self { list: orders_in_snapshot::deserialize(from)?, index: None })
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
        let before = orders[at].time();
        orders[at].add_part(part, paid(time, n as u128, 1));
        orders.moved(at, before);
    }

    /// An index finds what a look at each order finds.
    fn check(orders: &mut Orders) {
        let has_index = orders.list.len() >= INDEXED_FROM;
        for n in 0..3 * INDEXED_FROM {
            let number = n.to_string();
            let wanted = orders.list.iter().position(|order| *order.number == *number);
            assert_eq!(orders.find(&number), wanted, "{number}");
        }
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
        orders.retain_mut(|_| true);
        assert!(orders.index.is_some(), "nothing has changed");
        check(&mut orders);
        orders.retain_mut(|order| order.time().is_some_and(|time| time % 4 != 0));
        check(&mut orders);
        pay(&mut orders, 0, Part::Deposit, 11);
        check(&mut orders);
        orders.retain_mut(|order| order.time().is_some_and(|time| time < 20));
        check(&mut orders);
    }
}
