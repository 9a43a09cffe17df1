//! Orders of one shopper in blocks by time: a touch that leaves the credit of a block's orders alone is noted once for all of them.
//!
//! The candidates of an order in a block are its own and then those of the block's noted touches that lie within its window. No
//! answer depends on which touches are noted and which are among the order's own.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::credit::Calm;
use super::order::Order;
use super::touch::{Touch, candidates_max, insert_later};
use crate::model::rules::{Attribution, RulesSeq};
use crate::model::time::Millis;

/// Maximum number of orders in a block.
const BLOCK_MAX: usize = 128;
/// Maximum number of touches that are noted for a block; then each of its orders takes those that are its own.
const NOTED_MAX: usize = 1_024;

/// The place of a block's order: (time, key) and its place in the list of orders.
type Key = (Millis, u128, usize);

/// An order in a block.
#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    /// Touches after this time, and not after the order's own, are candidates.
    after: Millis,
    max: usize,
    /// How many of the noted touches are among its own candidates, or outside its window.
    seen: usize,
    /// The least number of noted touches with which it may have as many candidates as it can have.
    full_at: usize,
    is_full: bool,
    calm: Calm,
}

impl Entry {
    fn new(order: &Order, at: usize, attribution: &Attribution) -> Option<Self> {
        let (time, key) = order.order()?;
        let max = candidates_max(attribution.touches_max);
        let count = order.candidates.len();
        Some(Self {
            key: (time, key, at),
            after: time - attribution.window_ms,
            max,
            seen: 0,
            full_at: max.saturating_sub(count),
            is_full: count >= max,
            calm: Calm::of(&order.candidates, attribution),
        })
    }

    /// All candidates are its own, and this many touches are noted.
    fn has_seen(&mut self, noted: usize) {
        self.full_at = self.full_at - self.seen + noted;
        self.seen = noted;
    }

    fn has_in_window(&self, touch: &Touch) -> bool {
        self.after < touch.time && touch.time <= self.key.0
    }

    /// The noted touches that are not among its own candidates yet.
    fn pending<'a>(&'a self, noted: &'a [Touch]) -> impl Iterator<Item = Touch> + 'a {
        noted[self.seen..].iter().filter(|touch| self.has_in_window(touch)).copied()
    }
}

/// The candidates of the last order that took noted touches; the next one often had the same, and takes the same.
#[derive(Default)]
struct Taken {
    before: Arc<Vec<Touch>>,
    touches: Vec<Touch>,
    after: Arc<Vec<Touch>>,
}

impl Taken {
    /// An order's candidates with all noted touches.
    fn with_noted(&mut self, candidates: &Arc<Vec<Touch>>, entry: &Entry, noted: &[Touch]) -> Arc<Vec<Touch>> {
        let touches: Vec<Touch> = entry.pending(noted).collect();
        if touches.is_empty() {
            return Arc::clone(candidates);
        }
        if !Arc::ptr_eq(&self.before, candidates) || self.touches != touches {
            let mut after = candidates.to_vec();
            insert_later(&mut after, &touches, entry.max);
            *self = Self { before: Arc::clone(candidates), touches, after: Arc::new(after) };
        }
        Arc::clone(&self.after)
    }
}

/// Orders that follow each other in time.
#[derive(Clone, Debug, Default)]
struct Block {
    /// Sorted by key.
    entries: Vec<Entry>,
    noted: Vec<Touch>,
    sums: Sums,
}

/// What all orders of a block have in common.
#[derive(Clone, Debug, Default)]
struct Sums {
    /// The least and the greatest start of a window.
    after: (Millis, Millis),
    full: usize,
    /// The least `full_at` of those that are not full.
    full_at: usize,
    /// What leaves all that are not full alone; `None` if all are.
    calm: Option<Calm>,
}

impl Block {
    fn sum_up(&mut self) {
        let mut sums = Sums { after: (Millis::MAX, Millis::MIN), full: 0, full_at: usize::MAX, calm: None };
        for entry in &self.entries {
            sums.after = (sums.after.0.min(entry.after), sums.after.1.max(entry.after));
            if entry.is_full {
                sums.full += 1;
            } else {
                sums.full_at = sums.full_at.min(entry.full_at);
                sums.calm = Some(sums.calm.map_or(entry.calm, |calm| calm.and(&entry.calm)));
            }
        }
        self.sums = sums;
    }

