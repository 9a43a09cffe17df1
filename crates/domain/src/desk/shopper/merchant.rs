//! All that the shopper desk knows of one merchant's shoppers, and what one event does to it.

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
use crate::desk::shopper::resolve::{EventContext, arrive};
use crate::model::address::Topic;
use crate::model::code::Kind;
use crate::model::event::{Action, Event};
use crate::model::fact::{Answer, CodeScan, Fact, Metric, Outcome, Told, What};
use crate::model::ids::{digest128, join_keys, text_key};
use crate::model::rulebook::{Library, Name, Rulebook};
use crate::model::rules::Rules;
use crate::model::time::{AHEAD_MAX_MS, DAY_MS, MINUTE_MS, Millis};
use crate::protocol::stage::Outbox;
use crate::table::dedup_window::{DedupWindow, Minute};
use crate::table::uniform::{UniformMap, UniformSet};
use crate::table::uniques::Uniques;

/// Maximum number of shoppers swept per event; further ones wait for the next event.
const SWEEP_MAX: usize = 2;

/// A merchant's state. Lives at one partition of the shopper desk, with the shoppers of that partition.
#[derive(Clone, Debug)]
pub(super) struct Merchant {
    /// Every version that the desk has worked under: orders keep theirs.
    versions: BTreeMap<u32, Arc<CompiledRules>>,
    bound: Arc<CompiledRules>,
    /// Empty between frames.
    tally: CounterBuffer,
    kept: MerchantState,
}

/// What a snapshot keeps of a merchant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MerchantState {
    name: Arc<str>,
    names: Interner,
    /// The orders of the versions, and of the one in force.
    versions: Vec<u32>,
    in_force: u32,
    delivered: DedupWindow,
    uniques: Uniques,
    repeats: ScanDebouncer,
    shoppers: UniformMap<Shopper>,
    /// One-item codes that a shopper entered with.
    entered: UniformSet,
    /// Orders that are no longer kept: what comes for them is late.
    closed: UniformSet,
    /// Shoppers to look at, by day of `received`.
    sweep: BTreeMap<i64, Vec<u128>>,
    /// Touches dropped because a shopper had too many.
    touches_dropped: u64,
    /// Touches received before it were forgotten under earlier rules.
    touches_floor: Millis,
}

