//! Three brokers that keep every record three times: one is killed at a time, in turn, and edges go on accepting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::kafka::{Kafka, Options};
use testkit::postgres::Postgres;

use super::roles::{Fleet, Made, PATIENCE, send};
use crate::serve::steady;

const BATCH: usize = 20;
const BATCHES_A_BROKER: usize = 100;
/// Maximum number of batches, more than are sent until the last broker is back.
const BATCHES_MAX: usize = 6_000;

#[test]
fn brokers_killed_one_at_a_time_lose_nothing() {
    let options = Options { brokers: 3, heap_mb: 384, ..Options::default() };
    let (Some(kafka), Some(postgres)) = (Kafka::start(&options), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    steady::write_rules(dir.path());
    let made = Made {
        kafka: kafka.bootstrap(),
        prefix: "three",
        ledger: &postgres.create_database("three"),
        rules: "rules.toml",
        clock: "event",
        partitions: [6, 3, 3, 3],
        copies: [3, 2],
    };
    let mut fleet = Fleet::make(dir.path(), &made);
    for name in ["worker-1", "ledger-1", "edge-1", "edge-2"] {
        fleet.start(name, &[]);
    }
    let events = steady::events((BATCH * BATCHES_MAX) as u64);
    let batches: Vec<String> = events.chunks(BATCH).map(|batch| batch.join("\n")).collect();
    let (sent, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (doors, told, ended) = (Arc::clone(&fleet.doors), Arc::clone(&sent), Arc::clone(&over));
    let client = std::thread::spawn(move || {
        send(&doors, &batches, |number| {
            told.store(number + 1, Ordering::Relaxed);
            !ended.load(Ordering::Acquire)
        })
    });
    let wait_for = |batches: usize| {
        let until = Instant::now() + PATIENCE;
        while sent.load(Ordering::Relaxed) < batches {
            assert!(Instant::now() < until, "edges do not accept with one broker of three dead");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    for broker in 1..=3 {
        let before = sent.load(Ordering::Relaxed);
        wait_for(before + BATCHES_A_BROKER / 2);
        kafka.kill(broker);
        // With two of three, as many go through again before the third comes back.
        let before = sent.load(Ordering::Relaxed);
        wait_for(before + BATCHES_A_BROKER);
        kafka.start_all();
    }
    wait_for(sent.load(Ordering::Relaxed) + BATCHES_A_BROKER);
    over.store(true, Ordering::Release);
    let again = client.join().expect("every batch is taken in the end");
    let events = &events[..sent.load(Ordering::Relaxed) * BATCH];
    fleet.settle(PATIENCE * 2);
    fleet.equals_a_run_over_its_dump();
    assert_eq!(fleet.dumped_ids().len(), events.len(), "every event that was accepted is in the log");
    println!("{} events, {again} batches sent more than once, every export identical", events.len());
}
