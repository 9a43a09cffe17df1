//! What each safeguard prevents: without it some seed fails, with it the same seed is clean.

use sim::run::{Family, first_wrong, run};
use sim::safeguards::Safeguard::{
    ComparedPositions, DropRule, ExpiryAtProbe, LogId, ManifestAfterAcks, ManifestLast, PreviousRule, StartAtManifest,
};
use sim::safeguards::Without;

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

fn check(without: Without, all: &[Shown]) {
    for Shown { family, seed, says } in all {
        let with = run(*family, *seed, &[], false);
        assert_eq!(with.wrong, None, "with {without:?}, {family:?}, seed {seed}");
        let wrong = run(*family, *seed, without, false).wrong;
        if wrong.as_ref().is_some_and(|what| what.contains(says)) {
            continue;
        }
        // The worlds of seeds have changed: another seed may show it now.
        let found = first_wrong(*family, SEEDS_MAX, without, says).map(|report| (report.seed, report.wrong));
        panic!(
            "without {without:?}, {family:?}: seed {seed} says {wrong:?}, not {says:?}; the first that says it is {found:?}"
        );
    }
}

/// The rule that a frame must follow the previous one still detects the fault; without both rules, numbers are wrong.
#[test]
fn without_drop_rule_seed_fails() {
    let detected = "the last one applied was";
    check(&[DropRule], &[process(0, detected), fleet(0, detected)]);
    check(&[DropRule, PreviousRule], &[process(0, "differs"), fleet(0, "differs")]);
}

#[test]
fn without_previous_frame_rule_seed_fails() {
    check(&[PreviousRule], &[process(21, "differs"), fleet(0, "differs")]);
}

#[test]
fn without_expiry_at_probe_seed_fails() {
    check(&[ExpiryAtProbe], &[process(10, "differs"), fleet(1, "differs")]);
}

#[test]
fn without_acks_before_manifest_seed_fails() {
    let lost = "a frame is lost";
    check(&[ManifestAfterAcks], &[process(6, lost), fleet(3, lost)]);
}

#[test]
fn without_manifest_last_seed_fails() {
    check(&[ManifestLast], &[process(1, "is torn"), fleet(0, "is torn")]);
}

/// The offset that a group has committed is only informative: it may be above the snapshot that a task restores.
#[test]
fn without_start_at_manifest_seed_fails() {
    check(&[StartAtManifest], &[fleet(9, "was next: the log has a hole")]);
}

#[test]
fn without_compared_positions_seed_fails() {
    check(&[ComparedPositions], &[process(0, "differs"), fleet(18, "differs")]);
}

/// Frames of a recreated topic are dropped as known, or applied after those of another log.
#[test]
fn without_log_id_seed_fails() {
    let (ledger, task) = ("are read on at", "goes on in another log");
    check(&[LogId], &[fleet(94, ledger), fleet(88, task)]);
}
