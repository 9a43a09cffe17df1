//! The tables of duplicates, repeats, distinct shoppers and entered codes, compact from behaviour 5 on.

use serde::{Deserialize, Serialize};

use super::Merchant;
use super::counting::{minute, repeats_keep_ms};
use crate::model::rules::Rules;
use crate::model::time::{Day, Millis};
use crate::table::changes::Change;
use crate::table::recent::{RecentKeys, RecentScans};
use crate::table::table::KeyTable;
use crate::table::uniques::Uniques;

/// The compact tables of a merchant, as a snapshot stores them too.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::desk::shopper) struct CompactTables {
    pub(super) delivered: RecentKeys,
    pub(super) uniques: Uniques<KeyTable>,
    pub(super) repeats: RecentScans,
    /// One-item codes that a shopper entered with.
    pub(super) entered: KeyTable,
}

impl Merchant {
    /// Behaviour 5 begins.
    pub(in crate::desk::shopper) fn compact(&mut self) {
        let state = &mut self.state;
        self.compact.get_or_insert_with(|| {
            Box::new(CompactTables {
                delivered: state.delivered.compact(),
                uniques: state.uniques.compact(),
                repeats: state.repeats.compact(),
                entered: KeyTable::of(&std::mem::take(&mut state.entered)),
            })
        });
    }

    /// What a snapshot stores of the compact tables.
    pub(in crate::desk::shopper) fn compact_tables(&self) -> Option<&CompactTables> {
        self.compact.as_deref()
    }

    /// What a snapshot stores of them if their entries are in segments.
    pub(in crate::desk::shopper) fn compact_head(&self) -> Option<CompactTables> {
        let CompactTables { delivered, uniques, repeats, .. } = self.compact.as_deref()?;
        let (delivered, uniques, repeats) = (delivered.head(), uniques.head(), repeats.head());
        Some(CompactTables { delivered, uniques, repeats, entered: KeyTable::default() })
    }

    /// Sizes of the tables in memory, bytes.
    pub(super) fn table_sizes(&self) -> [(&'static str, usize); 4] {
        let state = &self.state;
        let (delivered, uniques, repeats, entered) = match &self.compact {
            Some(of) => (of.delivered.bytes(), of.uniques.bytes(), of.repeats.bytes(), of.entered.bytes()),
            None => {
                let entered = state.entered.allocation_size();
                (state.delivered.bytes(), state.uniques.bytes(), state.repeats.bytes(), entered)
            }
        };
        let for_good = entered + state.closed.allocation_size();
        [("duplicates", delivered), ("uniques", uniques), ("repeats", repeats), ("for_good", for_good)]
    }

    /// Whether a shopper has entered with a one-item code.
    pub(super) fn has_entered(&self, item: u128) -> bool {
        match &self.compact {
            Some(compact) => compact.entered.get(item, 0).is_some(),
            None => self.state.entered.contains(&item),
        }
    }

    /// Remembers that a shopper has entered with a one-item code.
    pub(super) fn remember_entry(&mut self, item: u128) {
        match &mut self.compact {
            Some(compact) => compact.entered.insert(item, 0, 0),
            None => self.state.entered.insert(item),
        };
        self.note(Change::Entered { key: item });
    }

    /// Whether a key of an event is new; it is stored.
    pub(super) fn is_new_delivery(&mut self, key: u128, received: Millis) -> bool {
        let (now, horizon) = (minute(received), self.compiled.book.rules.dedup.horizon_minutes);
        let is_new = match &mut self.compact {
            Some(compact) => compact.delivered.insert(key, now, horizon),
            None => self.state.delivered.insert(key, now, horizon),
        };
        if is_new {
            self.note(Change::Delivered { key, minute: now });
        }
        is_new
    }

    /// Whether a scan repeats the last counted one; otherwise it is stored.
    pub(super) fn is_repeated_scan(&mut self, key: u128, time: Millis, received: Millis) -> bool {
        let rules = &self.compiled.book.rules;
        let (debounce_ms, keep_ms) = (rules.dedup.debounce_ms, repeats_keep_ms(rules));
        let is_repeat = match &mut self.compact {
            Some(compact) => compact.repeats.is_repeat(key, time, received, debounce_ms, keep_ms),
            None => self.state.repeats.is_repeat(key, time, received, debounce_ms, keep_ms),
        };
        if !is_repeat {
            self.note(Change::Counted { key, time, received });
        }
        is_repeat
    }

    /// Whether a shopper is new on a day in a scope, which the key includes.
    pub(super) fn is_new_shopper(&mut self, day: Day, key: u128) -> bool {
        let is_new = match &mut self.compact {
            Some(compact) => compact.uniques.insert(day, key),
            None => self.state.uniques.insert(day, key),
        };
        if is_new {
            self.note(Change::Distinct { key, day });
        }
        is_new
    }

    /// Reads the line of memory that the look-up of an event's key begins with. The number says nothing.
    pub(super) fn look_ahead_delivery(&self, key: u128) -> u64 {
        match &self.compact {
            Some(compact) => compact.delivered.look_ahead(key),
            None => u64::from(self.state.delivered.holds(key)),
        }
    }

    /// The same for a distinct shopper of a day.
    pub(super) fn look_ahead_shopper(&self, day: Day, key: u128) -> u64 {
        match &self.compact {
            Some(compact) => compact.uniques.look_ahead(day, key),
            None => self.state.uniques.look_ahead(day, key),
        }
    }

    /// Marks what is expired under the present rules, so that new rules do not bring it back.
    pub(super) fn forget_expired(&mut self, rules: &Rules, received: Millis) {
        let (now, horizon, keep_ms) = (minute(received), rules.dedup.horizon_minutes, repeats_keep_ms(rules));
        match &mut self.compact {
            Some(compact) => {
                compact.delivered.forget(now, horizon);
                compact.repeats.forget(received, keep_ms);
            }
            None => {
                self.state.delivered.forget(now, horizon);
                self.state.repeats.forget(received, keep_ms);
            }
        }
    }

    /// Frees the distinct shoppers of the days before `day`.
    pub(super) fn forget_shoppers_before(&mut self, day: Day) {
        match &mut self.compact {
            Some(compact) => compact.uniques.forget_before(day),
            None => self.state.uniques.forget_before(day),
        }
    }
}
