//! A fleet under faults: roles are killed and frozen, brokers and the database restarted, workers come and go, the disk of the
//! snapshots fills up, or their bucket cannot be reached; the ledger is that of an undisturbed run, and the archive has every record once.
//!
//! `MASHANG_CHAOS_SECONDS` says for how long (90), `MASHANG_SEED` how.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::bucket::{Bucket, Mode};
use testkit::disk::SmallDisk;
use testkit::kafka::{Kafka, Options};
use testkit::postgres::{Postgres, Wanted};
use testkit::process::Signal;

use super::roles::{Fleet, Made, PATIENCE, send};
use crate::serve::faults::chaos::Dice;
use crate::serve::steady;

const BATCH: usize = 20;
const BY_ITSELF: &str = "ended by itself";
/// Time that a role is frozen, longer than the session timeout: the group gives its partitions to others.
const FROZEN: Duration = Duration::from_secs(9);
const SECONDS: u64 = 90;
/// Interval between two batches, so that the faults have their time.
const EVERY: Duration = Duration::from_millis(12);

fn seconds() -> u64 {
    std::env::var("MASHANG_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS)
}

/// Where the snapshots are.
enum Store<'a> {
    /// A small disk.
    Disk(&'a Path),
    Bucket(Bucket),
}

impl Store<'_> {
    /// Where events are archived.
    fn archive(&self) -> &'static str {
        match self {
            // Not on the small disk, which the archive of a long run would fill.
            Self::Disk(_) => "file:archive",
            Self::Bucket(_) => "s3://mashang/archives/chaos",
        }
    }
}

/// The faults of a fleet, and how often each occurred.
struct Chaos<'a> {
    fleet: Fleet,
    kafka: &'a Kafka,
    postgres: &'a Postgres,
    store: &'a Store<'a>,
    dice: Dice,
    workers: usize,
    done: std::collections::BTreeMap<&'static str, usize>,
}

impl Chaos<'_> {
    fn pick(&mut self, kind: &str) -> String {
        let names = self.fleet.names(kind);
        let at = self.dice.next(names.len() as u64);
        names[usize::try_from(at).expect("small")].clone()
    }

    fn kind(&mut self) -> &'static str {
        ["edge", "worker", "worker", "ledger", "console"][usize::try_from(self.dice.next(5)).expect("small")]
    }

    /// One random fault, from its start to its end.
    fn act(&mut self) {
        for told in self.fleet.revive() {
            println!("{told}");
            *self.done.entry(BY_ITSELF).or_default() += 1;
        }
        let what = match self.dice.next(12) {
            0..=4 => self.kill(),
            5..=6 => self.freeze(),
            7 => self.broker(),
            8..=9 => self.scale(),
            10 => self.fault_of_store(),
            _ => self.database(),
        };
        *self.done.entry(what).or_default() += 1;
    }

    fn pause(&mut self, most_ms: u64) {
        let ms = self.dice.next(most_ms);
        std::thread::sleep(Duration::from_millis(ms));
    }

    fn kill(&mut self) -> &'static str {
        let kind = self.kind();
        let name = self.pick(kind);
        println!("kill {name}");
        self.fleet.kill(&name);
        self.pause(3_000);
        self.fleet.restart(&name);
        "killed"
    }

    fn freeze(&mut self) -> &'static str {
        let kind = self.kind();
        let name = self.pick(kind);
        println!("freeze {name}");
        self.fleet.signal(&name, Signal::Stop);
        std::thread::sleep(FROZEN);
        self.fleet.signal(&name, Signal::Continue);
        // A worker whose name no other process took goes on as a zombie, until the group refuses it.
        self.pause(2_000);
        "frozen"
    }

    fn broker(&mut self) -> &'static str {
        println!("broker");
        if self.dice.next(2) == 0 {
            self.kafka.kill(1);
        }
        self.kafka.restart(1);
        "broker restarted"
    }

    /// One worker, three, one, and so on.
    fn scale(&mut self) -> &'static str {
        let more = if self.workers == 1 { 3 } else { 1 };
        println!("{more} workers");
        for number in self.workers + 1..=more {
            start_worker(&mut self.fleet, number, self.store.archive());
        }
        for number in more + 1..=self.workers {
            let name = format!("worker-{number}");
            self.fleet.remove(&name);
        }
        self.workers = more;
        "scaled"
    }

    fn fault_of_store(&mut self) -> &'static str {
        match self.store {
            Store::Disk(disk) => self.full_disk(&disk.join("filler")),
            Store::Bucket(bucket) => self.fault_of_bucket(bucket),
        }
    }

    fn full_disk(&mut self, filler: &Path) -> &'static str {
        println!("full disk");
        let _ = std::fs::write(filler, vec![1; 64 << 20]);
        self.pause(6_000);
        std::fs::remove_file(filler).expect("a file");
        "disk of snapshots filled"
    }

    /// Now and then a worker is killed, too, while the bucket cannot be reached: until it can, no worker can take up its partitions.
    fn fault_of_bucket(&mut self, bucket: &Bucket) -> &'static str {
        let what = match self.dice.next(3) {
            0 => {
                bucket.kill();
                "bucket killed"
            }
            1 => {
                bucket.set(Mode::Refuse);
                "bucket answered 503"
            }
            _ => {
                bucket.set(Mode::Slow);
                "bucket slow"
            }
        };
        println!("{what}");
        let killed = (self.dice.next(2) == 0).then(|| self.pick("worker"));
        if let Some(name) = &killed {
            self.fleet.kill(name);
        }
        self.pause(6_000);
        if what == "bucket killed" {
            bucket.restart();
        }
        let starts_first = self.dice.next(2) == 0;
        if !starts_first {
            bucket.set(Mode::Pass);
        }
        // A start waits for a bucket that refuses, so that must end before.
        std::thread::scope(|scope| {
            if starts_first {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_secs(2));
                    bucket.set(Mode::Pass);
                });
            }
            if let Some(name) = &killed {
                self.fleet.restart(name);
            }
        });
        bucket.set(Mode::Pass);
        what
    }

    fn database(&mut self) -> &'static str {
        println!("database");
        let mode = ["fast", "immediate"][usize::try_from(self.dice.next(2)).expect("small")];
        self.postgres.restart(mode);
        "database restarted"
    }
}

