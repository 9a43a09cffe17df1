//! Funnels: how many steps the shoppers of each cohort reached (contract section 7).
//!
//! An attempt takes the first event that fits its next step; waiting for a later one never helps. A shopper has at most
//! [`ATTEMPTS_MAX`] attempts open in a funnel; beyond it the oldest ends.
//!
//! Behaviour 1 has no such bound. It stores, of the attempts of one cohort that have done the same steps, only the latest, because
//! that has the most time left.

use std::collections::VecDeque;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::desk::shopper::compiled_rules::Symbol;
use crate::desk::shopper::money::refunds::reserve_one;
use crate::model::code::Kind;
use crate::model::event::Action;
use crate::model::rules::{FUNNEL_STEPS_MAX, Funnel, RulesSeq, Step};
use crate::model::time::{Day, Millis};

/// Maximum number of open attempts of a shopper in a funnel.
pub(super) const ATTEMPTS_MAX: usize = 256;
/// Number of cohorts from which on an index finds them; fewer are found faster by looking at each.
const INDEXED_FROM: usize = 16;

/// A shopper's progress in one funnel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The funnel's name.
    pub(super) funnel: Symbol,
    /// The version number of the rules that define the funnel of this progress.
    pub(super) rules: RulesSeq,
    cohorts: Vec<Cohort>,
    /// Open attempts, the oldest first; none under behaviour 1. A snapshot has them in a list of their own.
    #[serde(skip)]
    pub(super) attempts: VecDeque<Attempt>,
    #[serde(skip)]
    by_cohort: Option<Box<HashMap<(Symbol, Day), u32>>>,
    /// The day on which old cohorts were dropped last.
    #[serde(skip)]
    dropped: Day,
}

/// An attempt that can go on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Attempt {
    begun: Millis,
    /// Its place among the cohorts.
    cohort: u32,
    /// Number of steps done.
    done: u8,
}

/// Attempts that began in one channel on one day.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Cohort {
    channel: Symbol,
    day: Day,
    /// Steps reached and counted.
    counted: usize,
    /// Under behaviour 1, at index `n`: when the latest attempt with `n + 1` steps done began.
    begun: Vec<Option<Millis>>,
}

/// What funnels need of an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct FunnelEvent<'a> {
    pub(super) action: Action,
    /// The kind of the code, for a counted scan.
    pub(super) scanned: Option<Kind>,
    pub(super) ticket: Option<&'a str>,
    pub(super) channel: Symbol,
    pub(super) received: Millis,
    /// The day of `received`.
    pub(super) day: Day,
}

/// A step (from 0) that a shopper of a cohort reached for the first time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    pub(super) step: usize,
    pub(super) channel: Symbol,
    pub(super) day: Day,
}

fn fits(funnel: &Funnel, step: Step, event: &FunnelEvent<'_>) -> bool {
    let ticket = || funnel.ticket.is_none() || funnel.ticket.as_deref() == event.ticket;
    match step {
        Step::Visit | Step::Return => event.action == Action::Visit,
        Step::Scan => event.scanned.is_some_and(|kind| funnel.kind.is_none_or(|k| k == kind)),
        Step::Follow => event.action == Action::Follow,
        Step::Join => event.action == Action::Join,
        Step::Claim => event.action == Action::Claim && ticket(),
        Step::Redeem => event.action == Action::Redeem && ticket(),
        Step::Order => event.action == Action::Order,
    }
}

/// Whether an event fits any step of a funnel.
pub(super) fn concerns(funnel: &Funnel, event: &FunnelEvent<'_>) -> bool {
    funnel.steps.iter().any(|&step| fits(funnel, step, event))
}

/// Whether an event begins an attempt in a funnel.
pub(super) fn begins(funnel: &Funnel, event: &FunnelEvent<'_>) -> bool {
    fits(funnel, funnel.steps[0], event)
}

impl Progress {
    pub(super) fn new(funnel: Symbol, rules: RulesSeq) -> Self {
        Self { funnel, rules, cohorts: Vec::new(), attempts: VecDeque::new(), by_cohort: None, dropped: 0 }
    }

    /// How many kept things the next event makes it look at: its attempts, under behaviour 1 its cohorts.
    pub(super) fn looks(&self) -> u64 {
        let is_bounded = self.cohorts.first().is_none_or(|cohort| cohort.begun.is_empty());
        (if is_bounded { self.attempts.len() } else { self.cohorts.len() }) as u64
    }

    /// Moves every attempt that the event takes further, then starts one if it fits the first step; returns whether the oldest
    /// one ended because there were too many.
    pub(super) fn pass(&mut self, funnel: &Funnel, event: &FunnelEvent<'_>, mut reached: impl FnMut(Reached)) -> bool {
        self.expire(event.received, event.day, funnel.within_ms);
        let Self { cohorts, attempts, .. } = self;
        let steps = funnel.steps.len();
        let fitting: [bool; FUNNEL_STEPS_MAX] =
            std::array::from_fn(|step| funnel.steps.get(step).is_some_and(|&step| fits(funnel, step, event)));
        if fitting[1..].contains(&true) {
            attempts.retain_mut(|attempt| {
                let step = usize::from(attempt.done);
                if fitting[step] {
                    attempt.done += 1;
                    cohorts[attempt.cohort as usize].count(step, &mut reached);
                }
                usize::from(attempt.done) < steps
            });
        }
        if !fitting[0] {
            return false;
        }
        let cohort = self.cohort(event.channel, event.day);
        self.cohorts[cohort as usize].count(0, &mut reached);
        if steps == 1 {
            return false;
        }
        let ends = self.attempts.len() == ATTEMPTS_MAX;
        if ends {
            self.attempts.pop_front();
        }
        self.attempts.push_back(Attempt { begun: event.received, cohort, done: 1 });
        ends
    }

