//! The protocol under faults: any cut of the stream into frames, any crash and replay from any earlier state, any zombie
//! that goes on gives the same ledger; a lost frame is an alarm, never a wrong number.
//!
//! - `world`: a log, desks and a ledger on one thread, and their faults
//! - `bounds`: what one shopper or one sender can make the shopper desk keep
//! - `markers`: rules that change under a desk

mod bounds;
mod markers;
mod world;

use std::collections::BTreeMap;

use domain::desk::shopper::ShopperDesk;
use domain::model::address::Topic;
use domain::protocol::positions::ProtocolError;
use domain::protocol::stage::{Stage, StageOptions};
use ledger::error::LedgerError;
use ledger::export::Table;
use proptest::prelude::*;
use sim::generate::{Case, generate};
use sim::naive;
use sim::safeguards::Safeguard::{DropRule, PreviousRule};
use sim::safeguards::Without;

use world::{AnyStage, Op, World, unique};

const EVENTS: usize = 120;
/// Maximum number of cases until the lack of a safeguard is found; beyond it the test fails.
const CASES_MAX: u64 = 200;

/// Tables that do not depend on races between shoppers for a code or a prize.
const WITHOUT_RACES: [Table; 4] = [Table::Postings, Table::Orders, Table::Members, Table::Funnels];

fn undisturbed(case: &Case, tables: &[Table]) -> String {
    World::new(case, &unique(), &[1], 1, &[]).settle(tables).expect("nothing stops an undisturbed run")
}

fn ops() -> impl Strategy<Value = Op> {
    let actor = || 0..5_usize;
    prop_oneof![
        6 => (actor(), 1..30_usize).prop_map(|(actor, records)| Op::Step { actor, records }),
        2 => actor().prop_map(|actor| Op::Keep { actor }),
        2 => (actor(), 0..3_usize, 0..8_usize).prop_map(|(actor, answers, kept)| Op::Crash { actor, answers, kept }),
        2 => (actor(), 1..12_usize).prop_map(|(actor, records)| Op::Zombie { actor, records }),
        1 => actor().prop_map(|actor| Op::Twice { actor }),
        1 => Just(Op::Commit),
        1 => Just(Op::LedgerCrash),
        1 => (0..20_usize).prop_map(|records| Op::LedgerZombie { records }),
    ]
}

/// The end of a run under faults.
enum End {
    Ledger(String),
    Alarm(LedgerError),
}

