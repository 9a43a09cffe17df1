//! What an event counts for by itself: duplicates and repeats are found, distinct shoppers are counted.

use std::hint::black_box;

use super::Merchant;
use crate::desk::shopper::compiled_rules::{NONE, Symbol};
use crate::desk::shopper::counters::Key;
use crate::desk::shopper::resolve::EventContext;
use crate::desk::shopper::shopper::Shopper;
use crate::model::code::Kind;
use crate::model::event::{Action, Event};
use crate::model::fact::Metric;
use crate::model::ids::join_keys;
use crate::model::rules::Rules;
use crate::model::time::{MINUTE_MS, Millis};
use crate::table::recent::Minute;

impl Merchant {
    /// Whether an event was delivered before; a new one is remembered.
    pub(super) fn is_duplicate(&mut self, event: &Event<'_>, received: Millis) -> bool {
        !self.is_new_delivery(event.key, received)
    }

    /// Reads what most events of a frame will look up. Between two look-ups of one event the processor can do nothing but wait for
    /// memory; those of many events it does at once. No answer depends on it.
    pub(in crate::desk::shopper) fn look_ahead(&self, events: &[Event<'_>]) {
        let zone = &self.compiled.book.zone;
        let (mut seen, mut words) = (0, 0);
        for event in events {
            let day = zone.day(event.time.unwrap_or(event.stamp));
            let shopper = join_keys(event.shopper_key, unique_scope(0, NONE));
            words ^= self.look_ahead_delivery(event.key) ^ self.look_ahead_shopper(day, shopper);
            seen += self.state.shoppers.get(event.shopper_key).map_or(0, Shopper::look_ahead);
        }
        black_box((seen, words));
    }

    /// Counts the event itself; returns whether it is a counted scan.
    pub(super) fn count(&mut self, context: &EventContext<'_, '_>) -> bool {
        let mut metrics = [(Metric::Late, 0); 6];
        let mut used = 0;
        let mut add = |metric| {
            metrics[used] = (metric, 1);
            used += 1;
        };
        let mut counted = false;
        match context.event.action {
            Action::Scan => {
                let kind = context.resolved.scopes.kind.unwrap_or(Kind::Unknown);
                counted = kind != Kind::Forged && !self.is_repeat(context);
                match kind {
                    Kind::Forged => add(Metric::Forged),
                    _ if counted => add(Metric::Scans),
                    _ => add(Metric::Repeats),
                }
                if kind == Kind::Unknown {
                    add(Metric::Unknown);
                }
                if counted && kind.is_interaction() {
                    add(Metric::Interactions);
                }
                if context.resolved.is_inactive() {
                    add(Metric::Inactive);
                    self.suspect_scans.inactive += 1;
                }
                if self.compiled.is_diverted(context.resolved.item(), context.event.region) {
                    add(Metric::Diverted);
                    self.suspect_scans.diverted += 1;
                }
            }
            Action::Visit => add(Metric::Visits),
            Action::Follow => add(Metric::Follows),
            Action::Claim => add(Metric::Claims),
            Action::Redeem => add(Metric::Redeems),
            Action::Join | Action::Order | Action::Refund => {}
        }
        if context.late {
            add(Metric::Late);
        } else {
            self.count_shopper(context);
        }
        self.counters.add_all(&context.resolved.scopes, context.day, &metrics[..used]);
        counted
    }

    fn is_repeat(&mut self, context: &EventContext<'_, '_>) -> bool {
        let debounce_ms = self.compiled.book.rules.dedup.debounce_ms;
        let (Some((resolved, _)), true) = (context.resolved.code, debounce_ms > 0) else { return false };
        let key = join_keys(context.event.shopper_key, resolved.name.key());
        self.is_repeated_scan(key, context.time, context.received)
    }

    /// Counts distinct shoppers of the day, in the scopes that have this metric.
    fn count_shopper(&mut self, context: &EventContext<'_, '_>) {
        let shoppers = context.resolved.scopes.keys().filter_map(|key| {
            let (scope, symbol) = match key {
                Key::Merchant => (0, NONE),
                Key::Store(symbol) => (1, symbol),
                Key::Guide(symbol) => (2, symbol),
                Key::Campaign(symbol) => (3, symbol),
                _ => return None,
            };
            Some((key, unique_scope(scope, symbol)))
        });
        // All lines first: the processor waits for them together.
        let mut words = 0;
        for (_, scope) in shoppers.clone() {
            words ^= self.look_ahead_shopper(context.day, join_keys(context.event.shopper_key, scope));
        }
        black_box(words);
        for (key, scope) in shoppers {
            if self.is_new_shopper(context.day, join_keys(context.event.shopper_key, scope)) {
                self.counters.add(key, context.day, Metric::Shoppers, 1);
            }
        }
    }
}

/// A scope of distinct shoppers, with its id.
fn unique_scope(scope: u128, symbol: Symbol) -> u128 {
    u128::from(symbol) << 8 | scope
}

pub(super) fn minute(received: Millis) -> Minute {
    Minute::try_from(received / MINUTE_MS).unwrap_or(Minute::MAX)
}

/// How long a counted scan is kept, by `received`, ms.
pub(super) fn repeats_keep_ms(rules: &Rules) -> i64 {
    rules.dedup.debounce_ms.max(rules.late_ms)
}
