//! Brokers start, die, freeze and come back.

use std::time::Duration;

use stand::kafka::{Kafka, Options};

use super::client::{Sender, read, topic};

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
    assert!(placed.join("placed-0").is_dir());
    assert_eq!(kafka.data_dir(1), &placed);
}
