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
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
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
}

const METRICS: usize = Metric::ALL.len();

/// Sums by key, day and metric, in order of the keys' first use: the same frame gives the same facts.
#[derive(Clone, Debug, Default)]
pub(super) struct CounterBuffer {
    rows: Vec<(Key, Day, [i64; METRICS])>,
    by_key: HashMap<(Key, Day), usize>,
}

impl CounterBuffer {
    pub(super) fn add(&mut self, key: Key, day: Day, metric: Metric, delta: i64) {
        let row = *self.by_key.entry((key, day)).or_insert_with(|| {
            self.rows.push((key, day, [0; METRICS]));
            self.rows.len() - 1
        });
        self.rows[row].2[metric as usize] += delta;
    }

    pub(super) fn add_all(&mut self, scopes: &Scopes, day: Day, metrics: &[(Metric, i64)]) {
        for key in scopes.keys() {
            for &(metric, delta) in metrics {
                self.add(key, day, metric, delta);
            }
        }
    }

    /// Sends all sums that are not 0, and clears the buffer.
    pub(super) fn drain(&mut self, merchant: &str, names: &Interner, out: &mut Outbox) {
        for (key, day, sums) in self.rows.drain(..) {
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
            for (&metric, &delta) in Metric::ALL.iter().zip(&sums).filter(|&(_, &delta)| delta != 0) {
                out.fact(&Fact { merchant, what: What::Count { scope, key, day, metric, delta } });
            }
        }
        self.by_key.clear();
    }
}
