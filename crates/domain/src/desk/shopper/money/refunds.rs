//! The refunds of one order, or those that wait for it.

use std::cell::Cell;

use serde::{Deserialize, Serialize, Serializer};

use crate::desk::shopper::counters::Scopes;
use crate::model::time::Millis;
use crate::table::uniform::UniformSet;

/// Number of refunds from which on their keys are in a set; fewer are found faster by looking at each.
const INDEXED_FROM: usize = 64;

/// Maximum number of refunds of an order, or waiting for one.
const REFUNDS_MAX: usize = 10_000;

/// A part of an order, or a refund.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::desk::shopper) struct Paid {
    pub(in crate::desk::shopper) time: Millis,
    pub(in crate::desk::shopper) key: u128,
    pub(in crate::desk::shopper) amount: i64,
    pub(in crate::desk::shopper) scopes: Scopes,
}

/// Refunds in (time, key) order. Most orders have none, and these need no memory of their own.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Vec<Paid>")]
pub(in crate::desk::shopper) struct Refunds(Option<Box<List>>);

#[derive(Clone, Debug, Default)]
struct List {
    paid: Vec<Paid>,
    /// The keys of all of them, if there are many.
    keys: Option<Box<UniformSet>>,
    /// The sum of this number of first ones, as it was worked out last.
    sum: Cell<(usize, i128)>,
}

impl From<Vec<Paid>> for Refunds {
    fn from(paid: Vec<Paid>) -> Self {
        Self((!paid.is_empty()).then(|| Box::new(List { paid, ..List::default() })))
    }
}

impl Serialize for Refunds {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.all().serialize(to)
    }
}

impl Refunds {
    pub(super) fn all(&self) -> &[Paid] {
        self.0.as_ref().map_or(&[], |list| &list.paid)
    }

    /// Adds a refund unless its key is known.
    pub(super) fn add(&mut self, paid: Paid) {
        let at = self.before(paid.time, paid.key);
        let list = self.0.get_or_insert_default();
        if !list.is_new(paid.key) {
            return;
        }
        if at < list.sum.get().0 {
            list.sum.take();
        }
        reserve_one(&mut list.paid);
        list.paid.insert(at, paid);
    }

    /// Whether there are [`REFUNDS_MAX`] of them, and none with this key.
    pub(super) fn is_full_for(&mut self, key: u128) -> bool {
        self.0.as_mut().is_some_and(|list| list.paid.len() >= REFUNDS_MAX && !list.keys().contains(&key))
    }

    /// Number of refunds before (time, key).
    pub(super) fn before(&self, time: Millis, key: u128) -> usize {
        self.all().partition_point(|refund| (refund.time, refund.key) < (time, key))
    }

    /// The sum of at most `count` first refunds.
    pub(super) fn sum_of_first(&self, count: usize) -> i128 {
        self.0.as_ref().map_or(0, |list| list.sum_of_first(count))
    }

    /// Keeps the refunds for which `keeps` is true.
    pub(super) fn retain(&mut self, keeps: impl FnMut(&Paid) -> bool) {
        let Some(list) = &mut self.0 else { return };
        let before = list.paid.len();
        list.paid.retain(keeps);
        if list.paid.len() < before {
            (list.keys, list.sum) = (None, Cell::default());
        }
        if list.paid.is_empty() {
            self.0 = None;
        }
    }
}

impl List {
    fn is_new(&mut self, key: u128) -> bool {
        if self.paid.len() < INDEXED_FROM {
            return self.paid.iter().all(|refund| refund.key != key);
        }
        self.keys().insert(key)
    }

    fn keys(&mut self) -> &mut UniformSet {
        let paid = &self.paid;
        self.keys.get_or_insert_with(|| Box::new(paid.iter().map(|refund| refund.key).collect()))
    }

    fn sum_of_first(&self, count: usize) -> i128 {
        let count = count.min(self.paid.len());
        let (from, sum) = Some(self.sum.get()).filter(|&(known, _)| known <= count).unwrap_or_default();
        let sum = self.paid[from..count].iter().fold(sum, |sum, refund| sum + i128::from(refund.amount));
        self.sum.set((count, sum));
        sum
    }
}

/// Makes room for one more, and for a quarter more of a long list. Most lists have one entry: room for four, as a list takes by
/// itself, would be most of their memory.
pub(in crate::desk::shopper) fn reserve_one<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 4).max(1));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::desk::shopper::compiled_rules::NONE;

    pub(in crate::desk::shopper::money) fn paid(time: Millis, key: u128, amount: i64) -> Paid {
        let (store, guide, campaign, region, channel, ticket) = (NONE, NONE, NONE, NONE, NONE, NONE);
        Paid { time, key, amount, scopes: Scopes { store, guide, campaign, kind: None, region, channel, ticket } }
    }

    #[test]
    fn many_refunds_are_known_and_added_up_as_few_are() {
        let refund = |n: i64| paid(n * 13 % 50, u128::from(n.unsigned_abs()), n);
        let mut refunds = Refunds::default();
        let mut wanted: Vec<Paid> = Vec::new();
        let check = |refunds: &Refunds, wanted: &mut Vec<Paid>| {
            wanted.sort_by_key(|refund| (refund.time, refund.key));
            let keys = |list: &[Paid]| list.iter().map(|refund| refund.key).collect::<Vec<_>>();
            assert_eq!(keys(refunds.all()), keys(wanted));
            for count in [0, 3, wanted.len() / 2, wanted.len(), 5, usize::MAX] {
                let sum: i128 = wanted.iter().take(count).map(|refund| i128::from(refund.amount)).sum();
                assert_eq!(refunds.sum_of_first(count), sum, "{count}");
            }
        };
        for n in 0..200 {
            wanted.push(refund(n));
            [n, n / 2, 0].into_iter().for_each(|n| refunds.add(refund(n)));
            check(&refunds, &mut wanted);
        }
        refunds.retain(|refund| refund.time % 3 > 0);
        wanted.retain(|refund| refund.time % 3 > 0);
        check(&refunds, &mut wanted);
        assert!(wanted.len() > INDEXED_FROM);
        let gone = (0..).map(refund).find(|refund| refund.time % 3 == 0).expect("one");
        refunds.add(gone);
        wanted.push(gone);
        refunds.add(wanted[1]);
        check(&refunds, &mut wanted);
    }
}
