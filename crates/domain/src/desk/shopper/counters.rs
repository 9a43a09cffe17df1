//! Counters of one frame, added up before they are sent as facts.

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::desk::shopper::compiled_rules::{Interner, NONE, Symbol};
use crate::model::code::Kind;
use crate::model::fact::{Fact, Metric, Scope, What};
use crate::model::time::Day;
use crate::protocol::stage::Outbox;

/// The scopes under which an event or a part of an order is counted, besides the merchant (contract section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scopes {
    pub(super) store: Symbol,
    pub(super) guide: Symbol,
    pub(super) campaign: Symbol,
    pub(super) kind: Option<Kind>,
    pub(super) region: Symbol,
    pub(super) channel: Symbol,
    pub(super) ticket: Symbol,
}

/// The key of a counter: the scope with its id. The merchant and the kinds need no symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Merchant,
    Kind(Kind),
    Store(Symbol),
    Guide(Symbol),
    Campaign(Symbol),
    Region(Symbol),
    Channel(Symbol),
    Ticket(Symbol),
}

impl Scopes {
    /// The keys of the scopes that are present, the merchant's first.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> + Clone {
        let symbol = |symbol: Symbol, key: fn(Symbol) -> Key| (symbol != NONE).then(|| key(symbol));
        [
            Some(Key::Merchant),
            symbol(self.store, Key::Store),
            symbol(self.guide, Key::Guide),
            symbol(self.campaign, Key::Campaign),
            self.kind.map(Key::Kind),
            symbol(self.region, Key::Region),
            symbol(self.channel, Key::Channel),
            symbol(self.ticket, Key::Ticket),
        ]
        .into_iter()
        .flatten()
    }

    /// The symbols of texts.
    pub(super) fn symbols(&self) -> [Symbol; 6] {
        [self.store, self.guide, self.campaign, self.region, self.channel, self.ticket]
    }
}

const METRICS: usize = Metric::ALL.len();

/// The sums of a key and a day.
type Row = (Key, Day, [i64; METRICS]);

/// Sums by key, day and metric, in order of the keys' first use: the same frame gives the same facts.
#[derive(Clone, Debug, Default)]
pub(super) struct CounterBuffer {
    rows: Vec<Row>,
    /// The last row of each, by its packed key.
    by_key: HashMap<u64, usize>,
}

/// A key and a day in one number, which hashes faster: the day in 28 bits, more than days up to the year 9999 need.
fn packed(key: Key, day: Day) -> u64 {
    let (scope, id) = match key {
        Key::Merchant => (0, 0),
        Key::Kind(kind) => (1, kind as u32),
        Key::Store(symbol) => (2, symbol),
        Key::Guide(symbol) => (3, symbol),
        Key::Campaign(symbol) => (4, symbol),
        Key::Region(symbol) => (5, symbol),
        Key::Channel(symbol) => (6, symbol),
        Key::Ticket(symbol) => (7, symbol),
    };
    u64::from(id) << 32 | scope << 28 | u64::from(day.cast_unsigned() & 0x0FFF_FFFF)
}

fn new_row(rows: &mut Vec<Row>, key: Key, day: Day) -> usize {
    rows.push((key, day, [0; METRICS]));
    rows.len() - 1
}

impl CounterBuffer {
    pub(super) fn add(&mut self, key: Key, day: Day, metric: Metric, delta: i64) {
        self.add_several(key, day, &[(metric, delta)]);
    }

    fn add_several(&mut self, key: Key, day: Day, metrics: &[(Metric, i64)]) {
        let Self { rows, by_key } = self;
        let row = by_key.entry(packed(key, day)).or_insert_with(|| new_row(rows, key, day));
        for &(metric, delta) in metrics {
            let sum = &mut rows[*row].2[metric as usize];
            match sum.checked_add(delta) {
                Some(added) => *sum = added,
                // A fact has 64 bits: the rest is another fact, and the ledger adds them up.
                None => {
                    *row = new_row(rows, key, day);
                    rows[*row].2[metric as usize] = delta;
                }
            }
        }
    }

    pub(super) fn add_all(&mut self, scopes: &Scopes, day: Day, metrics: &[(Metric, i64)]) {
        if metrics.is_empty() {
            return;
        }
        for key in scopes.keys() {
            self.add_several(key, day, metrics);
        }
    }

    /// Sends all sums that are not 0, and clears the buffer.
    pub(super) fn drain(&mut self, merchant: &str, names: &Interner, out: &mut Outbox) {
        for &(key, day, ref sums) in &self.rows {
            let (scope, text) = match key {
                Key::Merchant => (Scope::Merchant, Some("*")),
                Key::Kind(kind) => (Scope::Kind, Some(kind.as_str())),
                Key::Store(symbol) => (Scope::Store, names.text(symbol)),
                Key::Guide(symbol) => (Scope::Guide, names.text(symbol)),
                Key::Campaign(symbol) => (Scope::Campaign, names.text(symbol)),
                Key::Region(symbol) => (Scope::Region, names.text(symbol)),
                Key::Channel(symbol) => (Scope::Channel, names.text(symbol)),
                Key::Ticket(symbol) => (Scope::Ticket, names.text(symbol)),
            };
            let key = text.expect("every key has a text");
            for (&metric, &delta) in Metric::ALL.iter().zip(sums).filter(|&(_, &delta)| delta != 0) {
                out.fact(&Fact { merchant, what: What::Count { scope, key, day, metric, delta } });
            }
        }
        self.rows.clear();
        self.by_key.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fact has 64 bits: a larger sum is several facts, in the order of their rows.
    #[test]
    fn sum_beyond_64_bits_becomes_several_rows() {
        let mut buffer = CounterBuffer::default();
        for _ in 0..3 {
            buffer.add(Key::Merchant, 1, Metric::Gmv, i64::MAX);
            buffer.add(Key::Merchant, 1, Metric::Orders, 1);
        }
        buffer.add(Key::Merchant, 1, Metric::Gmv, -5);
        let rows = |metric: Metric| buffer.rows.iter().map(|(.., sums)| sums[metric as usize]).collect::<Vec<_>>();
        assert_eq!(rows(Metric::Gmv), [i64::MAX, i64::MAX, i64::MAX - 5]);
        assert_eq!(rows(Metric::Orders), [1, 1, 1]);
        assert_eq!(buffer.by_key[&packed(Key::Merchant, 1)], 2);
    }
}
