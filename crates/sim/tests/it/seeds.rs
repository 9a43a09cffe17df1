//! After any faults, the ledger of a world equals that of the naive model.

use std::collections::BTreeMap;

use sim::run::{Family, run};

/// Number of seeds of each family; the environment variable MASHANG_SIM_SEEDS overrides it.
const PROCESS_SEEDS: u64 = 100;
const FLEET_SEEDS: u64 = 100;

/// Kinds of steps that must occur in some world, or the seeds test less than they should.
const PROCESS_KINDS: [&str; 18] = [
    "ack lost",
    "crash",
    "crash in a round",
    "edge clock",
    "edge crash",
    "full disk",
    "failed snapshot",
    "ledger crash",
    "ledger moved",
    "ledger zombie",
    "log clock",
    "marker again",
    "old snapshot",
    "replace",
    "retry",
    "snapshot",
    "twice",
    "zombie",
];
const FLEET_KINDS: [&str; 32] = [
    "ack lost",
    "as of its positions",
    "behaviour 2",
    "edge clock",
    "edge crash",
    "edge sends again",
    "fleet of one path",
    "fleet of several paths",
    "failed snapshot",
    "lane begins again",
    "ledger crash",
    "ledger frozen",
    "ledger moved",
    "ledger rebalance",
    "log clock",
    "lost, reported delivered",
    "marker again",
    "no frame",
    "old snapshot",
    "overtaken",
    "published",
    "publisher begins again",
    "publisher crash",
    "rebalance",
    "recreated",
    "retained",
    "started over",
    "truncated",
    "unknown outcome",
    "worker crash",
    "worker frozen",
    "worker upgraded",
];

/// Results of scans that must occur in some world of each family.
const RESULT_KINDS: [&str; 14] = [
    "already-claimed",
    "counted",
    "ended",
    "excluded",
    "inactive",
    "limit",
    "no-campaign",
    "not-started",
    "out-of-area",
    "prize",
    "repeat",
    "results of the ledger",
    "thanks",
    "yours",
];

/// Seeds that have found errors. Processes: a published snapshot that a second writer tore; a segment that could not be
/// started and was left on the disk; a late snapshot that is older than the start of the log; a reader that was overtaken by
/// retention and raised no alarm. Fleets: a frame with a damaged version byte that was taken for a newer build's; a recreated
/// log whose record before a task's position differed only in its append time, and one that ended exactly there; a state of
/// a process that knew newer rules; a later answer that was acknowledged first and taken for the earlier one; a log that was
/// truncated while a lane read it, and the lane continued (three).
const FOUND: [(Family, u64); 17] = [
    (Family::Process, 8),
    (Family::Process, 28),
    (Family::Process, 492),
    (Family::Process, 666),
    (Family::Process, 817),
    (Family::Process, 1_934),
    (Family::Process, 3_945),
    (Family::Fleet, 16),
    (Family::Fleet, 26),
    (Family::Fleet, 75),
    (Family::Fleet, 317),
    (Family::Fleet, 2_309),
    (Family::Fleet, 2_661),
    (Family::Fleet, 5_093),
    (Family::Fleet, 8_989),
    (Family::Fleet, 9_727),
    (Family::Fleet, 7_846),
];

pub(super) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn all_clean(family: Family, test: &str, seeds: u64, kinds: &[&str]) {
    let one = setting("MASHANG_SIM_SEED");
    let range = one.map_or_else(|| 0..setting("MASHANG_SIM_SEEDS").unwrap_or(seeds), |seed| seed..seed + 1);
    let count = range.end - range.start;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for seed in range {
        let report = run(family, seed, &[], one.is_some());
        if let (Some(lines), true) = (&report.lines, report.wrong.is_some()) {
            lines.iter().for_each(|line| println!("{line}"));
        }
        for (what, n) in &report.counts {
            *counts.entry(what).or_default() += n;
        }
        if let Some(what) = report.wrong {
            let again = format!("MASHANG_SIM_SEED={seed} cargo test -p sim {test} -- --nocapture");
            wrong.push(format!("seed {seed}: {what}\n  to see it: {again}"));
        }
    }
    println!("what happened in {count} seeds:");
    for (what, n) in &counts {
        println!("{n:8} {what}");
    }
    let missed: Vec<_> = kinds.iter().chain(&RESULT_KINDS).filter(|what| !counts.contains_key(*what)).collect();
    assert!(missed.is_empty() || count < seeds, "never happened: {missed:?}");
    assert!(wrong.is_empty(), "{} of {count} seeds:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_process_seed_is_clean() {
    all_clean(Family::Process, "every_process_seed_is_clean", PROCESS_SEEDS, &PROCESS_KINDS);
}

#[test]
fn every_fleet_seed_is_clean() {
    all_clean(Family::Fleet, "every_fleet_seed_is_clean", FLEET_SEEDS, &FLEET_KINDS);
}

#[test]
fn seeds_that_found_errors_stay_clean() {
    for (family, seed) in FOUND {
        assert_eq!(run(family, seed, &[], false).wrong, None, "{family:?}, seed {seed}");
    }
}

#[test]
fn two_runs_of_one_seed_are_equal() {
    for family in [Family::Process, Family::Fleet, Family::ProcessKills, Family::FleetKills] {
        let report = |seed| run(family, seed, &[], true);
        for seed in 0..8 {
            let (first, second) = (report(seed), report(seed));
            for (first, second) in first.lines.iter().flatten().zip(second.lines.iter().flatten()) {
                assert_eq!(first, second, "{family:?}, seed {seed}");
            }
            assert!(first == second, "{family:?}, seed {seed}: {:x} and {:x}", first.trace_hash, second.trace_hash);
        }
        assert_ne!(report(0).trace_hash, report(1).trace_hash);
    }
}
