//! The shopper desk's state of one merchant, and the list of steps that an event goes through.
//!
//! - `compact`: the tables of duplicates, repeats, distinct shoppers and entered codes, from behaviour 5 on
//! - `bounds`: how much of what strangers send is kept, from behaviour 2 on
//! - `counting`: duplicates, repeats, distinct shoppers, and what an event counts for by itself
//! - `entering`: entries into draws, and the results of scans
//! - `funnels`: progress in the funnels
//! - `expiry`: what is too old, and what is swept
//! - `saving`: what a snapshot stores in segments

mod bounds;
mod compact;
mod counting;
mod entering;
mod expiry;
mod funnels;
mod saving;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bounds::Bounds;
pub(super) use bounds::SavedBounds;
pub(super) use compact::CompactTables;
pub(super) use saving::{BaseAt, Block};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::compiled_rules::{CompiledRules, Interner, TextScope, Versions};
use super::counters::{CounterBuffer, Key};
use super::resolve::{EventContext, ResolvedEvent, resolve, time_of};
use super::settle::Settlement;
use super::shopper::touches_keep_ms;
use super::shoppers::{SavedSweep, Shoppers};
use crate::model::event::{Action, Event};
use crate::model::fact::{Fact, Metric, What};
use crate::model::rules::RulesSeq;
use crate::model::rules::rulebook::{Library, Rulebook};
use crate::model::time::{Day, Millis};
use crate::protocol::behaviour::Behaviour;
use crate::protocol::error::{DeskError, RestoreError};
use crate::protocol::stage::Outbox;
use crate::protocol::stage::segments::Noted;
use crate::table::debounce::ScanDebouncer;
use crate::table::dedup_window::DedupWindow;
use crate::table::uniform::UniformSet;
use crate::table::uniques::Uniques;

/// A merchant in one partition of the shopper desk, with the shoppers of that partition.
#[derive(Clone, Debug)]
pub(super) struct Merchant {
    /// Every version of the rules that was in force here: orders keep the version under which they were first seen.
    versions: Versions,
    /// The version in force.
    compiled: Arc<CompiledRules>,
    /// Empty between frames.
    counters: CounterBuffer,
    state: MerchantState,
    /// Number of refunds that wait for their order.
    waiting_refunds: usize,
    /// Number of kept things that events made it look at.
    looked_at: u64,
    /// Since it was loaded.
    suspect_scans: SuspectScans,
    /// From behaviour 2 on.
    bounds: Option<Bounds>,
    /// From behaviour 5 on. The tables of the state are empty then.
    compact: Option<Box<CompactTables>>,
    /// What changed since the last cut; `None` unless changes are noted.
    changes: Option<Noted>,
    cut: Option<saving::Cut>,
}

/// Numbers of scans that hint at leaked codes, and at goods that are sold outside of their region.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SuspectScans {
    pub(super) inactive: u64,
    pub(super) diverted: u64,
}

/// What a snapshot stores of a merchant.
#[derive(Clone, Debug)]
pub(super) struct MerchantState {
    name: Arc<str>,
    names: Interner,
    /// The numbers of all versions, and of the one in force.
    versions: Vec<RulesSeq>,
    in_force: RulesSeq,
    delivered: DedupWindow,
    uniques: Uniques,
    repeats: ScanDebouncer,
    shoppers: Shoppers,
    /// One-item codes that a shopper entered with.
    entered: UniformSet,
    /// Orders that are no longer kept: parts and refunds of them are late.
    closed: UniformSet,
    /// Number of touches that were dropped because a shopper had too many.
    touches_dropped: u64,
    /// Touches received before this time expired under earlier rules.
    touches_floor: Millis,
}

/// The fields of a merchant in a snapshot, in their order.
type Saved<T, N, V, D, U, R, S, C, W> = (T, N, V, RulesSeq, D, U, R, S, C, C, W, u64, Millis);

impl MerchantState {
    /// Stores these shoppers and closed orders, and everything else.
    fn save<S: Serializer>(&self, shoppers: &Shoppers, closed: &UniformSet, to: S) -> Result<S::Ok, S::Error> {
        let saved: Saved<_, _, _, _, _, _, _, _, _> = (
            &self.name,
            &self.names,
            &self.versions,
            self.in_force,
            &self.delivered,
            &self.uniques,
            &self.repeats,
            shoppers,
            &self.entered,
            closed,
            SavedSweep(shoppers),
            self.touches_dropped,
            self.touches_floor,
        );
        saved.serialize(to)
    }
}

impl Serialize for MerchantState {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.save(&self.shoppers, &self.closed, to)
    }
}

/// A merchant's state without what is in segments.
#[derive(Debug)]
pub(super) struct MerchantHead<'a>(&'a MerchantState);

impl Serialize for MerchantHead<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.save(&Shoppers::default(), &UniformSet::default(), to)
    }
}