    /// Gives the chosen orders the noted touches that are theirs.
    fn give(&mut self, orders: &mut [Order], chosen: impl Fn(&Entry) -> bool) {
        let noted = self.noted.len();
        let mut taken = Taken::default();
        for entry in self.entries.iter_mut().filter(|entry| chosen(entry)) {
            let order = &mut orders[entry.key.2];
            order.candidates = taken.with_noted(&order.candidates, entry, &self.noted);
            entry.seen = noted;
            entry.is_full = order.candidates.len() >= entry.max;
            entry.full_at = noted + entry.max.saturating_sub(order.candidates.len());
        }
    }

    /// Notes a touch that leaves alone all orders that have not seen it.
    fn note(&mut self, touch: Touch, orders: &mut [Order]) {
        self.noted.push(touch);
        let noted = self.noted.len();
        if noted >= NOTED_MAX {
            self.give(orders, |_| true);
            self.noted.clear();
            self.entries.iter_mut().for_each(|entry| entry.has_seen(0));
            self.sum_up();
        } else if noted >= self.sums.full_at {
            self.give(orders, |entry| !entry.is_full && entry.full_at <= noted);
            self.sum_up();
        }
    }

    /// Takes a touch. Orders that may not be left alone get all that is noted, and their places are passed to `look`.
    fn touch(&mut self, touch: Touch, orders: &mut [Order], places: &mut Vec<usize>) -> bool {
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else { return false };
        if last.key.0 < touch.time || touch.time <= self.sums.after.0 {
            return false;
        }
        let is_in_all = touch.time <= first.key.0 && self.sums.after.1 < touch.time;
        let mut meets_full = is_in_all && self.sums.full > 0;
        let leaves_all = self.sums.calm.is_none_or(|calm| calm.leaves(&touch));
        if leaves_all && (is_in_all || self.sums.full == 0) {
            if self.sums.calm.is_some() {
                self.note(touch, orders);
            }
            return meets_full;
        }
        let (mut is_noted, had) = (false, places.len());
        for entry in self.entries.iter().filter(|entry| entry.has_in_window(&touch)) {
            if entry.is_full {
                meets_full = true;
            } else if entry.calm.leaves(&touch) {
                is_noted = true;
            } else {
                places.push(entry.key.2);
            }
        }
        if had < places.len() {
            let is_chosen = |entry: &Entry| !entry.is_full && entry.has_in_window(&touch) && !entry.calm.leaves(&touch);
            self.give(orders, is_chosen);
            if is_noted {
                let noted = self.noted.len() + 1;
                self.entries.iter_mut().filter(|entry| is_chosen(entry)).for_each(|entry| entry.has_seen(noted));
            }
        }
        if is_noted {
            self.note(touch, orders);
        }
        meets_full
    }
}

/// The known orders of a shopper in blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    /// The least key that belongs into each block, and the block; rising.
    blocks: Vec<(Key, Block)>,
}

