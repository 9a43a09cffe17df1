//! Orders of one shopper in blocks by time: a touch that leaves the credit of a block's orders alone is noted once for all of them.
//!
//! The candidates of an order in a block are its own and then those of the block's noted touches that lie within its window. No
//! answer depends on which touches are noted and which are among the order's own.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashTable;

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

/// The number of a touch in a pool.
type Id = u32;

/// The touches of a block, each once: orders next to each other have most candidates in common.
#[derive(Clone, Debug, Default)]
struct Pool {
    touches: Vec<Touch>,
    ids: HashTable<Id>,
}

impl Pool {
    fn id(&mut self, touch: &Touch) -> Id {
        let Self { touches, ids } = self;
        let entry = ids.entry(touch.hash(), |&id| touches[id as usize] == *touch, |&id| touches[id as usize].hash());
        *entry
            .or_insert_with(|| {
                touches.push(*touch);
                Id::try_from(touches.len() - 1).expect("a block has fewer touches")
            })
            .get()
    }

    fn get(&self, id: Id) -> Touch {
        self.touches[id as usize]
    }

    /// The numbers of touches in (time, key) order. Many of them are among `near`, which is in this order too and saves a look
    /// into the table.
    fn ids(&mut self, touches: &[Touch], mut near: &[Id]) -> Vec<Id> {
        let id = |touch: &Touch| {
            while let [first, rest @ ..] = near {
                let known = &self.touches[*first as usize];
                if known == touch {
                    return *first;
                }
                if known.order() > touch.order() {
                    break;
                }
                near = rest;
            }
            self.id(touch)
        };
        touches.iter().map(id).collect()
    }
}

/// An order in a block. The order itself has no candidates meanwhile, unless they are lent to it.
#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    /// Touches after this time, and not after the order's own, are candidates.
    after: Millis,
    max: usize,
    /// Its own candidates.
    own: Arc<[Id]>,
    /// How many of the noted touches are among its own candidates, or outside its window.
    seen: usize,
    /// The least number of noted touches with which it may have as many candidates as it can have.
    full_at: usize,
    is_full: bool,
    calm: Calm,
}

impl Entry {
    /// An order whose candidates are `own`, and which has seen all of some noted touches.
    fn new(order: &Order, at: usize, own: Arc<[Id]>, noted: usize, attribution: &Attribution) -> Option<Self> {
        let (time, key) = order.order()?;
        let after = time - attribution.window_ms;
        let max = candidates_max(attribution.touches_max);
        let calm = Calm::of(&order.candidates, attribution);
        let mut entry = Self { key: (time, key, at), after, max, own, seen: 0, full_at: 0, is_full: false, calm };
        entry.has_seen(noted);
        Some(entry)
    }

    /// All candidates are its own, and this many touches are noted.
    fn has_seen(&mut self, noted: usize) {
        self.is_full = self.own.len() >= self.max;
        self.full_at = noted + self.max.saturating_sub(self.own.len());
        self.seen = noted;
    }

    fn has_in_window(&self, touch: &Touch) -> bool {
        self.after < touch.time && touch.time <= self.key.0
    }

    /// Whether a touch may change its credit.
    fn may_change(&self, touch: &Touch) -> bool {
        !self.is_full && self.has_in_window(touch) && !self.calm.leaves(touch)
    }
}

/// The candidates of the order that was asked for last: the next one often has the same.
#[derive(Default)]
struct Last {
    own: Arc<[Id]>,
    noted: Vec<Touch>,
    all: Arc<Vec<Touch>>,
}

impl Last {
    /// All candidates of an order.
    fn candidates(&mut self, entry: &Entry, noted: &[Id], pool: &Pool) -> &Arc<Vec<Touch>> {
        let touches = noted[entry.seen..].iter().map(|&id| pool.get(id));
        let touches: Vec<Touch> = touches.filter(|touch| entry.has_in_window(touch)).collect();
        if !Arc::ptr_eq(&self.own, &entry.own) || self.noted != touches {
            let mut all = entry.own.iter().map(|&id| pool.get(id)).collect();
            insert_later(&mut all, &touches, entry.max);
            *self = Self { own: Arc::clone(&entry.own), noted: touches, all: Arc::new(all) };
        }
        &self.all
    }
}

/// Orders that follow each other in time.
#[derive(Clone, Debug, Default)]
struct Block {
    /// Sorted by key.
    entries: Vec<Entry>,
    noted: Vec<Id>,
    pool: Pool,
    /// The number of touches in the pool with which those are dropped that no order has any more.
    sweep_at: usize,
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