fn under_fire(case: &Case, cuts: &[usize], ops: &[Op], scans: u16, without: Without, tables: &[Table]) -> (End, bool) {
    let mut world = World::new(case, &unique(), cuts, scans, without);
    for &op in ops {
        if let Err(alarm) = world.act(op) {
            return (End::Alarm(alarm), world.lost);
        }
    }
    let lost = world.lost;
    (world.settle(tables).map_or_else(End::Alarm, End::Ledger), lost)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn crashes_replays_and_zombies_change_nothing(
        seed in 0..2_000_u64,
        cuts in proptest::collection::vec(1..40_usize, 1..8),
        ops in proptest::collection::vec(ops(), 0..60),
        scans in prop_oneof![2 => Just(1_u16), 1 => Just(3)],
    ) {
        let case = generate(seed, EVENTS);
        let tables = if scans == 1 { &Table::ALL[..] } else { &WITHOUT_RACES };
        match under_fire(&case, &cuts, &ops, scans, &[], tables) {
            (End::Ledger(found), _) => prop_assert_eq!(found, undisturbed(&case, tables)),
            (End::Alarm(alarm), _) => prop_assert!(false, "stopped: {}", alarm),
        }
    }

    #[test]
    fn lost_frame_is_an_alarm_not_wrong_numbers(
        seed in 0..2_000_u64,
        ops in proptest::collection::vec(prop_oneof![8 => ops(), 1 => (0..5_usize).prop_map(|actor| Op::Lose { actor })], 0..60),
    ) {
        let case = generate(seed, EVENTS);
        match under_fire(&case, &[3], &ops, 1, &[], &Table::ALL) {
            // The loss of the last frame of a chain is not noticed; only a next frame would show it.
            (End::Ledger(found), lost) => prop_assert!(lost || found == undisturbed(&case, &Table::ALL)),
            (End::Alarm(alarm), lost) => prop_assert!(lost, "stopped without a loss: {}", alarm),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_replay_from_below_a_lost_frame_heals(
        seed in 0..2_000_u64,
        ops in proptest::collection::vec(prop_oneof![8 => ops(), 1 => (0..5_usize).prop_map(|actor| Op::Lose { actor })], 0..60),
    ) {
        let case = generate(seed, EVENTS);
        let mut world = World::new(&case, &unique(), &[3], 1, &[]);
        let origins: Vec<AnyStage> = world.actors.iter().map(|a| a.now.clone()).collect();
        for &op in &ops { world.act(op).expect("nothing stops"); }
        for &op in &ops {
            let Op::Lose { actor } = op else { continue };
            let actor = actor % origins.len();
            world.actors[actor].now = origins[actor].clone();
        }
        prop_assert_eq!(world.settle(&Table::ALL).expect("nothing stops"), undisturbed(&case, &Table::ALL));
    }
}

/// The first case in which the lack of safeguards gives a wrong ledger without an alarm.
fn first_wrong(without: Without, ops: &[Op]) -> Option<u64> {
    (0..CASES_MAX).find(|&seed| {
        let case = generate(seed, EVENTS);
        let (end, _) = under_fire(&case, &[3], ops, 1, without, &Table::ALL);
        matches!(end, End::Ledger(found) if found != undisturbed(&case, &Table::ALL))
    })
}

#[test]
fn without_the_drop_rule_a_replay_counts_twice() {
    let ops = [Op::Step { actor: 0, records: 20 }, Op::Crash { actor: 0, answers: 9, kept: 0 }];
    println!("found by case {:?}", first_wrong(&[DropRule, PreviousRule], &ops).expect("a wrong ledger"));
    // With the previous-one rule alone it is at least noticed.
    let (end, _) = under_fire(&generate(1, EVENTS), &[3], &ops, 1, &[DropRule], &Table::ALL);
    assert!(matches!(end, End::Alarm(LedgerError::Protocol(ProtocolError::Skipped { .. }))));
}

#[test]
fn without_previous_one_rule_lost_frame_goes_unnoticed() {
    let ops = [Op::Step { actor: 0, records: 10 }, Op::Lose { actor: 0 }, Op::Step { actor: 0, records: 10 }];
    println!("found by case {:?}", first_wrong(&[PreviousRule], &ops).expect("a wrong ledger"));
    let case = generate(1, EVENTS);
    let mut world = World::new(&case, &unique(), &[3], 1, &[]);
    ops.into_iter().for_each(|op| world.act(op).expect("reads on"));
    world.step(1, usize::MAX).expect("reads on");
    let AnyStage::Code(desk, _) = &world.actors[1].now else { unreachable!() };
    let alarm = desk.positions().missing().next().expect("an alarm").to_string();
    assert!(alarm.contains("a frame is lost"), "{alarm}");
}

#[test]
fn a_second_ledger_writer_changes_nothing() {
    let case = generate(1, EVENTS);
    let mut world = World::new(&case, &unique(), &[3], 1, &[]);
    world.step(0, usize::MAX).expect("no alarm");
    let late = world.ledger();
    world.ledgers.push(late);
    world.read_facts(0, 5).expect("no alarm");
    world.read_facts(1, 9).expect("no alarm");
    world.ledgers[0].commit().expect("the first one commits");
    assert!(matches!(world.ledgers[1].commit(), Err(LedgerError::Moved { facts: 0 })));
    // It counts five frames twice if it finds the positions that it began from, as if nothing compared them.
    let mut zombie = world.ledgers.pop().expect("the second one");
    world.disturb("DELETE FROM positions; DELETE FROM progress");
    zombie.commit().expect("nothing holds it");
    world.ledgers[0] = world.ledger();
    assert_ne!(world.settle(&Table::ALL).expect("no alarm"), undisturbed(&case, &Table::ALL));
}

#[test]
fn a_commit_that_fails_may_be_tried_again() {
    let case = generate(1, EVENTS);
    let mut world = World::new(&case, &unique(), &[3], 1, &[]);
    world.step(0, usize::MAX).expect("no alarm");
    world.read_facts(0, 9).expect("no alarm");
    world.disturb("CREATE TRIGGER no BEFORE INSERT ON progress BEGIN SELECT RAISE(ABORT, 'no room'); END");
    assert!(world.ledgers[0].commit().is_err());
    world.disturb("DROP TRIGGER no");
    world.ledgers[0].commit().expect("there is room again");
    assert_eq!(world.settle(&Table::ALL).expect("no alarm"), undisturbed(&case, &Table::ALL));
}

#[test]
fn foreign_log_diverging_desk_torn_record_are_reported() {
    let case = generate(1, EVENTS);
    let world = || {
        let mut world = World::new(&case, &unique(), &[3], 1, &[]);
        world.step(0, 12).expect("no alarm");
        world
    };
    let stop = |world: &mut World| world.read_facts(0, usize::MAX).expect_err("an alarm").to_string();

    let mut torn = world();
    let record = torn.log.get_mut(&(Topic::Facts, 0)).and_then(|log| log.get_mut(4)).expect("a record");
    let middle = record.len() / 2;
    record[middle] ^= 1;
    assert!(stop(&mut torn).contains("facts partition 0 offset 4: the frame's checksum"));

    let mut recreated = world();
    let other = Stage::new(StageOptions::default(), ShopperDesk::default(), 7, 0, recreated.partitions);
    recreated.actors[0].now = AnyStage::Shopper(Box::new(other), 0);
    recreated.step(0, 20).expect("the desk itself notices nothing");
    assert!(stop(&mut recreated).contains("the topic was recreated"));

    let mut diverging = world();
    let without_first = diverging.log.get(&(Topic::Scans, 0)).map(|log| log[log.len() - 20].clone()).expect("records");
    let scans = diverging.log.get_mut(&(Topic::Scans, 0)).expect("scans");
    scans[6] = without_first;
    diverging.actors[0].now = diverging.actors[0].kept[0].clone();
    diverging.step(0, usize::MAX).expect("the desk itself notices nothing");
    assert!(stop(&mut diverging).contains("two desks gave different answers"));
}

#[test]
fn the_generator_reaches_every_action_and_every_outcome() {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..120 {
        let case = generate(seed, EVENTS);
        let dir = tempfile::tempdir().expect("a directory");
        crate::differential::write(&case, dir.path());
        let files: Vec<_> = case.rules_files.iter().map(Into::into).collect();
        for (what, n) in naive::run(dir.path(), &files, &BTreeMap::new(), &case.lines).seen {
            *seen.entry(what).or_default() += n;
        }
    }
    for (what, n) in &seen {
        println!("{n:8} {what}");
    }
    let wanted = [
        "action: scan",
        "action: visit",
        "action: follow",
        "action: join",
        "action: claim",
        "action: redeem",
        "action: order",
        "action: refund",
        "draw: no-campaign",
        "draw: not-started",
        "draw: ended",
        "draw: out-of-area",
        "draw: yours",
        "draw: limit",
        "draw: already-claimed",
        "draw: nothing drawn",
        "draw: prize",
        "draw: thanks",
        "draw: else granted",
        "grant: no stock",
        "grant: no budget",
        "grant: limit_wins",
        "refund before order",
        "late",
        "duplicate",
        "scan: repeat",
    ];
    for what in wanted {
        assert!(seen.contains_key(what), "never reached: {what}");
    }
}
