//! The service is killed at random moments under load, over a disk that keeps what was written and over one that forgets
//! what was not synced; the ledger is that of an undisturbed run.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::power_loss;
use crate::program::{TABLES, done, export};
use crate::serve::server::{Server, binary, post};
use crate::serve::steady;

const KILLS: usize = 20;
const EVENTS: u64 = 30_000;
const BATCH: usize = 25;
/// Maximum time until a batch is accepted; beyond it the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends batches in order, each until it is answered 202, to whichever service is there.
struct Client {
    http: Arc<Mutex<String>>,
    sent: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Client {
    /// Sends the batches in the background; returns how many were sent more than once.
    fn start(&self, batches: Vec<String>) -> std::thread::JoinHandle<usize> {
        let (http, sent, over) = (Arc::clone(&self.http), Arc::clone(&self.sent), Arc::clone(&self.over));
        std::thread::spawn(move || {
            let mut again = 0;
            for batch in batches {
                let until = Instant::now() + PATIENCE;
                let mut tries = 0;
                loop {
                    tries += 1;
                    let address = http.lock().expect("no panic").clone();
                    let answer = post(&address, "application/x-ndjson", batch.as_bytes(), None);
                    match answer {
                        Ok(answer) if answer.status == 202 => break,
                        Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                        Err(_) => {}
                    }
                    assert!(Instant::now() < until, "no edge takes it");
                    std::thread::sleep(Duration::from_millis(5));
                }
                again += usize::from(tries > 1);
                sent.fetch_add(1, Ordering::Relaxed);
            }
            over.store(true, Ordering::Release);
            again
        })
    }
}

/// A generator that differs from run to run unless MASHANG_SEED says which.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
        let seed = std::env::var("MASHANG_SEED").ok().and_then(|s| s.parse().ok());
        let seed = seed.unwrap_or(u64::try_from(clock & u128::from(u32::MAX)).expect("small"));
        println!("seed {seed}: MASHANG_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Kills and restarts a service while batches are sent, then lets it come to rest. Says how many restarts began from a
/// snapshot whose log before it was gone.
fn under_fire(dir: &Path, command: fn() -> Command, more: &[&str], batches: Vec<String>) -> (usize, usize) {
    let mut dice = Dice::new();
    let mut server = Server::start_with(command(), dir, more);
    let client = Client { http: Arc::new(Mutex::new(server.http.clone())), sent: Arc::default(), over: Arc::default() };
    let total = batches.len();
    let thread = client.start(batches);
    let mut without_beginning = 0;
    for kill in 0..KILLS {
        // Some way on, and then at any moment.
        let until = (kill + 1) * total / (KILLS + 2);
        while client.sent.load(Ordering::Relaxed) < until && !client.over.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(dice.next(40_000)));
        assert!(!client.over.load(Ordering::Acquire), "all was sent before the last kill");
        server.kill();
        without_beginning += usize::from(log_begins_late(&dir.join("data")));
        server = Server::start_with(command(), dir, more);
        client.http.lock().expect("no panic").clone_from(&server.http);
    }
    let again = thread.join().expect("every batch is taken in the end");
    server.settle();
    let (status, told) = server.stop();
    assert!(status.success(), "{told}");
    (again, without_beginning)
}

/// Whether the scans no longer begin at their beginning: only a snapshot helps then.
fn log_begins_late(data: &Path) -> bool {
    let dir = data.join("log/scans/0");
    let names = std::fs::read_dir(dir).expect("a folder").map(|e| e.expect("an entry").file_name());
    !names.into_iter().any(|name| name == "00000000000000000000.seg")
}

fn batches(events: &[String]) -> Vec<String> {
    events.chunks(BATCH).map(|batch| batch.join("\n")).collect()
}

fn without_duplicates(counters: &str) -> String {
    counters.lines().filter(|line| !line.contains(",duplicates,")).collect::<Vec<_>>().join("\n")
}

fn run(dir: &Path, events: &str, out: &str) {
    done(dir, &["run", "--rules", "rules.toml", "--events", events, "--out", out]);
}

fn shop(events: &[String]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    steady::write_rules(dir.path());
    std::fs::write(dir.path().join("events.ndjson"), events.join("\n")).expect("a file");
    dir
}

/// Everything that was accepted is in the dump; a run over it gives the very ledger.
fn equals_a_run_over_the_dump(dir: &Path) {
    std::fs::write(dir.join("dump.ndjson"), done(dir, &["log", "dump", "--data", "data"])).expect("a file");
    run(dir, "dump.ndjson", "again");
    for table in TABLES {
        assert!(export(dir, "data", table) == export(dir, "again", table), "{table} differs from a run over the dump");
    }
}

/// Nothing is lost or counted twice: but for duplicates, the ledger is that of a run over the events as they were sent.
fn equals_a_run_over_the_events(dir: &Path) {
    run(dir, "events.ndjson", "once");
    for table in TABLES {
        let [found, wanted] = ["data", "once"].map(|out| without_duplicates(&export(dir, out, table)));
        assert!(found == wanted, "{table} differs from a run over the events");
        assert!(wanted.lines().count() > 1 || table == "members", "{table} is empty");
    }
}

#[test]
fn kills_change_nothing() {
    let events = steady::events(EVENTS);
    let dir = shop(&events);
    let more = ["--clock", "event", "--partitions", "2", "--snapshot-every", "150ms"];
    let (again, _) = under_fire(dir.path(), binary, &more, batches(&events));
    println!("{KILLS} kills, {again} batches sent again");
    equals_a_run_over_the_dump(dir.path());
    equals_a_run_over_the_events(dir.path());
}

#[test]
fn kills_change_nothing_after_only_snapshots_are_left() {
    let events = steady::events(EVENTS);
    let dir = shop(&events);
    let small = ["--snapshot-every", "20ms", "--segment-bytes", "4096", "--retain", "0s"];
    let more = [&["--clock", "event", "--partitions", "2"], &small[..]].concat();
    let (again, without_beginning) = under_fire(dir.path(), binary, &more, batches(&events));
    println!("{KILLS} kills, {again} batches sent again, {without_beginning} restarts without the log's beginning");
    assert!(without_beginning >= 10, "{without_beginning} restarts without the log's beginning");
    equals_a_run_over_the_events(dir.path());
}

#[test]
fn kills_change_nothing_after_unsynced_bytes_are_lost() {
    let events = steady::events(EVENTS);
    let dir = shop(&events);
    let more = ["--clock", "event", "--partitions", "2", "--snapshot-every", "100ms", "--segment-bytes", "65536"];
    let (again, _) = under_fire(dir.path(), power_loss::binary, &more, batches(&events));
    println!("{KILLS} kills, {again} batches sent again");
    equals_a_run_over_the_dump(dir.path());
    equals_a_run_over_the_events(dir.path());
}

#[test]
fn failing_disk_ends_process_and_loses_nothing() {
    let events = steady::events(2_000);
    let dir = shop(&events);
    let more = ["--clock", "event", "--partitions", "2"];
    let mut server = Server::start_with(power_loss::binary(), dir.path(), &more);
    let batches = batches(&events);
    let say = |server: &Server, batch: &String| post(&server.http, "application/x-ndjson", batch.as_bytes(), None);
    for batch in &batches[..40] {
        assert_eq!(say(&server, batch).expect("an answer").status, 202);
    }
    std::fs::write(dir.path().join(power_loss::BROKEN), "").expect("a file");
    if let Ok(answer) = say(&server, &batches[40]) {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    let (status, told) = server.wait();
    assert_eq!(status.code(), Some(1));
    assert!(told.contains("the disk is broken") && told.contains("the log stopped, see above"), "{told}");
    std::fs::remove_file(dir.path().join(power_loss::BROKEN)).expect("a file");
    let server = Server::start_with(power_loss::binary(), dir.path(), &more);
    for batch in &batches[40..] {
        assert_eq!(say(&server, batch).expect("an answer").status, 202);
    }
    server.settle();
    assert!(server.stop().0.success());
    equals_a_run_over_the_events(dir.path());
}

/// A disk of its own, a few MiB large; gone with the value.
pub(crate) struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    pub(crate) fn mount(at: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output().ok()?;
        output.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_politely_and_heals() {
    let events = steady::events(4_000);
    let dir = shop(&events);
    let data = dir.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    let Some(_disk) = SmallDisk::mount(&data, "12m") else {
        assert!(std::env::var_os("MASHANG_NO_SKIP").is_none(), "no disk can be mounted: root is needed");
        eprintln!("skipped: no disk can be mounted without being root");
        return;
    };
    let server = Server::start(dir.path(), &["--clock", "event", "--partitions", "1"]);
    let batches = batches(&events);
    let say = |batch: &String| post(&server.http, "application/x-ndjson", batch.as_bytes(), None).expect("an answer");
    for batch in &batches[..40] {
        assert_eq!(say(batch).status, 202);
    }
    // Another program fills the disk to the last byte.
    let filler = data.join("filler");
    let _ = std::fs::write(&filler, vec![1; 12 << 20]);
    let refused = (0..2_000).map(|_| say(&batches[40])).find(|answer| answer.status != 202).expect("no room");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.retry_after.is_some() && refused.body.contains("the log has no room"), "{refused:?}");
    let ready = crate::serve::server::get(&format!("{}/readyz", server.admin), None).expect("an answer");
    assert_eq!((ready.status, ready.body.as_str()), (503, "not ready: the disk of the log is full\n"));
    assert!(server.metric("mashang_events_shed_total{reason=\"full\"}") >= BATCH as u64);
    std::fs::remove_file(&filler).expect("a file");
    // The disk is smaller than a request of the largest size can be.
    let until = Instant::now() + PATIENCE;
    loop {
        let ready = crate::serve::server::get(&format!("{}/readyz", server.admin), None).expect("an answer");
        if ready.body.contains("for a request of the largest size") {
            assert_eq!(ready.status, 503);
            break;
        }
        assert!(Instant::now() < until, "{ready:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    for batch in &batches[40..] {
        let until = Instant::now() + PATIENCE;
        while say(batch).status != 202 {
            assert!(Instant::now() < until, "it does not heal");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    server.settle();
    let received = server.metric("mashang_events_received_total");
    let sums = ["accepted_total{transport=\"http\"}", "shed_total{reason=\"full\"}", "shed_total{reason=\"closed\"}"];
    assert_eq!(received, sums.iter().map(|m| server.metric(&format!("mashang_events_{m}"))).sum::<u64>());
    let (status, told) = server.stop();
    assert!(status.success() && told.contains("the disk of the log has room again"), "{told}");
    equals_a_run_over_the_events(dir.path());
}
