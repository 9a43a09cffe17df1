//! Funnels (contract, section 7): by `received`, in log order.
use super::event::Event;
use super::rules::{Funnel, Rules};
use super::{Seen, saw};
use std::collections::{BTreeMap, BTreeSet};

struct Attempt {
    channel: String,
    received: i64,
    reached: usize,
    ended: bool,
}

impl Attempt {
    fn is_open(&self, f: &Funnel, now: i64) -> bool {
        !self.ended && self.reached < f.steps.len() && now < self.received + f.within
    }
}

pub(crate) fn fits(f: &Funnel, step: &str, e: &Event) -> bool {
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
        let mut attempts: Vec<Attempt> = vec![];
        for e in events {
            for a in attempts.iter_mut().filter(|a| a.is_open(f, e.received)) {
                if fits(f, &f.steps[a.reached], e) {
                    a.reached += 1;
                }
            }
            if !fits(f, &f.steps[0], e) {
                continue;
            }
            let channel = e.cohort_channel.clone().unwrap_or_default();
            attempts.push(Attempt { channel, received: e.received, reached: 1, ended: false });
            let open: Vec<usize> = (0..attempts.len()).filter(|&i| attempts[i].is_open(f, e.received)).collect();
            if open.len() > 256 {
                saw(seen, "funnel: too many attempts");
                attempts[open[0]].ended = true;
            }
        }
        for a in attempts {
            if a.reached == f.steps.len() {
                saw(seen, "funnel: last step");
            } else if a.reached > 1 {
                saw(seen, "funnel: a middle step");
            }
            for step in 1..=a.reached {
                out.entry((step, a.channel.clone(), rules.day(a.received))).or_default().insert(shopper);
            }
        }
    }
    out
}