impl Blocks {
    /// All orders that are known and whose rules are.
    pub(super) fn of<'a>(orders: &[Order], attribution: impl Fn(RulesSeq) -> Option<&'a Attribution>) -> Self {
        let entry = |(at, order): (usize, &Order)| Entry::new(order, at, attribution(order.rules)?);
        let mut entries: Vec<Entry> = orders.iter().enumerate().filter_map(entry).collect();
        entries.sort_unstable_by_key(|entry| entry.key);
        let block = |entries: &[Entry]| {
            let mut block = Block { entries: entries.to_vec(), ..Block::default() };
            block.sum_up();
            (entries[0].key, block)
        };
        Self { blocks: entries.chunks(BLOCK_MAX / 2).map(block).collect() }
    }

    /// The block into which a key belongs.
    fn block(&mut self, key: Key) -> Option<usize> {
        let after = self.blocks.partition_point(|(least, _)| *least <= key);
        (!self.blocks.is_empty()).then(|| after.saturating_sub(1))
    }

    /// Adds an order whose candidates are all its own.
    pub(super) fn add(&mut self, order: &Order, at: usize, attribution: Option<&Attribution>) {
        let Some(mut entry) = attribution.and_then(|attribution| Entry::new(order, at, attribution)) else { return };
        let Some(number) = self.block(entry.key) else {
            let mut block = Block { entries: vec![entry], ..Block::default() };
            block.sum_up();
            self.blocks.push((block.entries[0].key, block));
            return;
        };
        let block = &mut self.blocks[number].1;
        entry.has_seen(block.noted.len());
        let place = block.entries.partition_point(|other| other.key < entry.key);
        block.entries.insert(place, entry);
        if block.entries.len() > BLOCK_MAX {
            let entries = block.entries.split_off(BLOCK_MAX / 2);
            let mut upper = Block { entries, noted: block.noted.clone(), sums: Sums::default() };
            upper.sum_up();
            self.blocks.insert(number + 1, (upper.entries[0].key, upper));
        }
        self.blocks[number].1.sum_up();
    }

    /// The block and the place in it of an order.
    fn find(&mut self, order: &Order, at: usize) -> Option<(usize, usize)> {
        let (time, key) = order.order()?;
        let key = (time, key, at);
        let number = self.block(key)?;
        let place = self.blocks[number].1.entries.binary_search_by_key(&key, |entry| entry.key).ok()?;
        Some((number, place))
    }

    /// Takes an order out of its block; all candidates are its own then.
    pub(super) fn remove(&mut self, order: &mut Order, at: usize) {
        let Some((number, place)) = self.find(order, at) else { return };
        let block = &mut self.blocks[number].1;
        let entry = block.entries.remove(place);
        order.candidates = Taken::default().with_noted(&order.candidates, &entry, &block.noted);
        block.sum_up();
        if block.entries.is_empty() {
            self.blocks.remove(number);
        }
    }

    /// The candidates of orders that have seen all that is noted may have changed.
    pub(super) fn changed<'a>(
        &mut self,
        places: &[usize],
        orders: &[Order],
        attribution: impl Fn(RulesSeq) -> Option<&'a Attribution>,
    ) {
        let mut changed = BTreeSet::new();
        for &at in places {
            let order = &orders[at];
            let new = attribution(order.rules).and_then(|attribution| Entry::new(order, at, attribution));
            let Some((mut entry, (number, place))) = new.zip(self.find(order, at)) else { continue };
            let block = &mut self.blocks[number].1;
            entry.has_seen(block.noted.len());
            block.entries[place] = entry;
            changed.insert(number);
        }
        changed.into_iter().for_each(|number| self.blocks[number].1.sum_up());
    }

    /// Notes a touch for the orders that it leaves alone. The places of all others within whose window it lies are added to `places`.
    /// Returns whether it is no candidate of an order because that one has as many as it can have.
    pub(super) fn touch(&mut self, touch: Touch, orders: &mut [Order], places: &mut Vec<usize>) -> bool {
        let mut meets_full = false;
        for (_, block) in &mut self.blocks {
            meets_full |= block.touch(touch, orders, places);
        }
        meets_full
    }

    /// Gives all orders what is noted for them, and forgets the blocks.
    pub(super) fn dissolve(mut self, orders: &mut [Order]) {
        self.blocks.iter_mut().for_each(|(_, block)| block.give(orders, |_| true));
    }

    /// The candidates of each order in a block, by its place.
    pub(super) fn candidates(&self, orders: &[Order]) -> Vec<(usize, Arc<Vec<Touch>>)> {
        let mut rows = Vec::new();
        for (_, block) in &self.blocks {
            let mut taken = Taken::default();
            rows.extend(block.entries.iter().map(|entry| {
                let at = entry.key.2;
                (at, taken.with_noted(&orders[at].candidates, entry, &block.noted))
            }));
        }
        rows.sort_unstable_by_key(|&(at, _)| at);
        rows
    }
}
