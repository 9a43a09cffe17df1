//! Counters of one frame, added up before they leave as facts.

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::desk::shopper::compiled_rules::{Interner, NONE, Symbol};
use crate::model::code::Kind;
use crate::model::fact::{Fact, Metric, Scope, What};
use crate::model::time::Day;
use crate::protocol::stage::Outbox;

/// What an event or a part of an order is counted under, besides the merchant (contract section 7).
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

/// The key of the merchant's own counters, and of kinds, stand for themselves.
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
    /// The keys that it has, the merchant's first.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        let sym = |sym: Symbol, key: fn(Symbol) -> Key| (sym != NONE).then(|| key(sym));
        [
            Some(Key::Merchant),
            sym(self.store, Key::Store),
            sym(self.guide, Key::Guide),
            sym(self.campaign, Key::Campaign),
            self.kind.map(Key::Kind),
            sym(self.region, Key::Region),
            sym(self.channel, Key::Channel),
            sym(self.ticket, Key::Ticket),
        ]
        .into_iter()
        .flatten()
    }
}

const METRICS: usize = Metric::ALL.len();

/// Sums by key, day and metric, in the order in which the keys came: the same frame gives the same facts.
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

    /// Sends what is not 0 and begins anew.
    pub(super) fn drain(&mut self, merchant: &str, names: &Interner, out: &mut Outbox) {
        for (key, day, sums) in self.rows.drain(..) {
            let (scope, text) = match key {
                Key::Merchant => (Scope::Merchant, Some("*")),
                Key::Kind(kind) => (Scope::Kind, Some(kind.as_str())),
                Key::Store(sym) => (Scope::Store, names.text(sym)),
                Key::Guide(sym) => (Scope::Guide, names.text(sym)),
                Key::Campaign(sym) => (Scope::Campaign, names.text(sym)),
                Key::Region(sym) => (Scope::Region, names.text(sym)),
                Key::Channel(sym) => (Scope::Channel, names.text(sym)),
                Key::Ticket(sym) => (Scope::Ticket, names.text(sym)),
            };
            let key = text.expect("every key of a tally is a name");
            for (&metric, &delta) in Metric::ALL.iter().zip(&sums).filter(|&(_, &delta)| delta != 0) {
                out.fact(&Fact { merchant, what: What::Count { scope, key, day, metric, delta } });
            }
        }
        self.by_key.clear();
    }
}