impl Merchant {
    pub(super) fn new(name: &str, book: &Arc<Rulebook>) -> Self {
        let mut names = Interner::default();
        let bound = Arc::new(CompiledRules::new(book, &mut names));
        Self {
            versions: BTreeMap::from([(book.order, Arc::clone(&bound))]),
            bound,
            tally: CounterBuffer::default(),
            kept: MerchantState {
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

    pub(super) fn kept(&self) -> &MerchantState {
        &self.kept
    }

    /// Takes up what a snapshot kept.
    ///
    /// # Errors
    /// Rules that it worked under are not at hand.
    pub(super) fn restore(mut kept: MerchantState, library: &Library) -> Result<Self, String> {
        let mut bind = |order: &u32| {
            let book = library.get(order).ok_or_else(|| format!("rules {order} are not at hand"))?;
            Ok((*order, Arc::new(CompiledRules::new(book, &mut kept.names))))
        };
        let versions = kept.versions.iter().map(&mut bind).collect::<Result<BTreeMap<_, _>, String>>()?;
        let bound = versions.get(&kept.in_force).ok_or("the rules in force are not among its versions")?;
        Ok(Self { bound: Arc::clone(bound), versions, tally: CounterBuffer::default(), kept })
    }

    /// Works under other rules from here on.
    ///
    /// What has expired under the rules so far stays forgotten, even if the new rules remember for longer and the sweep has
    /// not removed it yet: no answer may depend on the sweep.
    pub(super) fn switch(&mut self, book: &Arc<Rulebook>, received: Millis) {
        let rules = &self.bound.book.rules;
        self.kept.delivered.forget(minute(received), rules.dedup.horizon_minutes);
        self.kept.repeats.forget(received, repeats_keep_ms(rules));
        self.kept.touches_floor = self.kept.touches_floor.max(received - touches_keep_ms(&self.bound) + 1);
        self.bound = Arc::new(CompiledRules::new(book, &mut self.kept.names));
        self.versions.insert(book.order, Arc::clone(&self.bound));
        self.kept.versions = self.versions.keys().copied().collect();
        self.kept.in_force = book.order;
    }

    /// About how many bytes of memory the tables take; what shoppers own beside them is not among it.
    pub(super) fn sizes(&self) -> [(&'static str, usize); 5] {
        [
            ("duplicates", self.kept.delivered.bytes()),
            ("uniques", self.kept.uniques.bytes()),
            ("repeats", self.kept.repeats.bytes()),
            ("shoppers", self.kept.shoppers.allocation_size()),
            ("for_good", self.kept.entered.allocation_size() + self.kept.closed.allocation_size()),
        ]
    }

    pub(super) fn touches_dropped(&self) -> u64 {
        self.kept.touches_dropped
    }

    /// Refunds that wait for an order that has not come.
    pub(super) fn waiting_refunds(&self) -> usize {
        self.kept.shoppers.values().flat_map(|s| &s.orders).map(Order::waiting_refunds).sum()
    }

    /// Sends the counters of a frame.
    pub(super) fn flush(&mut self, out: &mut Outbox) {
        self.tally.drain(&self.kept.name, &self.kept.names, out);
    }

    /// Applies an event. `received` never goes back.
    pub(super) fn event(&mut self, event: &Event<'_>, received: Millis, out: &mut Outbox) {
        let bound = Arc::clone(&self.bound);
        let rules = &bound.book.rules;
        let time = event.time.unwrap_or(received);
        let time = if time > received + AHEAD_MAX_MS { received } else { time };
        let day = bound.book.zone.day(time);
        self.sweep(received, &bound);
        let (now, horizon) = (minute(received), rules.dedup.horizon_minutes);
        let is_new = if out.guards().expiry_at_probe {
            self.kept.delivered.insert(event.key, now, horizon)
        } else {
            self.kept.delivered.insert_by_sweep(event.key, now, horizon)
        };
        if !is_new {
            self.tally.add(Key::Merchant, day, Metric::Duplicates, 1);
            return;
        }
        let passage = EventContext {
            event,
            arrival: arrive(event, &bound, &mut self.kept.names),
            time,
            received,
            day,
            today: bound.book.zone.day(received),
            late: received - time > rules.late_ms,
        };
        if self.is_too_old(&passage, &bound) {
            self.tally.add_all(&passage.arrival.scopes, day, &[(Metric::Late, 1)]);
            return;
        }
        let counted = self.count(&passage, &bound);
        let scan = event.action == Action::Scan;
        if scan && let Some((resolved, code)) = passage.arrival.code {
            let told = self.draw(&passage, &bound, &resolved.name, code.kind, counted, out);
            self.answer(&passage, &bound, &resolved.name, told, out);
        }
        self.funnels(&passage, &bound, scan && counted, out);
        self.settle(&passage, &bound, out);
        // Awards of every version wait for what unlocks them.
        if self.versions.values().any(|version| version.book.unlocking.contains(&event.action)) {
            let what = What::Unlocking { shopper: event.shopper, action: event.action, time };
            out.fact(&Fact { merchant: event.merchant, what });
        }
        self.schedule(event.shopper_key, received, &bound);
    }

    /// An order or refund that is older than an order is kept, or of an order that no longer is.
    fn is_too_old(&mut self, p: &EventContext<'_, '_>, bound: &CompiledRules) -> bool {
        let Some(payment) = p.payment() else { return false };
        self.expire(p.event.shopper_key, p.received, bound);
        // An order that is there keeps the rules under which it was first seen.
        let order = self.kept.shoppers.get(&p.event.shopper_key).and_then(|shopper| shopper.order(payment.number));
        let within_ms = refund_within_ms(&self.versions, bound, order.map_or(0, |order| order.rules));
        if p.received >= p.time.saturating_add(within_ms) {
            return true;
        }
        self.kept.closed.contains(&order_key(p.event.shopper_key, payment.number))
    }

    /// Counts the event by itself; says whether it is a counted scan.
    fn count(&mut self, p: &EventContext<'_, '_>, bound: &CompiledRules) -> bool {
        let mut metrics = [(Metric::Late, 0); 5];
        let mut used = 0;
        let mut add = |metric| {
            metrics[used] = (metric, 1);
            used += 1;
        };
        let mut counted = false;
        match p.event.action {
            Action::Scan => {
                let kind = p.arrival.scopes.kind.unwrap_or(Kind::Unknown);
                counted = kind != Kind::Forged && !self.is_repeat(p, bound);
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
        if p.late {
            add(Metric::Late);
        } else {
            self.unique(p);
        }
        self.tally.add_all(&p.arrival.scopes, p.day, &metrics[..used]);
        counted
    }

    fn is_repeat(&mut self, p: &EventContext<'_, '_>, bound: &CompiledRules) -> bool {
        let rules = &bound.book.rules;
        let debounce_ms = rules.dedup.debounce_ms;
        let (Some((resolved, _)), true) = (p.arrival.code, debounce_ms > 0) else { return false };
        let key = join_keys(p.event.shopper_key, resolved.name.key());
        self.kept.repeats.is_repeat(key, p.time, p.received, debounce_ms, repeats_keep_ms(rules))
    }

    /// Distinct shoppers of the day, at the scopes that have them.
    fn unique(&mut self, p: &EventContext<'_, '_>) {
        let shoppers = p.arrival.scopes.keys().filter_map(|key| {
            let (scope, sym) = match key {
                Key::Merchant => (0, NONE),
                Key::Store(sym) => (1, sym),
                Key::Guide(sym) => (2, sym),
                Key::Campaign(sym) => (3, sym),
                _ => return None,
            };
            Some((key, u128::from(sym) << 8 | scope))
        });
        for (key, scope) in shoppers {
            if self.kept.uniques.insert(p.day, join_keys(p.event.shopper_key, scope)) {
                self.tally.add(key, p.day, Metric::Shoppers, 1);
            }
        }
    }

    /// Sends scans of item codes, and entries, to the code desk; returns the result for the shopper.
    fn draw(
        &mut self,
        p: &EventContext<'_, '_>,
        bound: &CompiledRules,
        name: &Name<'_>,
        kind: Kind,
        counted: bool,
        out: &mut Outbox,
    ) -> Told {
        let campaign = p.arrival.code.and_then(|(_, code)| code.campaign);
        // A keyless scan may come from any sender, again and again: it enters only where a code draws once.
        let draws = campaign.is_some() && !p.event.keyless;
        if kind == Kind::Forged || !(kind.is_item() || draws) {
            // Forged reads as counted: the sender cannot tell it from unknown.
            return if counted || kind == Kind::Forged { Told::Counted } else { Told::Repeat };
        }
        let result = if counted { self.enter(p, bound, name, kind, campaign) } else { Err(Outcome::Repeat) };
        let outcome = result.err().unwrap_or(Outcome::Entered);
        if result.is_ok() {
            self.tally.add_all(&p.arrival.scopes, p.day, &[(Metric::Entries, 1)]);
        } else if !kind.is_item() {
            return outcome.into();
        }
        let mut buffer = [0; 18];
        let code = name.text(&mut buffer);
        let scan = CodeScan {
            merchant: p.event.merchant,
            key: p.event.answer_key(),
            rules: bound.book.order,
            code,
            kind,
            received: p.received,
            region: self.kept.names.text(p.arrival.scopes.region),
            shopper: p.event.shopper,
            shopper_key: p.event.shopper_key,
            outcome,
            entry: campaign.zip(result.ok()),
        };
        out.send(Topic::Draws, text_key(code), &scan);
        outcome.into()
    }

    /// Sends the result of a scan, for the client that waits for it.
    fn answer(&self, p: &EventContext<'_, '_>, bound: &CompiledRules, name: &Name<'_>, told: Told, out: &mut Outbox) {
        let mut buffer = [0; 18];
        let drawn = !matches!(told, Told::Counted | Told::Repeat);
        let campaign = p.arrival.code.and_then(|(_, code)| code.campaign).filter(|_| drawn);
        out.fact(&Fact {
            merchant: p.event.merchant,
            what: What::Answer(Answer {
                key: p.event.answer_key(),
                received: p.received,
                desk: 1,
                told,
                code: matches!(told, Told::Pending | Told::Yours).then(|| name.text(&mut buffer)),
                campaign: campaign.map(|index| bound.book.rules.campaigns[index as usize].id.as_str()),
                prize: None,
                claim: None,
                shopper: (p.event.keyless && told == Told::Yours).then_some(p.event.shopper),
            }),
        });
    }

    fn enter(
        &mut self,
        p: &EventContext<'_, '_>,
        bound: &CompiledRules,
        name: &Name<'_>,
        kind: Kind,
        campaign: Option<u32>,
    ) -> Result<u64, Outcome> {
        let index = campaign.ok_or(Outcome::NoCampaign)?;
        let code = kind.is_item().then(|| join_keys(p.event.shopper_key, name.key()));
        let knock = EntryAttempt {
            received: p.received,
            day: p.today,
            region: p.arrival.scopes.region,
            entered_before: code.is_some_and(|code| self.kept.entered.contains(&code)),
        };
        let shopper = self.kept.shoppers.entry(p.event.shopper_key).or_default();
        let campaign = &bound.book.rules.campaigns[index as usize];
        let n = enter(campaign, bound.campaign(Some(index)), &knock, &mut shopper.entries, &self.kept.names)?;
        self.kept.entered.extend(code);
        Ok(n)
    }

    fn funnels(&mut self, p: &EventContext<'_, '_>, bound: &CompiledRules, counted: bool, out: &mut Outbox) {
        let passing = FunnelEvent {
            action: p.event.action,
            scanned: p.arrival.scopes.kind.filter(|_| counted),
            ticket: p.event.ticket,
            channel: p.arrival.scopes.channel,
            received: p.received,
            day: p.today,
        };
        for funnel in bound.book.rules.funnels.iter().filter(|f| concerns(f, &passing)) {
            let sym = self.kept.names.sym(&funnel.name);
            let shopper = self.kept.shoppers.entry(p.event.shopper_key).or_default();
            let at = shopper.funnels.iter().position(|f| f.funnel == sym).unwrap_or_else(|| {
                shopper.funnels.push(Progress::new(sym, bound.book.order));
                shopper.funnels.len() - 1
            });
            let progress = &mut shopper.funnels[at];
            if progress.rules != bound.book.order {
                // A funnel that was defined otherwise is another one: progress begins anew.
                let before = self.versions.get(&progress.rules).map(|v| &v.book.rules.funnels);
                if before.is_some_and(|funnels| funnels.contains(funnel)) {
                    progress.rules = bound.book.order;
                } else {
                    *progress = Progress::new(sym, bound.book.order);
                }
            }
            let names = &self.kept.names;
            shopper.funnels[at].pass(funnel, &passing, |Reached { step, channel, day }| {
                let what = What::Funnel {
                    funnel: &funnel.name,
                    step: u8::try_from(step + 1).expect("a funnel has few steps"),
                    action: funnel.steps[step],
                    channel: names.text(channel),
                    day,
                };
                out.fact(&Fact { merchant: p.event.merchant, what });
            });
            if shopper.funnels[at].is_empty() {
                shopper.funnels.swap_remove(at);
            }
        }
    }

    /// Touches, orders, refunds and joins.
    fn settle(&mut self, p: &EventContext<'_, '_>, bound: &CompiledRules, out: &mut Outbox) {
        if p.payment().is_none() && p.event.action != Action::Join && p.touch().is_none() {
            return;
        }
        self.expire(p.event.shopper_key, p.received, bound);
        let Self { versions, tally, kept: MerchantState { shoppers, names, touches_dropped, .. }, .. } = self;
        let shopper = shoppers.entry(p.event.shopper_key).or_default();
        *touches_dropped += u64::from(Settlement { shopper, bound, versions, tally, names, out }.settle(p));
    }

    fn expire(&mut self, key: u128, received: Millis, bound: &CompiledRules) {
        let Self { versions, kept: MerchantState { shoppers, closed, touches_floor, .. }, .. } = self;
        if let Some(shopper) = shoppers.get_mut(&key) {
            let within = |rules| refund_within_ms(versions, bound, rules);
            shopper.expire(received, *touches_floor, bound, within, |order| {
                closed.insert(order_key(key, &order.number));
            });
        }
    }

    /// Notes when a sweep must look at a shopper.
    fn schedule(&mut self, key: u128, received: Millis, bound: &CompiledRules) {
        let Self { versions, kept: MerchantState { shoppers, sweep, .. }, .. } = self;
        let Some(shopper) = shoppers.get_mut(&key) else { return };
        if shopper.due.is_some() {
            return;
        }
        let within = |rules| refund_within_ms(versions, bound, rules);
        if let Some(expiry) = shopper.next_expiry(bound, within, received + DAY_MS) {
            let due = expiry.max(received) / DAY_MS + 1;
            shopper.due = Some(due);
            sweep.entry(due).or_default().push(key);
        }
    }

    /// Frees the memory of what has expired. No answer depends on it.
    fn sweep(&mut self, received: Millis, bound: &CompiledRules) {
        let oldest = received.saturating_sub(bound.book.rules.late_ms);
        self.kept.uniques.forget_before(bound.book.zone.day(oldest.max(0)).saturating_sub(1));
        for _ in 0..SWEEP_MAX {
            let today = received / DAY_MS;
            let Some(mut first) = self.kept.sweep.first_entry().filter(|first| *first.key() <= today) else { return };
            let Some(key) = first.get_mut().pop() else {
                first.remove();
                continue;
            };
            self.expire(key, received, bound);
            let Some(shopper) = self.kept.shoppers.get_mut(&key) else { continue };
            let today = bound.book.zone.day(received);
            let within_ms = |funnel| {
                bound
                    .book
                    .rules
                    .funnels
                    .iter()
                    .find(|f| self.kept.names.text(funnel) == Some(&f.name))
                    .map_or(0, |f| f.within_ms)
            };
            shopper.funnels.retain_mut(|progress| {
                progress.expire(received, today, within_ms(progress.funnel));
                !progress.is_empty()
            });
            shopper.due = None;
            if shopper.is_empty() {
                self.kept.shoppers.remove(&key);
            } else {
                self.schedule(key, received, bound);
            }
        }
    }
}

fn minute(received: Millis) -> Minute {
    Minute::try_from(received / MINUTE_MS).unwrap_or(Minute::MAX)
}

/// How long a counted scan is remembered, by `received`.
fn repeats_keep_ms(rules: &Rules) -> i64 {
    rules.dedup.debounce_ms.max(rules.late_ms)
}

/// The key under which a closed order of a shopper is remembered permanently.
fn order_key(shopper_key: u128, number: &str) -> u128 {
    join_keys(shopper_key, digest128(&[number]))
}

fn refund_within_ms(versions: &BTreeMap<u32, Arc<CompiledRules>>, bound: &CompiledRules, rules: u32) -> i64 {
    versions.get(&rules).map_or(bound, |v| v).book.rules.attribution.refund_within_ms
}
