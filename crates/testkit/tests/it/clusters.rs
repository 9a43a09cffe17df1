//! Brokers start, end, pause and start again.

use std::time::{Duration, Instant};

use testkit::disk::SmallDisk;
use testkit::kafka::{Kafka, Options};

use super::client::{Sender, TIMEOUT, read, topic};

#[test]
fn killed_broker_restarts_with_acknowledged_records() {
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
fn paused_broker_answers_after_it_resumes() {
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
fn three_brokers_survive_the_loss_of_one() {
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
fn broker_stores_records_in_the_given_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let placed = dir.path().join("placed");
    let options = Options { log_dirs: vec![(1, placed.clone())], ..Options::default() };
    let Some(kafka) = Kafka::start(&options) else { return };
    topic(&kafka, "placed");
    // The directory of a new topic appears with a delay, but exists once a record is acknowledged.
    let sender = Sender::new(kafka.bootstrap(), "placed", "placed", &[]);
    assert_eq!(sender.send("one"), Ok(0));
    assert!(placed.join("placed-0").is_dir());
    assert_eq!(kafka.data_dir(1), &placed);
}

#[test]
fn broker_with_a_full_disk_ends_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(_disk) = SmallDisk::mount(dir.path(), 16) else { return };
    let options = Options { brokers: 3, log_dirs: vec![(1, dir.path().to_owned())], ..Options::default() };
    let Some(kafka) = Kafka::start(&options) else { return };
    topic(&kafka, "full");
    let sender = Sender::new(kafka.bootstrap(), "full", "full", &[]);
    // Half a megabyte each; the small disk holds less than 30.
    let payload: String = (0..100_000).map(|n| format!("{:05}", n * 7919 % 99_991)).collect();
    for _ in 0..40 {
        assert!(sender.send(&payload).is_ok());
    }
    let until = Instant::now() + TIMEOUT;
    while kafka.runs(1) {
        assert!(Instant::now() < until, "it runs on a full disk");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(kafka.output(1).contains("No space left on device"));
    assert_eq!(read(kafka.bootstrap(), "full", &[]).len(), 40);
}
