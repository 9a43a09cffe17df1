//! Brokers start, die, freeze and come back.

use std::time::{Duration, Instant};

use testkit::disk::SmallDisk;
use testkit::kafka::{Kafka, Options};

use super::client::{PATIENCE, Sender, read, topic};

#[test]
fn one_broker_dies_and_comes_back_with_what_it_acknowledged() {
    let Some(kafka) = Kafka::start(&Options::default()) else { return };
    topic(&kafka, "kept");
    let sender = Sender::new(kafka.bootstrap(), "kept", "kept", &[]);
    assert_eq!(sender.send("one"), Ok(0));
    kafka.kill(1);
    assert!(!kafka.runs(1));
    sender.start("two");
    kafka.restart(1);
    assert_eq!(sender.send("three").map(|offset| offset > 0), Ok(true));
    kafka.restart(1);
    assert_eq!(read(kafka.bootstrap(), "kept", &[]), ["one", "two", "three"]);
    assert!(kafka.data_dir(1).join("kept-0").is_dir());
}

#[test]
fn a_paused_broker_says_nothing_and_goes_on() {
    let Some(kafka) = Kafka::start(&Options::default()) else { return };
    topic(&kafka, "paused");
    let sender = Sender::new(kafka.bootstrap(), "paused", "paused", &[]);
    assert_eq!(sender.send("one"), Ok(0));
    kafka.pause(1);
    sender.start("two");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(sender.delivered(), 0);
    kafka.resume(1);
    assert_eq!(sender.send("three").map(|offset| offset > 0), Ok(true));
    assert_eq!(read(kafka.bootstrap(), "paused", &[]), ["one", "two", "three"]);
}

#[test]
fn three_brokers_go_on_without_one() {
    let Some(kafka) = Kafka::start(&Options { brokers: 3, ..Options::default() }) else { return };
    topic(&kafka, "three");
    let sender = Sender::new(kafka.bootstrap(), "three", "three", &[]);
    for (down, payload) in (1..=3).zip(["one", "two", "three"]) {
        kafka.kill(down);
        assert!(sender.send(payload).is_ok());
        kafka.restart(down);
    }
    kafka.stop(2);
    kafka.start_all();
    assert_eq!(read(kafka.bootstrap(), "three", &[]), ["one", "two", "three"]);
}

#[test]
fn a_broker_keeps_its_records_where_it_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let placed = dir.path().join("placed");
    let options = Options { log_dirs: vec![(1, placed.clone())], ..Options::default() };
    let Some(kafka) = Kafka::start(&options) else { return };
    topic(&kafka, "placed");
    // A topic that was made has a directory a moment later; one that has a record has it.
    let sender = Sender::new(kafka.bootstrap(), "placed", "placed", &[]);
    assert_eq!(sender.send("one"), Ok(0));
    assert!(placed.join("placed-0").is_dir());
    assert_eq!(kafka.data_dir(1), &placed);
}

#[test]
fn a_broker_whose_disk_is_full_ends_and_the_others_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(_disk) = SmallDisk::mount(dir.path(), 16) else { return };
    let options = Options { brokers: 3, log_dirs: vec![(1, dir.path().to_owned())], ..Options::default() };
    let Some(kafka) = Kafka::start(&options) else { return };
    topic(&kafka, "full");
    let sender = Sender::new(kafka.bootstrap(), "full", "full", &[]);
    // Of half a megabyte each; the smaller disk has room for less than 30.
    let payload: String = (0..100_000).map(|n| format!("{:05}", n * 7919 % 99_991)).collect();
    for _ in 0..40 {
        assert!(sender.send(&payload).is_ok());
    }
    let until = Instant::now() + PATIENCE;
    while kafka.runs(1) {
        assert!(Instant::now() < until, "it runs on a full disk");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(kafka.told(1).contains("No space left on device"));
    assert_eq!(read(kafka.bootstrap(), "full", &[]).len(), 40);
}
