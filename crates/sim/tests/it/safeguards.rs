//! What each safeguard is for: without it some seed ends wrong, with it the same seed is clean.

use domain::flow::Guards;
use sim::plan::Switches;
use sim::run::{Family, first_wrong};
use worker::snapshot::Safeguards;

/// Every safeguard that is off must be found within so many seeds.
const SEEDS_MAX: u64 = 1_000;

fn found(name: &str, switches: Switches) -> String {
    let found =
        first_wrong(Family::Process, SEEDS_MAX, switches).unwrap_or_else(|| panic!("{name} off: no seed shows it"));
    let what = found.wrong.expect("it is wrong");
    println!("{name} off: found by seed {}: {what}", found.seed);
    what
}

fn guards(guards: Guards) -> Switches {
    Switches { guards, ..Switches::default() }
}

fn snapshots(snapshots: Safeguards) -> Switches {
    Switches { snapshots, ..Switches::default() }
}

#[test]
fn without_the_drop_rule() {
    let drop = Guards { drop: false, ..Guards::default() };
    // With the previous-one rule alone it is at least noticed; without either it is a wrong number.
    assert!(found("drop rule", guards(drop)).contains("the last one applied was"));
    let neither = Guards { previous: false, ..drop };
    assert!(found("drop rule and previous-one rule", guards(neither)).contains("differs"));
}

#[test]
fn without_the_previous_one_rule() {
    let what = found("previous-one rule", guards(Guards { previous: false, ..Guards::default() }));
    assert!(what.contains("differs"), "{what}");
}

#[test]
fn without_expiry_at_the_probe() {
    let what = found("expiry at the probe", guards(Guards { expiry_at_probe: false, ..Guards::default() }));
    assert!(what.contains("differs"), "{what}");
}

#[test]
fn without_acks_before_the_manifest() {
    let what =
        found("manifest after acks", snapshots(Safeguards { manifest_after_acks: false, ..Safeguards::default() }));
    assert!(what.contains("a frame is lost"), "{what}");
}

#[test]
fn without_the_manifest_last() {
    let what = found("manifest last", snapshots(Safeguards { manifest_last: false, ..Safeguards::default() }));
    assert!(what.contains("is torn"), "{what}");
}

#[test]
fn without_positions_compared() {
    let what = found("positions compared", Switches { compare: false, ..Switches::default() });
    assert!(what.contains("differs"), "{what}");
}
