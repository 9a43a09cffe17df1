//! Many threads append: they share rounds and keep their order; a full disk refuses appends until it has space.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use domain::model::address::{Topic, TopicPartition};
use eventlog::api::{AppendError, Health, OnFull};
use eventlog::files::memory::{Loss, Memory};
use eventlog::local::log::{Log, Readers};
use eventlog::local::reader::Reader;
use prometheus::Registry;

use crate::world::{DIR, SMALL, append, meta, open, read};

fn log(disk: &Memory) -> Log {
    Log::open(Arc::new(disk.clone()), Path::new(DIR), &meta(), SMALL, &Registry::new()).expect("a log")
}

#[test]
fn appends_of_many_threads_share_syncs_and_keep_their_order() {
    let disk = Memory::default();
    let log = Arc::new(log(&disk));
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for i in 0..50 {
                    let record = append(Topic::Scans, thread % 2, &format!("{thread} {i}"));
                    log.append_and_wait(vec![record]).expect("durable");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    let syncs = disk.syncs();
    log.close();
    drop(log);
    // Acknowledged records survive the end of the process.
    disk.crash(Loss::Everything);
    let store = open(&disk).expect("a log");
    let mut total = 0;
    for partition in 0..2 {
        let found = read(&store, Topic::Scans, partition, 0).expect("readable");
        total += found.len();
        for thread in (partition..8).step_by(2) {
            let own: Vec<&String> = found.iter().filter(|t| t.starts_with(&format!("{thread} "))).collect();
            let wanted: Vec<String> = (0..50).map(|i| format!("{thread} {i}")).collect();
            assert_eq!(own, wanted.iter().collect::<Vec<_>>());
        }
    }
    assert_eq!(total, 400);
    assert!(syncs < 400, "{syncs} syncs for 400 appends");
}

#[test]
fn full_disk_refuses_appends_but_keeps_waiting_ones_ordered() {
    let disk = Memory::default();
    let log = log(&disk);
    log.append_and_wait(vec![append(Topic::Scans, 0, "before")]).expect("room");
    disk.set_room(Some(10));
    let (result_tx, result_rx) = channel();
    for i in 0..5 {
        let result_tx = result_tx.clone();
        let done = move |result| result_tx.send((i, result)).expect("the test holds the receiver");
        log.append(vec![append(Topic::Draws, 0, &format!("answer {i}"))], OnFull::Wait, Box::new(done));
    }
    assert_eq!(log.append_and_wait(vec![append(Topic::Scans, 0, "refused")]), Err(AppendError::Full));
    assert_eq!(log.health(), Health::Full);
    assert!(result_rx.try_recv().is_err(), "a waiting append is neither done nor refused");
    disk.set_room(None);
    let results: Vec<_> = result_rx.iter().take(5).collect();
    assert_eq!(results, (0..5).map(|i| (i, Ok(()))).collect::<Vec<_>>());
    log.append_and_wait(vec![append(Topic::Scans, 0, "after")]).expect("room again");
    assert_eq!(log.health(), Health::Good);
    log.close();
    assert_eq!(log.append_and_wait(vec![append(Topic::Scans, 0, "late")]), Err(AppendError::Closed));
    drop(log);
    let store = open(&disk).expect("a log");
    assert_eq!(read(&store, Topic::Scans, 0, 0).expect("readable"), ["before", "after"]);
    let answers = read(&store, Topic::Draws, 0, 0).expect("readable");
    assert_eq!(answers, (0..5).map(|i| format!("answer {i}")).collect::<Vec<_>>());
}

/// A balancer sends nothing to a service that is not ready: the log must find out by itself that there is room again.
#[test]
fn full_disk_becomes_good_without_an_append() {
    let disk = Memory::default();
    let log = log(&disk);
    disk.set_room(Some(10));
    assert_eq!(log.append_and_wait(vec![append(Topic::Scans, 0, "refused")]), Err(AppendError::Full));
    assert_eq!(log.health(), Health::Full);
    disk.set_room(None);
    let began = Instant::now();
    while log.health() != Health::Good {
        assert!(began.elapsed() < Duration::from_secs(30), "still full");
        std::thread::sleep(Duration::from_millis(10));
    }
    log.append_and_wait(vec![append(Topic::Scans, 0, "after")]).expect("room again");
}

#[test]
fn full_disk_refuses_at_once_behind_many_waiting_appends() {
    const WAITING: usize = 20;
    let disk = Memory::default();
    let log = log(&disk);
    disk.set_room(Some(10));
    // More than one round takes.
    let megabyte = "x".repeat(1024 * 1024);
    let (result_tx, result_rx) = channel();
    for _ in 0..WAITING {
        let result_tx = result_tx.clone();
        let done = move |result| result_tx.send(result).expect("the test holds the receiver");
        log.append(vec![append(Topic::Draws, 0, &megabyte)], OnFull::Wait, Box::new(done));
    }
    assert_eq!(log.append_and_wait(vec![append(Topic::Scans, 0, "refused")]), Err(AppendError::Full));
    assert!(result_rx.try_recv().is_err(), "those that wait still wait");
    disk.set_room(None);
    assert!(result_rx.iter().take(WAITING).all(|result| result == Ok(())));
}

#[test]
fn readers_wake_and_see_only_durable_records() {
    let disk = Memory::default();
    let log = Arc::new(log(&disk));
    let mut reader = Reader::open(Arc::clone(log.partition(TopicPartition::new(Topic::Scans, 0))), 0, "begin again")
        .expect("a reader");
    let writer = {
        let log = Arc::clone(&log);
        std::thread::spawn(move || {
            for i in 0..200 {
                log.append_and_wait(vec![append(Topic::Scans, 0, &i.to_string())]).expect("durable");
            }
        })
    };
    let mut seen = 0;
    while seen < 200 {
        let version = log.version(Readers::Desks);
        while let Some(record) = reader.next_record().expect("readable") {
            assert_eq!(record.bytes, seen.to_string().as_bytes());
            seen += 1;
        }
        if seen < 200 {
            log.wait(Readers::Desks, version, Duration::from_secs(10));
        }
    }
    writer.join().expect("no panic");
}
