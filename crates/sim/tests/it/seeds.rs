//! Whatever befalls a world, its ledger is the naive model's.

use std::collections::BTreeMap;

use sim::plan::Switches;
use sim::run::run;

const SEEDS: u64 = 150;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn every_seed_is_clean() {
    let one = setting("MASHANG_SIM_SEED");
    let seeds = one.map_or_else(|| 0..setting("MASHANG_SIM_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let count = seeds.end - seeds.start;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for seed in seeds {
        let report = run(seed, Switches::default(), one.is_some());
        if let (Some(lines), true) = (&report.lines, report.wrong.is_some()) {
            lines.iter().for_each(|line| println!("{line}"));
        }
        for (what, n) in &report.counts {
            *counts.entry(what).or_default() += n;
        }
        if let Some(what) = report.wrong {
            let again = format!("MASHANG_SIM_SEED={seed} cargo test -p sim every_seed_is_clean -- --nocapture");
            wrong.push(format!("seed {seed}: {what}\n  to see it: {again}"));
        }
    }
    println!("what happened in {count} seeds:");
    for (what, n) in &counts {
        println!("{n:8} {what}");
    }
    assert!(wrong.is_empty(), "{} of {count} seeds:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn two_runs_of_one_seed_tell_the_same() {
    for seed in 0..8 {
        let (first, second) = (run(seed, Switches::default(), true), run(seed, Switches::default(), true));
        for (first, second) in first.lines.iter().flatten().zip(second.lines.iter().flatten()) {
            assert_eq!(first, second, "seed {seed}");
        }
        assert!(first == second, "seed {seed}: {:x} and {:x}", first.trace_hash, second.trace_hash);
    }
    assert_ne!(run(0, Switches::default(), false).trace_hash, run(1, Switches::default(), false).trace_hash);
}
