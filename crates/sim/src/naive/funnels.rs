//! Funnels (contract, section 7): by `received`, in log order.
use super::event::Event;
use super::rules::{Funnel, Rules};
use super::{Seen, saw};
use std::collections::{BTreeMap, BTreeSet};

fn fits(f: &Funnel, step: &str, e: &Event) -> bool {
    if e.only_late {
        return false;
    }
    let ticket = f.ticket.is_none() || e.ticket == f.ticket;
    match step {
        "return" => e.action == "visit",
        "scan" => e.counted_scan() && f.kind.as_deref().is_none_or(|k| e.kind() == Some(k)),
        "claim" | "redeem" => e.action == step && ticket,
        _ => e.action == step,
    }
}

/// (step from 1, channel, day) -> shoppers
pub(crate) fn funnel<'a>(
    rules: &Rules,
    f: &Funnel,
    events: &'a [Event],
    seen: &mut Seen,
) -> BTreeMap<(usize, String, String), BTreeSet<&'a str>> {
    let mut by_shopper: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for e in events {
        by_shopper.entry(&e.shopper).or_default().push(e);
    }
    let mut out: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for (shopper, events) in by_shopper {
        for (i, start) in events.iter().enumerate().filter(|(_, e)| fits(f, &f.steps[0], e)) {
            let cohort = (start.channel.clone().unwrap_or_default(), rules.day(start.received));
            let mut reached = 1;
            for e in &events[i + 1..] {
                if reached < f.steps.len() && e.received < start.received + f.within && fits(f, &f.steps[reached], e) {
                    reached += 1;
                }
            }
            if reached == f.steps.len() {
                saw(seen, "funnel: last step");
            } else if reached > 1 {
                saw(seen, "funnel: a middle step");
            }
            for step in 1..=reached {
                out.entry((step, cohort.0.clone(), cohort.1.clone())).or_default().insert(shopper);
            }
        }
    }
    out
}
