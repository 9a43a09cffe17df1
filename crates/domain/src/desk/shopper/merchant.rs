//! The shopper desk's state of one merchant, and what one event changes in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entry::{EntryAttempt, enter};
use super::funnel::{FunnelEvent, Progress, Reached, concerns};
use super::money::order::Order;
use super::settle::Settlement;
use super::shopper::{Shopper, touches_keep_ms};
use crate::desk::shopper::compiled_rules::{CompiledRules, Interner, NONE};
use crate::desk::shopper::counters::{CounterBuffer, Key};
use crate::desk::shopper::debounce::ScanDebouncer;
use crate::desk::shopper::resolve::{EventContext, resolve};
use crate::model::address::Topic;
use crate::model::code::Kind;
use crate::model::event::{Action, Event};
use crate::model::fact::{Answer, CodeScan, Fact, Metric, Outcome, ScanResult, What};
use crate::model::ids::{digest128, join_keys, text_key};
use crate::model::rulebook::{Library, Name, Rulebook};
use crate::model::rules::Rules;
use crate::model::time::{AHEAD_MAX_MS, DAY_MS, MINUTE_MS, Millis};
use crate::protocol::stage::Outbox;
use crate::table::dedup_window::{DedupWindow, Minute};
use crate::table::uniform::{UniformMap, UniformSet};
use crate::table::uniques::Uniques;

/// Maximum number of shoppers that one event sweeps; further ones wait for later events.
const SWEEP_MAX: usize = 2;

/// A merchant in one partition of the shopper desk, with the shoppers of that partition.
#[derive(Clone, Debug)]
pub(super) struct Merchant {
    /// Every version of the rules that was in force here: orders keep the version under which they were first seen.
    versions: BTreeMap<u32, Arc<CompiledRules>>,
    compiled: Arc<CompiledRules>,
    /// Empty between frames.
    counters: CounterBuffer,
    state: MerchantState,
}

/// What a snapshot stores of a merchant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MerchantState {
    name: Arc<str>,
    names: Interner,
    /// The numbers of all versions, and of the one in force.
    versions: Vec<u32>,
    in_force: u32,
    delivered: DedupWindow,
    uniques: Uniques,
    repeats: ScanDebouncer,
    shoppers: UniformMap<Shopper>,
    /// One-item codes that a shopper entered with.
    entered: UniformSet,
    /// Orders that are no longer kept: parts and refunds of them are late.
    closed: UniformSet,
    /// Shoppers to sweep, by day of `received`.
    sweep: BTreeMap<i64, Vec<u128>>,
    /// Number of touches that were dropped because a shopper had too many.
    touches_dropped: u64,
    /// Touches received before this time expired under earlier rules.
    touches_floor: Millis,
}

impl Merchant {
    pub(super) fn new(name: &str, book: &Arc<Rulebook>) -> Self {
        let mut names = Interner::default();
        let compiled = Arc::new(CompiledRules::new(book, &mut names));
        Self {
            versions: BTreeMap::from([(book.order, Arc::clone(&compiled))]),
            compiled,
            counters: CounterBuffer::default(),
            state: MerchantState {
                name: name.into(),
                names,
                versions: vec![book.order],
                in_force: book.order,
                delivered: DedupWindow::default(),
                uniques: Uniques::default(),
                repeats: ScanDebouncer::default(),
                shoppers: UniformMap::default(),
                entered: UniformSet::default(),
                closed: UniformSet::default(),
                sweep: BTreeMap::new(),
                touches_dropped: 0,
                touches_floor: Millis::MIN,
            },
        }
    }

    pub(super) fn state(&self) -> &MerchantState {
        &self.state
    }

    /// Restores the state of a snapshot.
    ///
    /// # Errors
    /// A version of its rules is not in the library.
    pub(super) fn restore(mut state: MerchantState, library: &Library) -> Result<Self, String> {
        let mut bind = |order: &u32| {
            let book = library.get(order).ok_or_else(|| format!("rules {order} are not found"))?;
            Ok((*order, Arc::new(CompiledRules::new(book, &mut state.names))))
        };
        let versions = state.versions.iter().map(&mut bind).collect::<Result<BTreeMap<_, _>, String>>()?;
        let compiled = versions.get(&state.in_force).ok_or("the rules in force are not among its versions")?;
        Ok(Self { compiled: Arc::clone(compiled), versions, counters: CounterBuffer::default(), state })
    }