fn start_worker(fleet: &mut Fleet, number: usize, archive: &str) {
    let args = ["--snapshot-every", "700ms", "--lanes", "2", "--archive", archive, "--archive-every", "1s"];
    fleet.start(&format!("worker-{number}"), &args);
}

#[test]
fn fleet_under_faults_writes_the_undisturbed_ledger() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = dir.path().join("store");
    std::fs::create_dir(&disk).expect("a folder");
    let Some(_mounted) = SmallDisk::mount(&disk, 64) else { return };
    under_faults(dir.path(), &Store::Disk(&disk));
}

/// The same with the snapshots and rules in a bucket, whose server is killed, refuses and slow.
#[test]
fn fleet_with_a_bucket_under_faults_writes_the_undisturbed_ledger() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(bucket) = Bucket::start() else { return };
    under_faults(dir.path(), &Store::Bucket(bucket));
}

fn under_faults(dir: &Path, store: &Store<'_>) {
    let (Some(kafka), Some(postgres)) = (Kafka::start(&Options::default()), Postgres::start(Wanted::default())) else {
        return;
    };
    steady::write_rules(dir);
    let made = Made {
        kafka: kafka.bootstrap(),
        prefix: "chaos",
        ledger: &postgres.create_database("chaos"),
        rules: "rules.toml",
        clock: "event",
        partitions: [6, 4, 2, 4],
        copies: [1, 1],
    };
    let dice = Dice::new();
    let mut fleet = match store {
        Store::Disk(_) => Fleet::make(dir, &made),
        Store::Bucket(bucket) => Fleet::make_with(dir, &made, "s3://mashang/fleets/chaos", &bucket.environment()),
    };
    start_worker(&mut fleet, 1, store.archive());
    for name in ["ledger-1", "ledger-2", "console-1", "edge-1", "edge-2"] {
        fleet.start(name, &[]);
    }
    let time = Duration::from_secs(seconds());
    let total = (time.as_millis() / EVERY.as_millis()) as u64 * BATCH as u64;
    let events = steady::events(total);
    let batches: Vec<String> = events.chunks(BATCH).map(|batch| batch.join("\n")).collect();
    let (sent, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (doors, told, ended) = (Arc::clone(&fleet.doors), Arc::clone(&sent), Arc::clone(&over));
    let began = Instant::now();
    let client = std::thread::spawn(move || {
        let again = send(&doors, &batches, |number| {
            told.store(number + 1, Ordering::Relaxed);
            let due = EVERY * u32::try_from(number).expect("small");
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            true
        });
        ended.store(true, Ordering::Release);
        again
    });
    let mut chaos =
        Chaos { fleet, kafka: &kafka, postgres: &postgres, store, dice, workers: 1, done: Default::default() };
    while !over.load(Ordering::Acquire) && began.elapsed() < time {
        chaos.act();
        chaos.pause(2_000);
    }
    let again = client.join().expect("every batch is taken in the end");
    println!("{} batches sent, {again} of them more than once; {:?}", sent.load(Ordering::Relaxed), chaos.done);
    for told in chaos.fleet.revive() {
        println!("{told}");
        *chaos.done.entry(BY_ITSELF).or_default() += 1;
    }
    chaos.fleet.settle(PATIENCE * 2);
    chaos.fleet.equals_a_run_over_its_dump();
    assert_eq!(chaos.fleet.dumped_ids().len(), events.len(), "every event that was accepted is in the log");
    println!("{} events, every export identical", events.len());
    chaos.fleet.has_archived_its_dump(store.archive(), PATIENCE);
    assert_eq!(chaos.done.get(BY_ITSELF), None, "whatever happens around a role, it goes on");
}
