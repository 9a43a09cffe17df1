//! Edges with a spool on the disk, while the only broker is away: they go on accepting, and every event that was answered is in
//! the log and the ledger once the broker is back, whatever happened to the edge meanwhile.
//!
//! `MASHANG_OUTAGE_SECONDS` says for how long (20).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::kafka::{Kafka, Options};
use testkit::postgres::Postgres;

use super::roles::{Addresses, Fleet, Made, PATIENCE, send};
use crate::serve::server::post;
use crate::serve::steady;

const NDJSON: &str = "application/x-ndjson";
const BATCH: usize = 20;
const SENDERS: usize = 3;
/// Interval between two batches of a sender.
const EVERY: Duration = Duration::from_millis(25);
/// Maximum memory of an edge, bytes, even in a long outage of the broker.
const EDGE_BYTES_MAX: u64 = 300 << 20;

fn outage() -> Duration {
    let seconds = std::env::var("MASHANG_OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(20))
}

fn made<'a>(kafka: &'a Kafka, prefix: &'a str, ledger: &'a str) -> Made<'a> {
    let kafka = kafka.bootstrap();
    Made { kafka, prefix, ledger, rules: "rules.toml", clock: "event", partitions: [4, 3, 2, 3], copies: [1, 1] }
}

/// A load that goes on, and what became of it.
#[derive(Debug, Default)]
struct Load {
    /// Batches that were answered 202, from the log and from a spool; and 503s in between.
    log: AtomicUsize,
    spool: AtomicUsize,
    refused: AtomicUsize,
    is_over: AtomicBool,
}

impl Load {
    fn sent(&self) -> usize {
        self.log.load(Ordering::Acquire) + self.spool.load(Ordering::Acquire)
    }