    /// Makes the noted touches the chosen orders' own.
    fn take_noted(&mut self, chosen: impl Fn(&Entry) -> bool) {
        let Self { entries, noted, pool, .. } = self;
        let mut last = Last::default();
        let (mut same, mut own) = (Arc::default(), Arc::default());
        for entry in entries.iter_mut().filter(|entry| chosen(entry)) {
            let all = last.candidates(entry, noted, pool);
            if !Arc::ptr_eq(&same, all) {
                (same, own) = (Arc::clone(all), pool.ids(all, &entry.own).into());
            }
            entry.own = Arc::clone(&own);
            entry.has_seen(noted.len());
        }
    }

    /// Drops touches from the pool that no order has any more, if there may be many.
    fn sweep(&mut self) {
        if self.pool.touches.len() < self.sweep_at {
            return;
        }
        let old = std::mem::take(&mut self.pool);
        let (mut same, mut own) = (Arc::default(), Arc::default());
        for entry in &mut self.entries {
            if !Arc::ptr_eq(&same, &entry.own) {
                (same, own) =
                    (Arc::clone(&entry.own), entry.own.iter().map(|&id| self.pool.id(&old.get(id))).collect());
            }
            entry.own = Arc::clone(&own);
        }
        for id in &mut self.noted {
            *id = self.pool.id(&old.get(*id));
        }
        self.sweep_at = 2 * self.pool.touches.len() + NOTED_MAX;
    }

    /// Notes a touch that leaves alone all orders that have not seen it.
    fn note(&mut self, touch: &Touch) {
        self.noted.push(self.pool.id(touch));
        let noted = self.noted.len();
        if noted >= NOTED_MAX {
            self.take_noted(|_| true);
            self.noted.clear();
            self.entries.iter_mut().for_each(|entry| entry.has_seen(0));
            self.sum_up();
            self.sweep();
        } else if noted >= self.sums.full_at {
            self.take_noted(|entry| !entry.is_full && entry.full_at <= noted);
            self.sum_up();
        }
    }

    /// Gives a place the candidates of an order. Its own are those of the order before or after it, if they are equal.
    fn put(&mut self, place: usize, order: &mut Order, at: usize, attribution: &Attribution, is_new: bool) {
        let beside = self.entries.get(place).or_else(|| self.entries.get(place.checked_sub(1)?));
        let beside = beside.map(|entry| Arc::clone(&entry.own)).unwrap_or_default();
        let own = self.pool.ids(&order.candidates, &beside);
        let near = [place.checked_sub(1), Some(place), Some(place + 1)].into_iter().flatten();
        let same = near.filter_map(|place| self.entries.get(place)).find(|entry| *entry.own == *own);
        let own = same.map_or_else(|| own.into(), |entry| Arc::clone(&entry.own));
        let Some(entry) = Entry::new(order, at, own, self.noted.len(), attribution) else { return };
        order.candidates = Arc::default();
        if is_new {
            self.entries.insert(place, entry);
        } else {
            self.entries[place] = entry;
        }
    }

    /// Takes a touch. Orders that may not be left alone are lent their candidates, and their places are added to `places`.
    fn touch(&mut self, touch: &Touch, orders: &mut [Order], places: &mut Vec<usize>) -> Met {
        let met = |full, looked_at| Met { full, looked_at: 1 + looked_at };
        let (Some(first), Some(end)) = (self.entries.first(), self.entries.last()) else { return met(false, 0) };
        if end.key.0 < touch.time || touch.time <= self.sums.after.0 {
            return met(false, 0);
        }
        let is_in_all = touch.time <= first.key.0 && self.sums.after.1 < touch.time;
        let meets_full = is_in_all && self.sums.full > 0;
        if self.sums.calm.is_none_or(|calm| calm.leaves(touch)) && (is_in_all || self.sums.full == 0) {
            if self.sums.calm.is_some() {
                self.note(touch);
            }
            return met(meets_full, 0);
        }
        let meets = |entry: &&Entry| entry.has_in_window(touch);
        let meets_full = self.entries.iter().filter(meets).any(|entry| entry.is_full);
        let is_noted = self.entries.iter().filter(meets).any(|entry| !entry.is_full && entry.calm.leaves(touch));
        let mut last = Last::default();
        for entry in self.entries.iter_mut().filter(|entry| entry.may_change(touch)) {
            let at = entry.key.2;
            orders[at].candidates = Arc::clone(last.candidates(entry, &self.noted, &self.pool));
            places.push(at);
            // Until what they are lent comes back, they see nothing.
            entry.own = Arc::default();
            entry.has_seen(self.noted.len() + usize::from(is_noted));
        }
        if is_noted {
            self.note(touch);
        }
        met(meets_full, self.entries.len())
    }
}

/// What a touch met in blocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Met {
    /// Whether it is no candidate of an order because that one has as many as it can have.
    pub(super) full: bool,
    /// Number of blocks and orders that were looked at.
    pub(super) looked_at: usize,
}

