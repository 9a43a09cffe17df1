//! A real retailer's year through a fleet: two edges, two workers, a ledger on Postgres, a console.

use std::path::PathBuf;

use testkit::kafka::Kafka;
use testkit::postgres::Postgres;

use super::roles::{Fleet, Made, PATIENCE, send};
use crate::serve::server::get;

const BATCH: usize = 5_000;

#[test]
fn retailers_year_is_the_same_through_a_fleet() {
    let Some(journey) = std::env::var_os("MASHANG_JOURNEY").map(PathBuf::from) else {
        assert!(std::env::var_os("MASHANG_NO_SKIP").is_none(), "MASHANG_JOURNEY is not set");
        eprintln!("skipped: MASHANG_JOURNEY names no directory with the converted journey");
        return;
    };
    let (Some(kafka), Some(postgres)) = (Kafka::shared(), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let rules = journey.join("rules.toml").to_string_lossy().into_owned();
    let made = Made {
        kafka: kafka.bootstrap(),
        prefix: "journey",
        ledger: &postgres.create_database("journey"),
        rules: &rules,
        clock: "event",
        partitions: [4, 4, 2, 4],
        copies: [1, 1],
    };
    let mut fleet = Fleet::make(dir.path(), &made);
    let secrets = journey.to_string_lossy().into_owned();
    for name in ["worker-1", "worker-2"] {
        fleet.start(name, &["--secrets", &secrets, "--snapshot-every", "10s"]);
    }
    fleet.start("ledger-1", &[]);
    fleet.start("console-1", &[]);
    fleet.start("edge-1", &[]);
    fleet.start("edge-2", &[]);
    let text = std::fs::read_to_string(journey.join("events.ndjson")).expect("events");
    let lines: Vec<&str> = text.lines().collect();
    let batches: Vec<String> = lines.chunks(BATCH).map(|batch| batch.join("\n")).collect();
    send(&fleet.doors, &batches, |_| true);
    fleet.settle(PATIENCE * 3);
    let event: serde_json::Value = serde_json::from_str(lines[lines.len() - 1]).expect("JSON");
    let [id, shopper] = ["id", "shopper"].map(|key| event[key].as_str().expect("a text"));
    let result =
        get(&format!("{}/v1/results/{id}?shopper={shopper}", fleet.http("console-1")), None).expect("an answer");
    assert_eq!(result.status, 200, "{result:?}");
    for name in ["edge-1", "edge-2", "console-1", "worker-1", "worker-2", "ledger-1"] {
        fleet.stop(name);
    }
    fleet.equals_a_run_over_its_dump();
    assert_eq!(fleet.dumped_ids().len(), lines.len(), "every event that was accepted is in the log");
    println!("{} events, every export identical", lines.len());
}