impl<'de> Deserialize<'de> for MerchantState {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // The lists of the days are made from what each shopper says.
        type Sweep = BTreeMap<i64, Vec<u128>>;
        let saved: Saved<_, _, _, _, _, _, _, _, Sweep> = Deserialize::deserialize(from)?;
        let (name, names, versions, in_force, delivered, uniques, repeats, shoppers, ..) = saved;
        let (.., entered, closed, _, touches_dropped, touches_floor) = saved;
        Ok(Self {
            name,
            names,
            versions,
            in_force,
            delivered,
            uniques,
            repeats,
            shoppers,
            entered,
            closed,
            touches_dropped,
            touches_floor,
        })
    }
}

impl Merchant {
    pub(super) fn new(name: &str, book: &Arc<Rulebook>, behaviour: Option<Behaviour>) -> Self {
        let mut names = Interner::default();
        let compiled = Arc::new(CompiledRules::new(book, &mut names));
        Self {
            versions: BTreeMap::from([(book.seq, Arc::clone(&compiled))]),
            compiled,
            counters: CounterBuffer::default(),
            bounds: behaviour.is_some_and(|behaviour| behaviour.is_bounded).then(Bounds::default),
            compact: behaviour.is_some_and(|behaviour| behaviour.has_compact_tables).then(Box::default),
            changes: None,
            cut: None,
            waiting_refunds: 0,
            looked_at: 0,
            suspect_scans: SuspectScans::default(),
            state: MerchantState {
                name: name.into(),
                names,
                versions: vec![book.seq],
                in_force: book.seq,
                delivered: DedupWindow::default(),
                uniques: Uniques::default(),
                repeats: ScanDebouncer::default(),
                shoppers: Shoppers::default(),
                entered: UniformSet::default(),
                closed: UniformSet::default(),
                touches_dropped: 0,
                touches_floor: Millis::MIN,
            },
        }
    }

    /// Checks that this process has the secrets of all batches of the rules in force.
    ///
    /// # Errors
    /// It lacks one.
    pub(super) fn check_secrets(&self) -> Result<(), DeskError> {
        let book = &self.compiled.book;
        let Some(batch) = book.batches.without_secret.map(|index| &book.rules.batches[index as usize]) else {
            return Ok(());
        };
        let (merchant, secret) = (book.rules.merchant.clone(), batch.secret.clone());
        Err(DeskError::BatchSecret { batch: batch.number, merchant, version: book.version(), secret })
    }

    pub(super) fn state(&self) -> &MerchantState {
        &self.state
    }

