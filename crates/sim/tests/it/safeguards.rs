//! What each safeguard is for: without it some seed ends wrong, with it the same seed is clean.

use domain::protocol::positions::FaultInjection;
use sim::plan::Switches;
use sim::run::{Family, first_wrong, run};
use worker::snapshot::Safeguards;

/// Maximum number of seeds within which a safeguard that is off must be found.
const SEEDS_MAX: u64 = 1_000;

/// A seed that shows what a safeguard is for, and what is wrong then.
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
        // Worlds have changed: another seed shows it now, or none does.
        let found = first_wrong(*family, SEEDS_MAX, switches).map(|report| (report.seed, report.wrong));
        panic!(
            "{name} off, {family:?}: seed {seed} says {without:?}, not {says:?}; the first that is wrong is {found:?}"
        );
    }
}

fn guards(guards: FaultInjection) -> Switches {
    Switches { guards, ..Switches::default() }
}

fn snapshots(snapshots: Safeguards) -> Switches {
    Switches { snapshots, ..Switches::default() }
}

/// With the rule that a frame must follow the one before it, it is at least noticed; without either it is a wrong number.
#[test]
fn without_the_drop_rule() {
    let drop = FaultInjection { drop: false, ..FaultInjection::default() };
    let noticed = "the last one applied was";
    check("drop rule", guards(drop), &[process(0, noticed), fleet(0, noticed)]);
    let neither = guards(FaultInjection { previous: false, ..drop });
    check("drop rule and previous-one rule", neither, &[process(0, "differs"), fleet(0, "differs")]);
}

#[test]
fn without_the_previous_one_rule() {
    let previous = FaultInjection { previous: false, ..FaultInjection::default() };
    check("previous-one rule", guards(previous), &[process(27, "differs"), fleet(0, "differs")]);
}

#[test]
fn without_expiry_at_the_probe() {
    let probe = FaultInjection { expiry_at_probe: false, ..FaultInjection::default() };
    check("expiry at the probe", guards(probe), &[process(7, "differs"), fleet(13, "differs")]);
}

#[test]
fn without_acks_before_the_manifest() {
    let acks = Safeguards { manifest_after_acks: false, ..Safeguards::default() };
    let lost = "a frame is lost";
    check("manifest after acks", snapshots(acks), &[process(22, lost), fleet(3, lost)]);
}

#[test]
fn without_the_manifest_last() {
    let last = Safeguards { manifest_last: false, ..Safeguards::default() };
    check("manifest last", snapshots(last), &[process(1, "is torn"), fleet(1, "is torn")]);
}

/// What a group has committed is for looking at: it may be above the snapshot that is taken up.
#[test]
fn without_the_start_at_the_manifest() {
    let start = Safeguards { start_at_manifest: false, ..Safeguards::default() };
    check("start at the manifest's offset", snapshots(start), &[fleet(9, "was next: the log has a hole")]);
}

#[test]
fn without_positions_compared() {
    let compare = Switches { compare: false, ..Switches::default() };
    check("positions compared", compare, &[process(0, "differs"), fleet(18, "differs")]);
}

/// Frames of a recreated topic are dropped as known, or applied on top of those of another log.
#[test]
fn without_the_log_id() {
    let log_id = Switches {
        guards: FaultInjection { log_id: false, ..FaultInjection::default() },
        snapshots: Safeguards { log_id: false, ..Safeguards::default() },
        compare: true,
    };
    let (ledger, station) = ("are read on at", "goes on in another log");
    check("log id", log_id, &[fleet(9, ledger), fleet(23, station)]);
}
