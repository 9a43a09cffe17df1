//! Between the roles and the broker sits a relay that refuses the first Produce request of every new producer while later ones
//! pass: what librdkafka then reports as delivered is lost. On every output of every desk, and at the edges: nothing is lost.

use std::time::Duration;

use testkit::disk::SmallDisk;
use testkit::kafka::{Kafka, Options};
use testkit::postgres::Postgres;
use testkit::relay::plan::{Act, When};

use super::roles::{Fleet, Made, PATIENCE, send};
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
    assert!(hurts.iter().all(|&n| n > 0), "no fault occurred: {hurts:?}");
    println!("{hurts:?} requests hurt, {again} batches sent more than once, every export identical");
}

/// A topic that takes only small records, a wrong setting: lanes stop at the first larger answer and start again and again;
/// nothing is skipped.
#[test]
fn too_large_answer_stops_the_lane_and_recovers() {
    let (Some(kafka), Some(postgres)) = (Kafka::shared(), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    steady::write_rules(dir.path());
    let made = Made {
        kafka: kafka.bootstrap(),
        prefix: "large",
        ledger: &postgres.create_database("large"),
        rules: "rules.toml",
        clock: "event",
        partitions: [2, 2, 1, 2],
        copies: [1, 1],
    };
    let mut fleet = Fleet::make(dir.path(), &made);
    for name in ["worker-1", "ledger-1", "edge-1"] {
        fleet.start(name, &[]);
    }
    let events = steady::events(3_000);
    let batches: Vec<String> = events.chunks(100).map(|batch| batch.join("\n")).collect();
    send(&fleet.doors, &batches[..10], |_| true);
    fleet.settle(PATIENCE);
    let set = |bytes: &str| {
        let topic = format!("{}.facts", fleet.prefix);
        let config = format!("max.message.bytes={bytes}");
        let args = ["--alter", "--entity-type", "topics", "--entity-name", &topic, "--add-config", &config];
        let mut tool = kafka.tool("kafka.admin.ConfigCommand");
        let done = tool.args(["--bootstrap-server", kafka.bootstrap()]).args(args).output().expect("Java runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    set("600");
    send(&fleet.doors, &batches[10..], |_| true);
    let until = std::time::Instant::now() + PATIENCE;
    while !fleet.metric("worker", "mashang_lane_restarts_total ").iter().any(|line| !line.ends_with(" 0")) {
        assert!(std::time::Instant::now() < until, "no lane noticed");
        std::thread::sleep(Duration::from_millis(100));
    }
    set("8388608");
    fleet.settle(PATIENCE);
    fleet.equals_a_run_over_its_dump();
    assert_eq!(fleet.dumped_ids().len(), events.len(), "every event that was accepted is in the log");
}

/// A broker whose disk is full ends by itself; edges refuse politely, lanes wait, and all go on when it is back.
#[test]
fn broker_with_full_disk_stops_and_recovers() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).expect("a folder");
    let Some(_disk) = SmallDisk::mount(&disk, 96) else { return };
    let small = [("log.segment.bytes", "1048576"), ("log.index.size.max.bytes", "65536")];
    let properties = small.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let options = Options { log_dirs: vec![(1, disk.clone())], properties, ..Options::default() };
    let (Some(kafka), Some(postgres)) = (Kafka::start(&options), Postgres::shared()) else { return };
    steady::write_rules(dir.path());
    let made = Made {
        kafka: kafka.bootstrap(),
        prefix: "fulldisk",
        ledger: &postgres.create_database("fulldisk"),
        rules: "rules.toml",
        clock: "event",
        partitions: [2, 2, 1, 2],
        copies: [1, 1],
    };
    let mut fleet = Fleet::make(dir.path(), &made);
    for name in ["worker-1", "ledger-1", "edge-1"] {
        fleet.start(name, &[]);
    }
    let events = steady::events(30_000);
    let batches: Vec<String> = events.chunks(100).map(|batch| batch.join("\n")).collect();
    send(&fleet.doors, &batches[..20], |_| true);
    let filler = disk.join("filler");
    let _ = std::fs::write(&filler, vec![1; 96 << 20]);
    let (doors, rest) = (std::sync::Arc::clone(&fleet.doors), batches[20..].to_vec());
    let client = std::thread::spawn(move || send(&doors, &rest, |_| true));
    let until = std::time::Instant::now() + PATIENCE;
    while kafka.runs(1) {
        assert!(std::time::Instant::now() < until, "the broker goes on without room");
        std::thread::sleep(Duration::from_millis(100));
    }
    std::fs::remove_file(&filler).expect("a file");
    kafka.restart(1);
    let again = client.join().expect("every batch is taken in the end");
    fleet.settle(PATIENCE);
    fleet.equals_a_run_over_its_dump();
    assert_eq!(fleet.dumped_ids().len(), events.len(), "every event that was accepted is in the log");
    println!("{again} batches sent more than once, every export identical");
}
