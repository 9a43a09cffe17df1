//! What each safeguard prevents: without it some seed fails, with it the same seed is clean.

use domain::protocol::positions::FaultInjection;
use sim::plan::Switches;
use sim::run::{Family, first_wrong, run};
use worker::snapshot::Safeguards;

/// Number of seeds within which the lack of a safeguard must be detected; beyond it the test fails.
const SEEDS_MAX: u64 = 1_000;

/// A seed that fails without a safeguard, and part of the failure's text.
struct Shown {
    family: Family,
    seed: u64,
    says: &'static str,
}

const fn process(seed: u64, says: &'static str) -> Shown {
    Shown { family: Family::Process, seed, says }
}

const fn fleet(seed: u64, says: &'static str) -> Shown {
    Shown { family: Family::Fleet, seed, says }
}

fn check(name: &str, switches: Switches, all: &[Shown]) {
    for Shown { family, seed, says } in all {
        let with = run(*family, *seed, Switches::default(), false);
        assert_eq!(with.wrong, None, "{name} on, {family:?}, seed {seed}");
        let without = run(*family, *seed, switches, false).wrong;
        if without.as_ref().is_some_and(|what| what.contains(says)) {
            continue;
        }
        // The worlds of seeds have changed: another seed may show it now.
        let found = first_wrong(*family, SEEDS_MAX, switches).map(|report| (report.seed, report.wrong));
        panic!(
            "{name} off, {family:?}: seed {seed} says {without:?}, not {says:?}; the first that is wrong is {found:?}"
        );
    }
}

fn faults(faults: FaultInjection) -> Switches {
    Switches { faults, ..Switches::default() }
}

fn snapshots(snapshots: Safeguards) -> Switches {
    Switches { snapshots, ..Switches::default() }
}

/// The rule that a frame must follow the previous one still detects the fault; without both rules, numbers are wrong.
#[test]
fn without_drop_rule_seed_fails() {
    let drop = FaultInjection { drop: false, ..FaultInjection::default() };
    let detected = "the last one applied was";
    check("drop rule", faults(drop), &[process(0, detected), fleet(0, detected)]);
    let neither = faults(FaultInjection { previous: false, ..drop });
    check("drop rule and previous-one rule", neither, &[process(0, "differs"), fleet(0, "differs")]);
}

#[test]
fn without_previous_frame_rule_seed_fails() {
    let previous = FaultInjection { previous: false, ..FaultInjection::default() };
    check("previous-one rule", faults(previous), &[process(21, "differs"), fleet(0, "differs")]);
}

#[test]
fn without_expiry_at_probe_seed_fails() {
    let probe = FaultInjection { expiry_at_probe: false, ..FaultInjection::default() };
    check("expiry at the probe", faults(probe), &[process(7, "differs"), fleet(13, "differs")]);
}

#[test]
fn without_acks_before_manifest_seed_fails() {
    let acks = Safeguards { manifest_after_acks: false, ..Safeguards::default() };
    let lost = "a frame is lost";
    check("manifest after acks", snapshots(acks), &[process(22, lost), fleet(3, lost)]);
}

#[test]
fn without_manifest_last_seed_fails() {
    let last = Safeguards { manifest_last: false, ..Safeguards::default() };
    check("manifest last", snapshots(last), &[process(1, "is torn"), fleet(1, "is torn")]);
}

/// The offset that a group has committed is only informative: it may be above the snapshot that a task restores.
#[test]
fn without_start_at_manifest_seed_fails() {
    let start = Safeguards { start_at_manifest: false, ..Safeguards::default() };
    check("start at the manifest's offset", snapshots(start), &[fleet(9, "was next: the log has a hole")]);
}

#[test]
fn without_compared_positions_seed_fails() {
    let compare = Switches { compare: false, ..Switches::default() };
    check("positions compared", compare, &[process(0, "differs"), fleet(18, "differs")]);
}

/// Frames of a recreated topic are dropped as known, or applied after those of another log.
#[test]
fn without_log_id_seed_fails() {
    let log_id = Switches {
        faults: FaultInjection { log_id: false, ..FaultInjection::default() },
        snapshots: Safeguards { log_id: false, ..Safeguards::default() },
        compare: true,
    };
    let (ledger, task) = ("are read on at", "goes on in another log");
    check("log id", log_id, &[fleet(9, ledger), fleet(23, task)]);
}
