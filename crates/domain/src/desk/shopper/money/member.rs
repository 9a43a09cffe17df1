//! Members: a shopper's earliest join, credited as an order at that time would be (contract section 5).

use serde::{Deserialize, Serialize};

use super::credit::credits;
use super::order::touch_keys;
use super::touch::{Touch, Touches, insert, insert_all, within};
use crate::desk::shopper::compiled_rules::{CompiledRules, Interner, Symbol};
use crate::desk::shopper::counters::{CounterBuffer, Scopes};
use crate::model::fact::{Metric, What};
use crate::model::rules::{Model, RulesSeq};
use crate::model::time::Millis;

/// A shopper's membership.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::desk::shopper) struct Member {
    time: Millis,
    key: u128,
    scopes: Scopes,
    /// The version number of the rules in force at the first join that came.
    pub(in crate::desk::shopper) rules: RulesSeq,
    /// Touches within the window. Once `received` > time + `late`, only late touches could be added, and those do not count.
    candidates: Vec<Touch>,
}

impl Member {
    pub(in crate::desk::shopper) fn new(
        time: Millis,
        key: u128,
        scopes: Scopes,
        compiled: &CompiledRules,
        touches: &Touches,
    ) -> Self {
        let window_ms = compiled.book.rules.attribution.window_ms;
        Self {
            time,
            key,
            scopes,
            rules: compiled.book.seq,
            candidates: within(touches.all(), time - window_ms, time).to_vec(),
        }
    }

    /// Whether a join is earlier than the one that made the member.
    pub(in crate::desk::shopper) fn yields_to(&self, time: Millis, key: u128) -> bool {
        (time, key) < (self.time, self.key)
    }

    /// Moves to an earlier join, credited to the touches that are still kept.
    pub(in crate::desk::shopper) fn move_to(
        &mut self,
        (time, key): (Millis, u128),
        scopes: Scopes,
        compiled: &CompiledRules,
        touches: &Touches,
        candidates_max: usize,
    ) {
        (self.time, self.key, self.scopes) = (time, key, scopes);
        let from = time - compiled.book.rules.attribution.window_ms;
        self.candidates.retain(|t| from < t.time && t.time <= time);
        insert_all(&mut self.candidates, within(touches.all(), from, time), candidates_max);
    }

    /// Number of candidates.
    pub(in crate::desk::shopper) fn candidates(&self) -> usize {
        self.candidates.len()
    }

    pub(in crate::desk::shopper) fn wants(&self, touch: &Touch, compiled: &CompiledRules) -> bool {
        self.time - compiled.book.rules.attribution.window_ms < touch.time && touch.time <= self.time
    }

    pub(in crate::desk::shopper) fn add(&mut self, touch: Touch) {
        insert(&mut self.candidates, touch);
    }

    /// Adds (`sign` 1) or takes back (−1) what the member counts for.
    pub(in crate::desk::shopper) fn book(&self, sign: i64, compiled: &CompiledRules, counters: &mut CounterBuffer) {
        let day = compiled.book.zone.day(self.time);
        counters.add_all(&self.scopes, day, &[(Metric::Joins, sign)]);
        if let Some(touch) = self.credited(compiled) {
            for key in touch_keys(&touch) {
                counters.add(key, day, Metric::CreditedJoins, sign);
            }
        }
    }

    pub(in crate::desk::shopper) fn fact<'a>(
        &self,
        shopper: &'a str,
        compiled: &CompiledRules,
        names: &'a Interner,
    ) -> What<'a> {
        let touch = self.credited(compiled);
        let text = |sym| names.text(sym);
        What::Member {
            shopper,
            time: self.time,
            guide: touch.and_then(|t| text(t.guide)),
            store: touch.and_then(|t| text(t.store)),
        }
    }

    /// The symbols of all texts that it refers to and the rules may not.
    pub(in crate::desk::shopper) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.scopes.symbols().into_iter()
    }

    fn credited(&self, compiled: &CompiledRules) -> Option<Touch> {
        let protect_ms = compiled.book.rules.attribution.protect_ms;
        credits(self.candidates.iter(), Model::Last, protect_ms).first().map(|c| c.touch)
    }
}
