//! Between the roles and the broker sits a relay that refuses the first Produce request of every new producer while later ones
//! pass: what librdkafka then reports as delivered is lost. On every output of every desk, and at the edges: nothing is lost.

use std::time::Duration;

use stand::kafka::{Kafka, Options};
use stand::postgres::Postgres;
use stand::relay::plan::{Act, When};

use super::fleet::{Fleet, Made, PATIENCE, send};
use crate::serve::steady;

/// Kafka's NOT_LEADER_OR_FOLLOWER and NOT_ENOUGH_REPLICAS.
const NOT_LEADER: i16 = 6;
const NOT_ENOUGH: i16 = 19;

#[test]
fn a_first_request_that_is_refused_loses_nothing() {
    let options = Options { relay: true, ..Options::default() };
    let (Some(kafka), Some(postgres)) = (Kafka::start(&options), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    steady::write_rules(dir.path());
    let made = Made {
        kafka: &kafka.relayed(),
        prefix: "hurt",
        ledger: &postgres.create_database("hurt"),
        rules: "rules.toml",
        clock: "event",
        partitions: [3, 3, 2, 3],
        copies: [1, 1],
    };
    let mut fleet = Fleet::make(dir.path(), &made);
    let plan = kafka.plan();
    plan.on("worker*", When::FirstOfProducer, Act::RefuseLate(NOT_LEADER, Duration::from_millis(300)));
    plan.on("edge*", When::FirstOfProducer, Act::RefuseLate(NOT_ENOUGH, Duration::from_millis(300)));
    plan.chaos("worker*", 15, 1);
    plan.chaos("edge*", 15, 2);
    for name in ["worker-1", "worker-2", "ledger-1", "edge-1", "edge-2"] {
        let more: &[&str] = if name.starts_with("worker") { &["--snapshot-every", "500ms"] } else { &[] };
        fleet.start(name, more);
    }
    let events = steady::events(12_000);
    let batches: Vec<String> = events.chunks(20).map(|batch| batch.join("\n")).collect();
    let half = batches.len() / 2;
    let again = send(&fleet.doors, &batches[..half], |_| true);
    // New producers on every output, with something to replay.
    for name in ["worker-1", "edge-1"] {
        fleet.kill(name);
        fleet.restart(name);
    }
    let again = again + send(&fleet.doors, &batches[half..], |_| true);
    fleet.settle(PATIENCE * 2);
    fleet.equals_a_run_over_its_dump();
    assert_eq!(fleet.dumped_ids().len(), events.len(), "every event that was accepted is in the log");
    let hurts = ["worker-1", "worker-2", "edge-1-0", "edge-2-0"].map(|client| plan.hurts(client).len());
    assert!(hurts.iter().all(|&n| n > 0), "nobody was hurt: {hurts:?}");
    println!("{hurts:?} requests hurt, {again} batches sent more than once, every export identical");
}
