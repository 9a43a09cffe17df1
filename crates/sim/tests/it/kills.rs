//! Kills between a draw and its grant, where stock and budget are for one or two: never exceeded, never lost.

use std::collections::BTreeMap;

use sim::kills::Place;
use sim::kills::bounds::tight_case;
use sim::run::{Family, first_wrong, run};
use sim::safeguards::Safeguard::{DropRule, ManifestAfterAcks, ManifestLast, PreviousRule};
use sim::safeguards::Without;

use super::minted::model;
use super::seeds::setting;

/// Number of kills of each family; the environment variable `MASHANG_SIM_KILLS` overrides it.
const KILLS: u64 = 300;
/// A place must have at least this part of all kills.
const PLACE_PART: u64 = 30;
/// Number of seeds within which the lack of a safeguard must be detected.
const SEEDS_MAX: u64 = 20;
/// Number of cases that together must reach every bound, and the bounds.
const CASES: u64 = 40;
const REACHED: [&str; 7] = [
    "draw: sealed, a prize",
    "draw: a first moment",
    "grant: no stock",
    "grant: no stock today",
    "grant: no budget",
    "grant: no budget today",
    "grant: else of an else",
];

fn survives_kills(family: Family, test: &str, places: &[Place]) {
    let one = setting("MASHANG_SIM_SEED");
    let wanted = if one.is_some() { 1 } else { setting("MASHANG_SIM_KILLS").unwrap_or(KILLS) };
    let mut counts: BTreeMap<Place, u64> = BTreeMap::new();
    let mut killed = 0;
    for seed in one.map_or(0..wanted, |seed| seed..seed + 1) {
        let report = run(family, seed, &[], one.is_some());
        report.lines.iter().flatten().for_each(|line| println!("{line}"));
        let again = format!("MASHANG_SIM_SEED={seed} cargo test -p sim {test} -- --nocapture");
        assert_eq!(report.wrong, None, "seed {seed}, after {killed} kills; to see it: {again}");
        for &place in places {
            *counts.entry(place).or_default() += report.counts.get(place.as_str()).unwrap_or(&0);
        }
        killed = counts.values().sum();
        if killed >= wanted {
            println!("{killed} kills in {} seeds", seed + 1);
            break;
        }
    }
    counts.iter().for_each(|(place, n)| println!("{n:8} {}", place.as_str()));
    assert!(one.is_some() || killed >= wanted, "only {killed} kills");
    let is_rare = |n: &u64| one.is_none() && *n < wanted / PLACE_PART;
    assert!(!counts.values().any(is_rare), "some place has too few kills: {counts:?}");
}

#[test]
fn process_survives_kills_between_draw_and_grant() {
    let test = "process_survives_kills_between_draw_and_grant";
    survives_kills(Family::ProcessKills, test, &Place::ALL);
}

#[test]
fn fleet_survives_kills_between_draw_and_grant() {
    let test = "fleet_survives_kills_between_draw_and_grant";
    survives_kills(Family::FleetKills, test, &Place::FLEET);
}

#[test]
fn tight_cases_reach_every_bound() {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for (what, n) in (0..CASES).flat_map(|seed| model(&tight_case(seed, 100), &[]).seen) {
        *seen.entry(what).or_default() += n;
    }
    let missed: Vec<_> = REACHED.iter().filter(|what| !seen.contains_key(*what)).collect();
    assert!(missed.is_empty(), "never happened: {missed:?}; {seen:?}");
}

fn kills_find_the_lack_of(without: Without, says: &str) {
    for family in [Family::ProcessKills, Family::FleetKills] {
        let found = first_wrong(family, SEEDS_MAX, without, says);
        println!("{family:?} without {without:?}: {:?}", found.as_ref().map(|report| (report.seed, &report.wrong)));
        assert!(found.is_some(), "{family:?}: no seed below {SEEDS_MAX} says {says:?} without {without:?}");
    }
}

/// The campaign desk grants a draw again that a restored code desk has sent again.
#[test]
fn kills_find_lack_of_frame_rules() {
    kills_find_the_lack_of(&[DropRule, PreviousRule], "awards differs from the model");
}

/// A snapshot that is ahead of the log loses the draw or the grant that was in flight.
#[test]
fn kills_find_lack_of_acks_before_manifest() {
    kills_find_the_lack_of(&[ManifestAfterAcks], "a frame is lost");
}

/// A manifest without its state leaves a desk that does not know what it has drawn or granted.
#[test]
fn kills_find_lack_of_state_before_manifest() {
    kills_find_the_lack_of(&[ManifestLast], "is torn");
}
