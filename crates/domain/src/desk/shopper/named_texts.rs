//! Which texts that the rules do not list are counted by name, and which under `*other*` (contract section 7).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::compiled_rules::{Interner, OTHER, Symbol, TextScope};
use crate::model::fact::OTHER_TEXT;
use crate::model::time::Day;

const SCOPES: usize = 6;

/// Maximum number of texts of days of which every event is late, over all scopes.
const LATE_TEXTS_MAX: usize = 10_000;

/// The texts that are counted by name, by day and scope: the first `names_max` distinct ones of each.
///
/// The texts of late days are kept up to [`LATE_TEXTS_MAX`], so that a stranger cannot fill one day after another; beyond it the
/// earliest day begins again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct NamedTexts {
    days: BTreeMap<Day, [BTreeSet<Symbol>; SCOPES]>,
    /// Events of earlier days are late.
    in_time_from: Day,
    /// Number of texts of late days, over all scopes.
    late: usize,
    /// How often a text was counted under `*other*`.
    others: u64,
}

impl NamedTexts {
    /// The symbol under which a text is counted; it is remembered for the day, up to `max` texts that are not listed.
    pub(super) fn symbol(
        &mut self,
        scope: TextScope,
        day: Day,
        text: &str,
        (max, is_listed): (u32, impl Fn(Symbol) -> bool),
        names: &mut Interner,
    ) -> Symbol {
        let known = names.find(text);
        if let Some(symbol) = known.filter(|&symbol| is_listed(symbol)) {
            return symbol;
        }
        if text == OTHER_TEXT {
            return OTHER;
        }
        let at = scope as usize;
        let named = self.days.get(&day).map(|scopes| &scopes[at]);
        if let (Some(named), Some(symbol)) = (named, known)
            && named.contains(&symbol)
        {
            return symbol;
        }
        if named.map_or(0, BTreeSet::len) >= max as usize {
            self.others += 1;
            return OTHER;
        }
        let symbol = known.unwrap_or_else(|| names.sym(text));
        self.days.entry(day).or_default()[at].insert(symbol);
        if day < self.in_time_from {
            self.late += 1;
            self.forget_late();
        }
        symbol
    }

    /// Events of the days before `day` are late from now on.
    pub(super) fn late_before(&mut self, day: Day) {
        if day > self.in_time_from {
            self.in_time_from = day;
            self.late = self.days.range(..day).flat_map(|(_, scopes)| scopes).map(BTreeSet::len).sum();
            self.forget_late();
        }
    }

    fn forget_late(&mut self) {
        while self.late > LATE_TEXTS_MAX
            && let Some((_, scopes)) = self.days.pop_first()
        {
            self.late -= scopes.iter().map(BTreeSet::len).sum::<usize>();
        }
    }

    /// The symbols of all texts that are remembered.
    pub(super) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.days.values().flatten().flatten().copied()
    }

    /// How often a text was counted under `*other*`.
    pub(super) fn others(&self) -> u64 {
        self.others
    }

    /// Approximate size in memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        // A node of a B-tree is about two thirds full.
        self.days.values().flatten().map(|named| named.len() * size_of::<Symbol>() * 3 / 2).sum()
    }
}