    /// Puts other rules in force.
    ///
    /// Entries that are expired under the present rules stay expired, even if the new rules keep them for longer and no sweep
    /// has removed them: no answer may depend on the sweep.
    pub(super) fn switch(&mut self, book: &Arc<Rulebook>, received: Millis) {
        let rules = &self.compiled.book.rules;
        self.state.delivered.forget(minute(received), rules.dedup.horizon_minutes);
        self.state.repeats.forget(received, repeats_keep_ms(rules));
        self.state.touches_floor = self.state.touches_floor.max(received - touches_keep_ms(&self.compiled) + 1);
        self.compiled = Arc::new(CompiledRules::new(book, &mut self.state.names));
        self.versions.insert(book.order, Arc::clone(&self.compiled));
        self.state.versions = self.versions.keys().copied().collect();
        self.state.in_force = book.order;
    }

    /// Approximate sizes of the tables in memory, bytes, without what shoppers own elsewhere.
    pub(super) fn sizes(&self) -> [(&'static str, usize); 5] {
        [
            ("duplicates", self.state.delivered.bytes()),
            ("uniques", self.state.uniques.bytes()),
            ("repeats", self.state.repeats.bytes()),
            ("shoppers", self.state.shoppers.allocation_size()),
            ("for_good", self.state.entered.allocation_size() + self.state.closed.allocation_size()),
        ]
    }

    pub(super) fn touches_dropped(&self) -> u64 {
        self.state.touches_dropped
    }

    /// Number of refunds that wait for their order.
    pub(super) fn waiting_refunds(&self) -> usize {
        self.state.shoppers.values().flat_map(|s| &s.orders).map(Order::waiting_refunds).sum()
    }

    /// Sends the counters of a frame.
    pub(super) fn flush(&mut self, out: &mut Outbox) {
        self.counters.drain(&self.state.name, &self.state.names, out);
    }

    /// Applies an event. `received` never decreases.
    pub(super) fn event(&mut self, event: &Event<'_>, received: Millis, out: &mut Outbox) {
        let compiled = Arc::clone(&self.compiled);
        let rules = &compiled.book.rules;
        let time = event.time.unwrap_or(received);
        let time = if time > received + AHEAD_MAX_MS { received } else { time };
        let day = compiled.book.zone.day(time);
        self.sweep(received, &compiled);
        let (now, horizon) = (minute(received), rules.dedup.horizon_minutes);
        if !self.state.delivered.insert(event.key, now, horizon) {
            self.counters.add(Key::Merchant, day, Metric::Duplicates, 1);
            return;
        }
        let context = EventContext {
            event,
            resolved: resolve(event, &compiled, &mut self.state.names),
            time,
            received,
            day,
            today: compiled.book.zone.day(received),
            late: received - time > rules.late_ms,
        };
        if self.is_too_old(&context, &compiled) {
            self.counters.add_all(&context.resolved.scopes, day, &[(Metric::Late, 1)]);
            return;
        }
        let counted = self.count(&context, &compiled);
        let scan = event.action == Action::Scan;
        if scan && let Some((resolved, code)) = context.resolved.code {
            let result = self.draw(&context, &compiled, &resolved.name, code.kind, counted, out);
            self.answer(&context, &compiled, &resolved.name, result, out);
        }
        self.funnels(&context, &compiled, scan && counted, out);
        self.settle(&context, &compiled, out);
        // Awards of every version may wait for an action that unlocks them.
        if self.versions.values().any(|version| version.book.unlocking.contains(&event.action)) {
            let what = What::Unlocking { shopper: event.shopper, action: event.action, time };
            out.fact(&Fact { merchant: event.merchant, what });
        }
        self.schedule(event.shopper_key, received, &compiled);
    }

    /// Whether an order or refund is older than an order is kept, or belongs to an order that is no longer kept.
    fn is_too_old(&mut self, context: &EventContext<'_, '_>, compiled: &CompiledRules) -> bool {
        let Some(payment) = context.payment() else { return false };
        self.expire(context.event.shopper_key, context.received, compiled);
        // A known order keeps the rules under which it was first seen.
        let order =
            self.state.shoppers.get(&context.event.shopper_key).and_then(|shopper| shopper.order(payment.number));
        let within_ms = refund_within_ms(&self.versions, compiled, order.map_or(0, |order| order.rules));
        if context.received >= context.time.saturating_add(within_ms) {
            return true;
        }
        self.state.closed.contains(&order_key(context.event.shopper_key, payment.number))
    }

    /// Counts the event itself; returns whether it is a counted scan.
    fn count(&mut self, context: &EventContext<'_, '_>, compiled: &CompiledRules) -> bool {
        let mut metrics = [(Metric::Late, 0); 5];
        let mut used = 0;
        let mut add = |metric| {
            metrics[used] = (metric, 1);
            used += 1;
        };
        let mut counted = false;
        match context.event.action {
            Action::Scan => {
                let kind = context.resolved.scopes.kind.unwrap_or(Kind::Unknown);
                counted = kind != Kind::Forged && !self.is_repeat(context, compiled);
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
            self.unique(context);
        }
        self.counters.add_all(&context.resolved.scopes, context.day, &metrics[..used]);
        counted
    }

    fn is_repeat(&mut self, context: &EventContext<'_, '_>, compiled: &CompiledRules) -> bool {
        let rules = &compiled.book.rules;
        let debounce_ms = rules.dedup.debounce_ms;
        let (Some((resolved, _)), true) = (context.resolved.code, debounce_ms > 0) else { return false };
        let key = join_keys(context.event.shopper_key, resolved.name.key());
        self.state.repeats.is_repeat(key, context.time, context.received, debounce_ms, repeats_keep_ms(rules))
    }

    /// Counts distinct shoppers of the day, in the scopes that have this metric.
    fn unique(&mut self, context: &EventContext<'_, '_>) {
        let shoppers = context.resolved.scopes.keys().filter_map(|key| {
            let (scope, symbol) = match key {
                Key::Merchant => (0, NONE),
                Key::Store(symbol) => (1, symbol),
                Key::Guide(symbol) => (2, symbol),
                Key::Campaign(symbol) => (3, symbol),
                _ => return None,
            };
            Some((key, u128::from(symbol) << 8 | scope))
        });
        for (key, scope) in shoppers {
            if self.state.uniques.insert(context.day, join_keys(context.event.shopper_key, scope)) {
                self.counters.add(key, context.day, Metric::Shoppers, 1);
            }
        }
    }

    /// Sends scans of item codes and entries to the code desk; returns the result for the sender.
    fn draw(
        &mut self,
        context: &EventContext<'_, '_>,
        compiled: &CompiledRules,
        name: &Name<'_>,
        kind: Kind,
        counted: bool,
        out: &mut Outbox,
    ) -> ScanResult {
        let campaign = context.resolved.code.and_then(|(_, code)| code.campaign);
        // Anyone can send keyless scans repeatedly, so they enter only with codes that draw once.
        let draws = campaign.is_some() && !context.event.keyless;
        if kind == Kind::Forged || !(kind.is_item() || draws) {
            // The result of a forged code is `counted`, so that the sender cannot tell it from an unknown one.
            return if counted || kind == Kind::Forged { ScanResult::Counted } else { ScanResult::Repeat };
        }
        let result = if counted { self.enter(context, compiled, name, kind, campaign) } else { Err(Outcome::Repeat) };
        let outcome = result.err().unwrap_or(Outcome::Entered);
        if result.is_ok() {
            self.counters.add_all(&context.resolved.scopes, context.day, &[(Metric::Entries, 1)]);
        } else if !kind.is_item() {
            return outcome.into();
        }
        let mut buffer = [0; 18];
        let code = name.text(&mut buffer);
        let scan = CodeScan {
            merchant: context.event.merchant,
            key: context.event.answer_key(),
            rules: compiled.book.order,
            code,
            kind,
            received: context.received,
            region: self.state.names.text(context.resolved.scopes.region),
            shopper: context.event.shopper,
            shopper_key: context.event.shopper_key,
            outcome,
            entry: campaign.zip(result.ok()),
        };
        out.send(Topic::Draws, text_key(code), &scan);
        outcome.into()
    }

    /// Sends the result of a scan.
    fn answer(
        &self,
        context: &EventContext<'_, '_>,
        compiled: &CompiledRules,
        name: &Name<'_>,
        result: ScanResult,
        out: &mut Outbox,
    ) {
        let mut buffer = [0; 18];
        let drawn = !matches!(result, ScanResult::Counted | ScanResult::Repeat);
        let campaign = context.resolved.code.and_then(|(_, code)| code.campaign).filter(|_| drawn);
        out.fact(&Fact {
            merchant: context.event.merchant,
            what: What::Answer(Answer {
                key: context.event.answer_key(),
                received: context.received,
                desk: 1,
                result,
                code: matches!(result, ScanResult::Pending | ScanResult::Yours).then(|| name.text(&mut buffer)),
                campaign: campaign.map(|index| compiled.book.rules.campaigns[index as usize].id.as_str()),
                prize: None,
                claim: None,
                shopper: (context.event.keyless && result == ScanResult::Yours).then_some(context.event.shopper),
            }),
        });
    }

    fn enter(
        &mut self,
        context: &EventContext<'_, '_>,
        compiled: &CompiledRules,
        name: &Name<'_>,
        kind: Kind,
        campaign: Option<u32>,
    ) -> Result<u64, Outcome> {
        let index = campaign.ok_or(Outcome::NoCampaign)?;
        let code = kind.is_item().then(|| join_keys(context.event.shopper_key, name.key()));
        let attempt = EntryAttempt {
            received: context.received,
            day: context.today,
            region: context.resolved.scopes.region,
            entered_before: code.is_some_and(|code| self.state.entered.contains(&code)),
        };
        let shopper = self.state.shoppers.entry(context.event.shopper_key).or_default();
        let campaign = &compiled.book.rules.campaigns[index as usize];
        let n = enter(campaign, compiled.campaign(Some(index)), &attempt, &mut shopper.entries, &self.state.names)?;
        self.state.entered.extend(code);
        Ok(n)
    }

    fn funnels(&mut self, context: &EventContext<'_, '_>, compiled: &CompiledRules, counted: bool, out: &mut Outbox) {
        let funnel_event = FunnelEvent {
            action: context.event.action,
            scanned: context.resolved.scopes.kind.filter(|_| counted),
            ticket: context.event.ticket,
            channel: context.resolved.scopes.channel,
            received: context.received,
            day: context.today,
        };
        for funnel in compiled.book.rules.funnels.iter().filter(|f| concerns(f, &funnel_event)) {
            let symbol = self.state.names.sym(&funnel.name);
            let shopper = self.state.shoppers.entry(context.event.shopper_key).or_default();
            let at = shopper.funnels.iter().position(|f| f.funnel == symbol).unwrap_or_else(|| {
                shopper.funnels.push(Progress::new(symbol, compiled.book.order));
                shopper.funnels.len() - 1
            });
            let progress = &mut shopper.funnels[at];
            if progress.rules != compiled.book.order {
                // A funnel with another definition is another funnel: progress starts again.
                let before = self.versions.get(&progress.rules).map(|v| &v.book.rules.funnels);
                if before.is_some_and(|funnels| funnels.contains(funnel)) {
                    progress.rules = compiled.book.order;
                } else {
                    *progress = Progress::new(symbol, compiled.book.order);
                }
            }
            let names = &self.state.names;
            shopper.funnels[at].pass(funnel, &funnel_event, |Reached { step, channel, day }| {
                let what = What::Funnel {
                    funnel: &funnel.name,
                    step: u8::try_from(step + 1).expect("a funnel has few steps"),
                    action: funnel.steps[step],
                    channel: names.text(channel),
                    day,
                };
                out.fact(&Fact { merchant: context.event.merchant, what });
            });
            if shopper.funnels[at].is_empty() {
                shopper.funnels.swap_remove(at);
            }
        }
    }

    /// Settles touches, orders, refunds and joins.
    fn settle(&mut self, context: &EventContext<'_, '_>, compiled: &CompiledRules, out: &mut Outbox) {
        if context.payment().is_none() && context.event.action != Action::Join && context.touch().is_none() {
            return;
        }
        self.expire(context.event.shopper_key, context.received, compiled);
        let Self { versions, counters, state: MerchantState { shoppers, names, touches_dropped, .. }, .. } = self;
        let shopper = shoppers.entry(context.event.shopper_key).or_default();
        *touches_dropped += u64::from(Settlement { shopper, compiled, versions, counters, names, out }.settle(context));
    }

    fn expire(&mut self, key: u128, received: Millis, compiled: &CompiledRules) {
        let Self { versions, state: MerchantState { shoppers, closed, touches_floor, .. }, .. } = self;
        if let Some(shopper) = shoppers.get_mut(&key) {
            let within = |rules| refund_within_ms(versions, compiled, rules);
            shopper.expire(received, *touches_floor, compiled, within, |order| {
                closed.insert(order_key(key, &order.number));
            });
        }
    }

    /// Schedules the next sweep of a shopper.
    fn schedule(&mut self, key: u128, received: Millis, compiled: &CompiledRules) {
        let Self { versions, state: MerchantState { shoppers, sweep, .. }, .. } = self;
        let Some(shopper) = shoppers.get_mut(&key) else { return };
        if shopper.due.is_some() {
            return;
        }
        let within = |rules| refund_within_ms(versions, compiled, rules);
        if let Some(expiry) = shopper.next_expiry(compiled, within, received + DAY_MS) {
            let due = expiry.max(received) / DAY_MS + 1;
            shopper.due = Some(due);
            sweep.entry(due).or_default().push(key);
        }
    }

    /// Frees the memory of expired entries. No answer depends on it.
    fn sweep(&mut self, received: Millis, compiled: &CompiledRules) {
        let oldest = received.saturating_sub(compiled.book.rules.late_ms);
        self.state.uniques.forget_before(compiled.book.zone.day(oldest.max(0)).saturating_sub(1));
        for _ in 0..SWEEP_MAX {
            let today = received / DAY_MS;
            let Some(mut first) = self.state.sweep.first_entry().filter(|first| *first.key() <= today) else { return };
            let Some(key) = first.get_mut().pop() else {
                first.remove();
                continue;
            };
            self.expire(key, received, compiled);
            let Some(shopper) = self.state.shoppers.get_mut(&key) else { continue };
            let today = compiled.book.zone.day(received);
            let funnels = &compiled.book.rules.funnels;
            let definition = |symbol| funnels.iter().find(|f| self.state.names.text(symbol) == Some(&f.name));
            shopper.funnels.retain_mut(|progress| {
                progress.expire(received, today, definition(progress.funnel).map_or(0, |f| f.within_ms));
                !progress.is_empty()
            });
            shopper.due = None;
            if shopper.is_empty() {
                self.state.shoppers.remove(&key);
            } else {
                self.schedule(key, received, compiled);
            }
        }
    }
}

fn minute(received: Millis) -> Minute {
    Minute::try_from(received / MINUTE_MS).unwrap_or(Minute::MAX)
}

/// How long a counted scan is kept, by `received`, ms.
fn repeats_keep_ms(rules: &Rules) -> i64 {
    rules.dedup.debounce_ms.max(rules.late_ms)
}

/// The key of a shopper's order among the closed ones.
fn order_key(shopper_key: u128, number: &str) -> u128 {
    join_keys(shopper_key, digest128(&[number]))
}

fn refund_within_ms(versions: &BTreeMap<u32, Arc<CompiledRules>>, compiled: &CompiledRules, rules: u32) -> i64 {
    versions.get(&rules).map_or(compiled, |v| v).book.rules.attribution.refund_within_ms
}
