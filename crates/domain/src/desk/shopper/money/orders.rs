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

    /// Keeps the orders for which `keeps` is true.
    pub(in crate::desk::shopper) fn retain_mut(&mut self, keeps: impl FnMut(&mut Order) -> bool) {
        // Places and times of others change.
        self.index = None;
        self.list.retain_mut(keeps);
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
