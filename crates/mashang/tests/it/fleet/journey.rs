//! A real retailer's year through a fleet: two edges, two workers, a ledger on Postgres, a console; and one code of many shoppers.

use std::path::PathBuf;

use testkit::kafka::Kafka;
use testkit::postgres::Postgres;

use super::roles::{Fleet, Made, PATIENCE, send};
use crate::program::done;
use crate::serve::answers::minted::{token, write_rules};
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

/// One minted code and 1,000 shoppers, over two edges and two workers: one of them claims it, and each scan is counted. Who comes
/// first is what the log of the code desk says, so a run over the dump of the scans may name another one.
#[test]
fn code_of_a_thousand_shoppers_is_claimed_once_in_a_fleet() {
    const SHOPPERS: usize = 1_000;
    let (Some(kafka), Some(postgres)) = (Kafka::shared(), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    write_rules(dir.path(), "[[range]]\nbatch = 7\nfrom = 0\nto = 1000\n");
    let token = token(dir.path(), 123);
    let made = Made {
        kafka: kafka.bootstrap(),
        prefix: "minted",
        ledger: &postgres.create_database("minted"),
        rules: "rules.toml",
        clock: "event",
        partitions: [4, 4, 2, 4],
        copies: [1, 1],
    };
    let mut fleet = Fleet::make(dir.path(), &made);
    for name in ["worker-1", "worker-2", "ledger-1", "edge-1", "edge-2"] {
        fleet.start(name, &[]);
    }
    let scan = |shopper| {
        format!(r#"{{"id":"e","action":"scan","shopper":"u{shopper}","time":1794326400000,"code":"{token}"}}"#)
    };
    let batches: Vec<String> = (0..SHOPPERS).map(scan).collect();
    let batches: Vec<String> = batches.chunks(20).map(|batch| batch.join("\n")).collect();
    std::thread::scope(|scope| {
        for part in batches.chunks(batches.len() / 4) {
            let doors = &fleet.doors;
            scope.spawn(move || send(doors, part, |_| true));
        }
    });
    fleet.settle(PATIENCE);
    for name in ["edge-1", "edge-2", "worker-1", "worker-2", "ledger-1"] {
        fleet.stop(name);
    }
    let export = |table| done(dir.path(), &["export", table, "--ledger", &fleet.ledger]);
    let codes = export("codes");
    assert!(codes.contains("acme,7:123,interactive,1000,"), "{codes}");
    assert_eq!(export("awards").lines().count(), 2);
}