/// The known orders of a shopper in blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    /// The least key that belongs into each block, and the block; rising.
    blocks: Vec<(Key, Block)>,
}

impl Blocks {
    /// All orders that are known and whose rules are.
    pub(super) fn of<'a>(orders: &mut [Order], attribution: impl Fn(RulesSeq) -> Option<&'a Attribution>) -> Self {
        let known = |(at, order): (usize, &Order)| order.order().map(|(time, key)| (time, key, at));
        let mut keys: Vec<Key> = orders.iter().enumerate().filter_map(known).collect();
        keys.sort_unstable();
        let mut blocks = Self::default();
        for (.., at) in keys {
            let order = &mut orders[at];
            let attribution = attribution(order.rules);
            blocks.add(order, at, attribution);
        }
        blocks
    }

    /// The block into which a key belongs.
    fn block(&mut self, key: Key) -> Option<usize> {
        let after = self.blocks.partition_point(|(least, _)| *least <= key);
        (!self.blocks.is_empty()).then(|| after.saturating_sub(1))
    }

    /// Adds an order; it has no candidates of its own from then on.
    pub(super) fn add(&mut self, order: &mut Order, at: usize, attribution: Option<&Attribution>) {
        let Some((attribution, (time, key))) = attribution.zip(order.order()) else { return };
        let key = (time, key, at);
        if self.blocks.is_empty() {
            self.blocks.push((key, Block { sweep_at: NOTED_MAX, ..Block::default() }));
        }
        let Some(number) = self.block(key) else { return };
        let block = &mut self.blocks[number].1;
        let place = block.entries.partition_point(|other| other.key < key);
        block.put(place, order, at, attribution, true);
        if block.entries.len() > BLOCK_MAX {
            // Orders mostly come in the order of their times: the block stays nearly full.
            let entries = block.entries.split_off(BLOCK_MAX * 3 / 4);
            let mut upper = Block { entries, ..block.clone() };
            for half in [&mut *block, &mut upper] {
                half.sweep_at = 0;
                half.sweep();
                half.sum_up();
            }
            self.blocks.insert(number + 1, (upper.entries[0].key, upper));
        } else {
            block.sweep();
            block.sum_up();
        }
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
        order.candidates = Arc::clone(Last::default().candidates(&entry, &block.noted, &block.pool));
        block.sum_up();
        if block.entries.is_empty() {
            self.blocks.remove(number);
        }
    }

    /// Takes back the candidates that orders were lent, which may have changed.
    pub(super) fn take_back<'a>(
        &mut self,
        places: &[usize],
        orders: &mut [Order],
        attribution: impl Fn(RulesSeq) -> Option<&'a Attribution>,
    ) {
        let mut changed = BTreeSet::new();
        for &at in places {
            let order = &mut orders[at];
            let Some((attribution, (number, place))) = attribution(order.rules).zip(self.find(order, at)) else {
                continue;
            };
            self.blocks[number].1.put(place, order, at, attribution, false);
            changed.insert(number);
        }
        for number in changed {
            self.blocks[number].1.sweep();
            self.blocks[number].1.sum_up();
        }
    }

    /// Notes a touch for the orders that it leaves alone. All others within whose window it lies are lent their candidates until
    /// [`Blocks::take_back`]; their places are added to `places`.
    pub(super) fn touch(&mut self, touch: &Touch, orders: &mut [Order], places: &mut Vec<usize>) -> Met {
        let mut all = Met::default();
        for (_, block) in &mut self.blocks {
            let Met { full, looked_at } = block.touch(touch, orders, places);
            all.full |= full;
            all.looked_at += looked_at;
        }
        all
    }

    /// The candidates of each order in a block, by its place.
    pub(super) fn candidates(&self) -> Vec<(usize, Arc<Vec<Touch>>)> {
        let mut rows = Vec::new();
        for (_, block) in &self.blocks {
            let mut last = Last::default();
            rows.extend(
                block
                    .entries
                    .iter()
                    .map(|entry| (entry.key.2, Arc::clone(last.candidates(entry, &block.noted, &block.pool)))),
            );
        }
        rows.sort_unstable_by_key(|&(at, _)| at);
        rows
    }

    /// The orders have other places in the list, in the same order.
    pub(super) fn renumber(&mut self, places: &[usize]) {
        for (least, block) in &mut self.blocks {
            least.2 = places.get(least.2).copied().unwrap_or_default();
            block.entries.iter_mut().for_each(|entry| entry.key.2 = places[entry.key.2]);
        }
    }

    /// Gives all orders their candidates, and forgets the blocks.
    pub(super) fn dissolve(&self, orders: &mut [Order]) {
        for (at, candidates) in self.candidates() {
            orders[at].candidates = candidates;
        }
    }
}