    /// What of the state is not in segments.
    pub(super) fn head(&self) -> MerchantHead<'_> {
        MerchantHead(&self.state)
    }

    /// Restores the state of a snapshot.
    ///
    /// # Errors
    /// A version of its rules is not in the library.
    pub(super) fn restore(
        mut state: MerchantState,
        bounds: Option<SavedBounds>,
        compact: Option<CompactTables>,
        library: &Library,
    ) -> Result<Self, RestoreError> {
        let mut compile = |seq: &RulesSeq| {
            let book = library.get(seq).ok_or(RestoreError::Rules(*seq))?;
            Ok((*seq, Arc::new(CompiledRules::new(book, &mut state.names))))
        };
        let versions = state.versions.iter().map(&mut compile).collect::<Result<Versions, RestoreError>>()?;
        let compiled = versions.get(&state.in_force).ok_or(RestoreError::InForce)?;
        let counters = CounterBuffer::default();
        let bounds = bounds.map(|saved| Bounds::restore(saved, &mut state.shoppers));
        let waiting_refunds = saving::waiting_refunds(&state.shoppers);
        Ok(Self {
            compiled: Arc::clone(compiled),
            versions,
            counters,
            state,
            waiting_refunds,
            looked_at: 0,
            suspect_scans: SuspectScans::default(),
            bounds,
            compact: compact.map(Box::new),
            changes: None,
            cut: None,
        })
    }

    /// Another behaviour begins.
    pub(super) fn behave(&mut self, behaviour: Behaviour) {
        if behaviour.is_bounded {
            self.bound();
        }
        if behaviour.has_compact_tables {
            self.compact();
        }
    }

    /// Puts other rules in force.
    ///
    /// Entries that are expired under the present rules stay expired, even if the new rules keep them for longer and no sweep
    /// has removed them: no answer may depend on the sweep.
    pub(super) fn switch(&mut self, book: &Arc<Rulebook>, received: Millis) {
        let present = Arc::clone(&self.compiled);
        self.forget_expired(&present.book.rules, received);
        self.state.touches_floor = self.state.touches_floor.max(received - touches_keep_ms(&self.compiled) + 1);
        self.compiled = Arc::new(CompiledRules::new(book, &mut self.state.names));
        self.versions.insert(book.seq, Arc::clone(&self.compiled));
        self.state.versions = self.versions.keys().copied().collect();
        self.state.in_force = book.seq;
    }

    /// Approximate sizes of what it keeps in memory, bytes.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let texts = self.state.names.bytes() + self.bounds.as_ref().map_or(0, Bounds::bytes);
        self.table_sizes().into_iter().chain([("shoppers", self.state.shoppers.bytes()), ("texts", texts)])
    }

    /// Number of refunds that wait for their order.
    pub(super) fn waiting_refunds(&self) -> usize {
        self.waiting_refunds
    }

    /// Number of kept things that events made it look at, since it was loaded.
    pub(super) fn looked_at(&self) -> u64 {
        self.looked_at
    }

    /// Number of scans that hint at leaked codes or diverted goods, since it was loaded.
    pub(super) fn suspect_scans(&self) -> SuspectScans {
        self.suspect_scans
    }

    /// Sends the counters of a frame.
    pub(super) fn flush(&mut self, out: &mut Outbox) {
        self.counters.drain(&self.state.name, &self.state.names, out);
        self.sweep_texts();
    }

    /// Applies an event: the list of its steps. `received` never decreases.
    ///
    /// The order of the steps is a part of the answer. Facts go into the frame, and counters into the buffer, in the order in
    /// which the steps make them; in another order the frame has other bytes and another running hash, and a replay by a new
    /// build would diverge from what an old one sent. Where one step also needs another's result, a comment says so.
    pub(super) fn event(&mut self, event: &Event<'_>, received: Millis, out: &mut Outbox) {
        // Before any return, so that every event frees some memory.
        self.sweep(received);
        let time = time_of(event, received);
        let day = self.compiled.book.zone.day(time);
        // Before all that remembers the event: a second delivery changes nothing but this counter.
        if self.is_duplicate(event, received) {
            self.counters.add(Key::Merchant, day, Metric::Duplicates, 1);
            return;
        }
        let context = EventContext {
            event,
            resolved: self.resolve(event, day),
            time,
            received,
            day,
            today: self.compiled.book.zone.day(received),
            late: received - time > self.compiled.book.rules.late_ms,
        };
        // Before it counts: an order that is no longer kept cannot be settled.
        if self.is_too_old(&context) || self.is_refund_too_many(&context) {
            self.counters.add_all(&context.resolved.scopes, day, &[(Metric::Late, 1)]);
            return;
        }
        // Before draws and funnels: a repeat enters none and is a step of none.
        let counted = self.count(&context);
        self.enter(&context, counted, out);
        self.funnels(&context, counted, out);
        self.settle(&context, out);
        self.unlock(&context, out);
        // After all that the shopper keeps: the next sweep is due when the first of it expires.
        self.schedule(event.shopper_key, received);
    }

    /// Settles touches, orders, refunds and joins.
    fn settle(&mut self, context: &EventContext<'_, '_>, out: &mut Outbox) {
        if context.payment().is_none() && context.event.action != Action::Join && context.touch().is_none() {
            return;
        }
        self.expire(context.event.shopper_key, context.received);
        let Self { versions, compiled, counters, state, waiting_refunds, looked_at, bounds, .. } = self;
        let MerchantState { shoppers, names, touches_dropped, .. } = state;
        let shopper = shoppers.get_or_add(context.event.shopper_key);
        let full = bounds.as_ref().map(|_| Cell::new(false));
        let full = full.as_ref();
        let mut settlement =
            Settlement { shopper, compiled, versions, counters, names, out, waiting_refunds, looked_at, full };
        *touches_dropped += u64::from(settlement.settle(context));
        if let (Some(bounds), Some(full)) = (bounds, full) {
            bounds.reached.candidates += u64::from(full.get());
        }
        self.drop_orders(context);
    }

    /// The meaning of an event on the day of its time.
    fn resolve<'e>(&mut self, event: &Event<'e>, day: Day) -> ResolvedEvent<'e> {
        let Self { versions, compiled, state: MerchantState { names, .. }, bounds, .. } = self;
        resolve(event, compiled, |scope, text| match bounds {
            Some(bounds) => {
                // A store that earlier rules list decides commission of their orders, so it keeps its name.
                let earlier = |symbol| scope == TextScope::Store && versions.values().any(|v| v.lists(scope, symbol));
                let listed = |symbol| compiled.lists(scope, symbol) || earlier(symbol);
                bounds.named.symbol(scope, day, text, (compiled.book.rules.names_max, listed), names)
            }
            None => names.sym(text),
        })
    }

    /// Reports an action to the ledger if awards of any version may wait for it.
    fn unlock(&self, context: &EventContext<'_, '_>, out: &mut Outbox) {
        let action = context.event.action;
        if self.versions.values().any(|version| version.book.unlocking.contains(&action)) {
            let what = What::Unlocking { shopper: context.event.shopper, action, time: context.time };
            out.fact(&Fact { merchant: context.event.merchant, what });
        }
    }
}