    /// Makes attempts of those that behaviour 1 stored.
    fn take_over(&mut self) {
        // It stored some for each cohort, and later cohorts have none.
        if self.cohorts.first().is_none_or(|cohort| cohort.begun.is_empty()) {
            return;
        }
        let mut attempts = Vec::new();
        for (cohort, stored) in (0..).zip(&mut self.cohorts) {
            let begun = std::mem::take(&mut stored.begun);
            // The last one is complete.
            let open = begun.len().saturating_sub(1);
            let begun = (1..).zip(begun).take(open);
            attempts.extend(begun.filter_map(|(done, begun)| Some(Attempt { begun: begun?, cohort, done })));
        }
        attempts.sort_by_key(|attempt| attempt.begun);
        self.attempts = attempts.split_off(attempts.len().saturating_sub(ATTEMPTS_MAX)).into();
    }

    /// The place of a cohort, which is added if there is none.
    fn cohort(&mut self, channel: Symbol, day: Day) -> u32 {
        let Self { cohorts, by_cohort, .. } = self;
        let place = |at: usize| u32::try_from(at).expect("fewer than 2^32 cohorts");
        let next = place(cohorts.len());
        let at = if cohorts.len() < INDEXED_FROM {
            cohorts.iter().position(|c| c.channel == channel && c.day == day).map_or(next, place)
        } else {
            let index = by_cohort.get_or_insert_with(|| {
                Box::new((0..).zip(&*cohorts).map(|(at, c)| ((c.channel, c.day), at)).collect())
            });
            *index.entry((channel, day)).or_insert(next)
        };
        if at == next {
            reserve_one(cohorts);
            cohorts.push(Cohort { channel, day, counted: 0, begun: Vec::new() });
        }
        at
    }

    /// Drops attempts that cannot go on, and once a day cohorts of earlier days without an attempt.
    pub(super) fn expire(&mut self, received: Millis, today: Day, within_ms: i64) {
        self.take_over();
        while self.attempts.front().is_some_and(|attempt| received >= attempt.begun.saturating_add(within_ms)) {
            self.attempts.pop_front();
        }
        if self.dropped == today {
            return;
        }
        self.dropped = today;
        let mut used = vec![false; self.cohorts.len()];
        self.attempts.iter().for_each(|attempt| used[attempt.cohort as usize] = true);
        // A day may come again where clocks go back over midnight.
        let keeps = |at: usize, cohort: &Cohort| cohort.day >= today - 1 || used[at];
        let mut places = Vec::with_capacity(used.len());
        let mut kept = 0;
        for (at, cohort) in self.cohorts.iter().enumerate() {
            places.push(kept);
            kept += u32::from(keeps(at, cohort));
        }
        if kept as usize == used.len() {
            return;
        }
        self.attempts.iter_mut().for_each(|attempt| attempt.cohort = places[attempt.cohort as usize]);
        let mut at = 0;
        self.cohorts.retain(|cohort| {
            at += 1;
            keeps(at - 1, cohort)
        });
        self.by_cohort = None;
    }

    /// The channels of its cohorts, and its own name.
    pub(super) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.cohorts.iter().map(|cohort| cohort.channel).chain([self.funnel])
    }

    /// Under behaviour 1: moves every attempt that the event takes further, then starts one if it fits the first step.
    pub(super) fn pass_unbounded(
        &mut self,
        funnel: &Funnel,
        event: &FunnelEvent<'_>,
        mut reached: impl FnMut(Reached),
    ) {
        self.expire_unbounded(event.received, event.day, funnel.within_ms);
        let steps = funnel.steps.len();
        for cohort in &mut self.cohorts {
            // The last step first, so that an event moves each attempt by one step only.
            for step in (1..steps).rev() {
                if !fits(funnel, funnel.steps[step], event) {
                    continue;
                }
                let alive = |begun: &Millis| event.received < begun + funnel.within_ms;
                let Some(begun) = cohort.begun[step - 1].filter(alive) else { continue };
                cohort.begun[step - 1] = None;
                cohort.begun[step] = cohort.begun[step].max(Some(begun));
                cohort.count(step, &mut reached);
            }
        }
        if fits(funnel, funnel.steps[0], event) {
            let same = |c: &Cohort| c.channel == event.channel && c.day == event.day;
            let at = self.cohorts.iter().position(same).unwrap_or_else(|| {
                self.cohorts.push(Cohort {
                    channel: event.channel,
                    day: event.day,
                    counted: 0,
                    begun: vec![None; steps],
                });
                self.cohorts.len() - 1
            });
            self.cohorts[at].begun[0] = Some(event.received);
            self.cohorts[at].count(0, &mut reached);
        }
    }

    /// Under behaviour 1: drops cohorts of earlier days in which no attempt can continue.
    pub(super) fn expire_unbounded(&mut self, received: Millis, today: Day, within_ms: i64) {
        // A day may come again where clocks go back over midnight.
        self.cohorts
            .retain(|c| c.day >= today - 1 || c.begun.iter().flatten().any(|begun| received < begun + within_ms));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cohorts.is_empty()
    }
}

impl Cohort {
    fn count(&mut self, step: usize, reached: &mut impl FnMut(Reached)) {
        if self.counted <= step {
            self.counted = step + 1;
            reached(Reached { step, channel: self.channel, day: self.day });
        }
    }
}