    /// Sends the batches of one sender in order, each until an edge answers 202.
    fn run(&self, doors: &Addresses, batches: &[String], sender: usize) {
        for (number, batch) in batches.iter().enumerate().skip(sender).step_by(SENDERS) {
            let until = Instant::now() + PATIENCE;
            for turn in number.. {
                assert!(Instant::now() < until, "no edge takes batch {number}");
                let doors: Vec<String> = doors.lock().values().cloned().collect();
                let answer = (!doors.is_empty())
                    .then(|| post(&doors[turn % doors.len()], NDJSON, batch.as_bytes(), None).ok())
                    .flatten();
                match answer {
                    Some(answer) if answer.status == 202 => {
                        let durable = answer.json()["durable"].as_str().expect("a word").to_owned();
                        let counter = if durable == "log" { &self.log } else { &self.spool };
                        assert!(matches!(durable.as_str(), "log" | "spool"), "{durable}");
                        counter.fetch_add(1, Ordering::AcqRel);
                        break;
                    }
                    Some(answer) => {
                        assert_eq!(answer.status, 503, "{answer:?}");
                        self.refused.fetch_add(1, Ordering::AcqRel);
                    }
                    None => {}
                }
                std::thread::sleep(EVERY);
            }
            if self.is_over.load(Ordering::Acquire) {
                return;
            }
            std::thread::sleep(EVERY);
        }
        panic!("more batches are needed");
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < until, "{what}: {self:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A metric of one role.
fn metric(fleet: &Fleet, name: &str, metric: &str) -> f64 {
    let text = fleet.admin(name, "/metrics").expect("metrics").body;
    let value = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name} has no {metric}")).parse().expect("a number")
}

fn until_drained(fleet: &Fleet, name: &str) {
    let until = Instant::now() + PATIENCE;
    while metric(fleet, name, "mashang_spool_bytes") > 0.0 {
        assert!(Instant::now() < until, "{name} is not drained: {}", fleet.output(name));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Received = accepted + rejected + shed.
fn counters_add_up(fleet: &Fleet, name: &str) {
    let text = fleet.admin(name, "/metrics").expect("metrics").body;
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let kind = ["received", "accepted", "rejected", "shed"];
        let Some(kind) = kind.iter().find(|kind| line.starts_with(&format!("mashang_events_{kind}_total"))) else {
            continue;
        };
        let value: u64 = line.rsplit(' ').next().expect("a value").parse().expect("a number");
        *sums.entry(*kind).or_insert(0) += value;
    }
    assert_eq!(sums["received"], sums["accepted"] + sums["rejected"] + sums["shed"], "{name}: {sums:?}");
}

#[test]
fn log_outage_loses_no_answered_event() {
    let (Some(kafka), Some(postgres)) = (Kafka::start(&Options::default()), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    steady::write_rules(dir.path());
    let ledger = postgres.create_database("spooled");
    let mut fleet = Fleet::make(dir.path(), &made(&kafka, "spooled", &ledger));
    fleet.start("worker-1", &[]);
    fleet.start("ledger-1", &[]);
    fleet.start("edge-1", &["--spool", "spool-1"]);
    fleet.start("edge-2", &["--spool", "spool-2", "--spool-after", "1s"]);
    let outage = outage();
    let batches = SENDERS * usize::try_from((outage.as_millis() + 120_000) / EVERY.as_millis()).expect("some");
    let events = steady::events((batches * BATCH) as u64);
    let batches: Arc<Vec<String>> = Arc::new(events.chunks(BATCH).map(|batch| batch.join("\n")).collect());
    let load = Arc::new(Load::default());
    let clients: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (doors, own, batches) = (Arc::clone(&fleet.doors), Arc::clone(&load), Arc::clone(&batches));
            std::thread::spawn(move || own.run(&doors, &batches, sender))
        })
        .collect();
    load.wait("the log takes events", |load| load.log.load(Ordering::Acquire) > 50);
    assert_eq!(load.spool.load(Ordering::Acquire), 0, "a log that answers needs no spool");

    kafka.kill(1);
    let began = Instant::now();
    load.wait("edges go on", |load| load.spool.load(Ordering::Acquire) > 50);
    for name in ["edge-1", "edge-2"] {
        assert_eq!(fleet.admin(name, "/readyz").expect("an answer").status, 200, "a 202 would be given now");
        assert!(metric(&fleet, name, "mashang_spool_bytes") > 0.0);
    }
    std::thread::sleep((outage / 2).saturating_sub(began.elapsed()));
    let (spooled, age) =
        (metric(&fleet, "edge-1", "mashang_spool_events_total"), metric(&fleet, "edge-1", "mashang_spool_age_seconds"));
    assert!(spooled > 0.0 && age > 0.0, "{spooled} events, {age} s");
    fleet.kill("edge-1");
    std::thread::sleep(outage.saturating_sub(began.elapsed()));
    kafka.start_all();
    fleet.restart("edge-1");
    let before = load.log.load(Ordering::Acquire);
    load.wait("the log is used again", |load| load.log.load(Ordering::Acquire) > before + 100);
    load.is_over.store(true, Ordering::Release);
    for client in clients {
        client.join().expect("every batch is taken");
    }
    for name in ["edge-1", "edge-2"] {
        until_drained(&fleet, name);
        counters_add_up(&fleet, name);
        assert_eq!(metric(&fleet, name, "mashang_spool_age_seconds"), 0.0);
    }
    let [spooled, drained, rounds] = ["events", "drained_events", "rounds"]
        .map(|what| metric(&fleet, "edge-2", &format!("mashang_spool_{what}_total")));
    assert_eq!(spooled, drained);
    let most = fleet.most_memory("edge-2");
    assert!(most < EDGE_BYTES_MAX, "{most} bytes");
    fleet.settle(PATIENCE * 2);
    fleet.equals_a_run_over_its_dump();
    assert_eq!(fleet.dumped_ids().len(), load.sent() * BATCH, "every event that was answered is in the log");
    println!(
        "{load:?}; edge-2: {spooled} events spooled in {rounds} syncs, at most {} MiB; every export identical",
        most >> 20
    );
}

/// A small spool, a stop while the broker is unavailable, and other processes that want the directory.
#[test]
fn spool_is_bounded_survives_stop_and_is_locked() {
    let (Some(kafka), Some(postgres)) = (Kafka::start(&Options::default()), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    steady::write_rules(dir.path());
    let ledger = postgres.create_database("bounded");
    let mut fleet = Fleet::make(dir.path(), &made(&kafka, "bounded", &ledger));
    let another = Fleet::make(dir.path(), &made(&kafka, "another", &ledger));
    fleet.start("worker-1", &[]);
    fleet.start("ledger-1", &[]);
    let spool = ["--spool", "spool", "--spool-bytes", "1048576", "--spool-after", "500ms"];
    fleet.start("edge-1", &spool);
    let edge = |fleet: &Fleet| {
        let common = ["--instance", "edge-9", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        fleet.command(&[&["edge"], &common[..], &fleet.log(), &fleet.store(), &spool].concat())
    };
    for (wrong, mend) in [
        (&["--spool-after", "1s"][..], "give --spool DIR too"),
        (&["--spool", "other", "--spool-bytes", "1000"], "spool-bytes is 1000: give 1048576 or more"),
        (&["--spool", "other", "--spool-after", "30s"], "spool-after is 30s: give 100ms to 20s"),
    ] {
        let (code, told) = fleet.command(&[&["edge"], &fleet.log()[..], &fleet.store(), wrong].concat());
        assert!(code == Some(2) && told.contains(mend), "{wrong:?}: {told}");
    }
    let (code, told) = edge(&fleet);
    assert!(code == Some(2) && told.contains("--spool spool: another process of mashang writes there"), "{told}");

    let events = steady::events(40_000);
    let batches: Vec<String> = events.chunks(200).map(|batch| batch.join("\n")).collect();
    let http = fleet.http("edge-1").to_owned();
    let answer = |batch: &String| post(&http, NDJSON, batch.as_bytes(), None).expect("an answer");
    let durable = |batch: &String| answer(batch).json()["durable"].as_str().map(ToOwned::to_owned);
    assert!(batches[..5].iter().all(|batch| durable(batch).as_deref() == Some("log")));
    kafka.kill(1);
    let spooled = batches[5..].iter().map(durable).take_while(|durable| durable.as_deref() == Some("spool")).count();
    let full = answer(&batches[5 + spooled]);
    assert!(spooled > 5 && full.status == 503 && full.retry_after.is_some(), "{spooled} batches, then {full:?}");
    assert_eq!(fleet.admin("edge-1", "/readyz").expect("an answer").status, 503, "no 202 would be given now");
    assert!(metric(&fleet, "edge-1", "mashang_spool_bytes") <= 1_048_576.0);
    counters_add_up(&fleet, "edge-1");
    fleet.stop("edge-1");
    kafka.start_all();
    let (code, told) = edge(&another);
    assert!(code == Some(2) && told.contains("this spool holds events of log"), "{told}");

    // What it spooled comes first, then what was refused.
    fleet.start("edge-1", &spool);
    send(&fleet.doors, &batches[5 + spooled..], |_| true);
    until_drained(&fleet, "edge-1");
    assert_eq!(fleet.admin("edge-1", "/readyz").expect("an answer").status, 200);
    fleet.settle(PATIENCE);
    fleet.equals_a_run_over_its_dump();
    assert_eq!(fleet.dumped_ids().len(), events.len(), "every event that was accepted is in the log");
    println!("{spooled} batches spooled before the 503, every export identical");
}

/// An edge that starts while the broker is away takes events for a log that it knows from before.
#[test]
fn edge_with_spool_starts_during_a_log_outage() {
    let (Some(kafka), Some(postgres)) = (Kafka::start(&Options::default()), Postgres::shared()) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    steady::write_rules(dir.path());
    let ledger = postgres.create_database("away");
    let mut fleet = Fleet::make(dir.path(), &Made { clock: "wall", ..made(&kafka, "away", &ledger) });
    fleet.start("worker-1", &[]);
    fleet.start("ledger-1", &[]);
    fleet.start("edge-1", &["--spool", "spool"]);
    let events = steady::events(600);
    let batches: Vec<String> = events.chunks(20).map(|batch| batch.join("\n")).collect();
    let durable = |fleet: &Fleet, batch: &String| {
        let answer = post(fleet.http("edge-1"), NDJSON, batch.as_bytes(), None).expect("an answer");
        answer.json()["durable"].as_str().map(ToOwned::to_owned)
    };
    assert_eq!(durable(&fleet, &batches[0]).as_deref(), Some("log"));

    kafka.kill(1);
    let args = ["--instance", "edge-9", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--spool", "other"];
    let mut stranger = std::process::Command::new(env!("CARGO_BIN_EXE_mashang"));
    stranger.current_dir(dir.path()).arg("edge").args(args).args(fleet.log()).args(fleet.store());
    let stranger = std::thread::spawn(move || stranger.output().expect("the binary runs"));
    for batches in batches[1..].chunks(15) {
        fleet.kill("edge-1");
        fleet.restart("edge-1");
        assert!(fleet.output("edge-1").contains("begins with what it knew before"));
        assert_eq!(fleet.admin("edge-1", "/readyz").expect("an answer").status, 200, "a 202 would be given now");
        assert!(batches.iter().all(|batch| durable(&fleet, batch).as_deref() == Some("spool")));
    }
    // An edge without a cache does not start.
    let stranger = stranger.join().expect("a thread");
    let told = String::from_utf8_lossy(&stranger.stderr);
    assert!(stranger.status.code() == Some(1) && told.contains("cannot be listed"), "{stranger:?}");
    kafka.start_all();
    until_drained(&fleet, "edge-1");
    counters_add_up(&fleet, "edge-1");
    let until = Instant::now() + PATIENCE;
    while durable(&fleet, &batches[0]).as_deref() != Some("log") {
        assert!(Instant::now() < until, "the log is not used again: {}", fleet.output("edge-1"));
    }
    fleet.settle(PATIENCE);
    fleet.equals_a_run_over_its_dump();
    assert_eq!(fleet.dumped_ids().len(), events.len(), "every event that was answered is in the log");
}
