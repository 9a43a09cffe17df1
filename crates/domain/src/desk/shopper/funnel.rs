//! Funnels: how many steps the shoppers of each cohort reached (contract section 7).
//!
//! Of the attempts of one cohort that have done the same steps, only the latest is stored, because it has the most time left.
//! An attempt takes the first event that fits its next step; waiting for a later one never helps.

use serde::{Deserialize, Serialize};

use crate::desk::shopper::compiled_rules::Symbol;
use crate::model::code::Kind;
use crate::model::event::Action;
use crate::model::rules::{Funnel, RulesSeq, Step};
use crate::model::time::{Day, Millis};

/// A shopper's progress in one funnel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The funnel's name.
    pub(super) funnel: Symbol,
    /// The version number of the rules that define the funnel of this progress.
    pub(super) rules: RulesSeq,
    cohorts: Vec<Cohort>,
}

/// Attempts that began in one channel on one day.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Cohort {
    channel: Symbol,
    day: Day,
    /// Steps reached and counted.
    counted: usize,
    /// At index `n`: when the latest attempt with `n + 1` steps done began.
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

impl Progress {
    pub(super) fn new(funnel: Symbol, rules: RulesSeq) -> Self {
        Self { funnel, rules, cohorts: Vec::new() }
    }

    /// Moves every attempt that the event takes further, then starts one if it fits the first step.
    pub(super) fn pass(&mut self, funnel: &Funnel, event: &FunnelEvent<'_>, mut reached: impl FnMut(Reached)) {
        self.expire(event.received, event.day, funnel.within_ms);
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

    /// Drops cohorts of earlier days in which no attempt can continue.
    pub(super) fn expire(&mut self, received: Millis, today: Day, within_ms: i64) {
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
