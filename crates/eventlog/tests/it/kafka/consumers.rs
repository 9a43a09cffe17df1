//! A consumer returns every record of its partitions in order, or an error that says why it cannot.

use std::ops::ControlFlow;
use std::time::Duration;

use domain::model::address::{Topic, TopicPartition};
use eventlog::api::{Appender as _, Consumer, OnFull};
use eventlog::error::LogError;
use eventlog::kafka::appender::Options;
use eventlog::kafka::consumer::KafkaConsumer;
use eventlog::kafka::settings::Settings;
use eventlog::kafka::topic_reader;
use eventlog::local::meta::{Clock, Meta};
use testkit::kafka::Kafka;

use super::operator::{Operator, RIGHT};
use super::{MEND, PARTITIONS, World, append, read, shared, until};

/// A log with `count` records in `scans` partition 0 after the first one; each text is the record's offset.
fn filled(kafka: &Kafka, count: usize) -> World {
    let world = World::new(kafka);
    let appender = world.appender(Options::lane());
    let records = (1..=count).map(|i| append(Topic::Scans, 0, &i.to_string())).collect();
    appender.append_and_wait(records, OnFull::Wait).expect("acknowledged");
    world
}

fn assign(consumer: &mut KafkaConsumer, from: u64) {
    consumer.assign(TopicPartition::new(Topic::Scans, 0), from, MEND).expect("assigned");
}

/// Polls until the consumer fails.
fn failure_of(consumer: &mut KafkaConsumer) -> LogError {
    let mut error = None;
    until("error of the consumer", || {
        error = consumer.poll(Duration::from_millis(200), &mut |_, _| ControlFlow::Continue(())).err();
        error.is_some()
    });
    error.expect("it was waited for")
}

#[test]
fn partition_is_read_from_any_offset_repeatedly() {
    let Some(kafka) = shared() else { return };
    let world = filled(kafka, 400);
    let mut consumer = world.consumer();
    assert_eq!(consumer.bounds(TopicPartition::new(Topic::Scans, 0)).expect("bounds"), 0..401);
    for round in 0..40_u64 {
        let from = round * 137 % 400 + 1;
        assign(&mut consumer, from);
        let (mut next, want) = (from, round % 3 * 50);
        // Some prefetched records are still in flight when the next round begins.
        while next < (from + want).min(401) {
            consumer
                .poll(Duration::from_millis(200), &mut |partition, record| {
                    assert_eq!((partition, record.offset), (TopicPartition::new(Topic::Scans, 0), next));
                    assert_eq!(record.bytes, next.to_string().as_bytes());
                    assert!(record.append > 1_600_000_000_000, "{}", record.append);
                    next += 1;
                    ControlFlow::Continue(())
                })
                .expect("readable");
        }
        if round % 2 == 0 {
            consumer.revoke(TopicPartition::new(Topic::Scans, 0));
            let count = consumer.poll(Duration::from_millis(20), &mut |_, _| ControlFlow::Continue(()));
            assert_eq!(count.expect("readable"), 0, "a revoked partition returns no record");
        }
    }
}

#[test]
fn poll_is_bounded_and_stops_at_a_break() {
    let Some(kafka) = shared() else { return };
    let world = filled(kafka, 1000);
    let mut consumer = world.consumer();
    assign(&mut consumer, 0);
    let (mut offsets, mut calls) = (Vec::new(), 0);
    while offsets.len() < 1001 {
        calls += 1;
        let before = offsets.len();
        let count = consumer.poll(Duration::from_secs(1), &mut |_, record| {
            offsets.push(record.offset);
            if offsets.len() == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let count = count.expect("readable");
        assert_eq!(count, offsets.len() - before);
        assert!(count <= 256 && (before >= 10 || offsets.len() <= 10), "{count} in one poll");
    }
    assert!(calls >= 5);
    assert_eq!(offsets, (0..1001).collect::<Vec<_>>());
}

#[test]
fn assign_outside_of_the_bounds_fails() {
    let Some(kafka) = shared() else { return };
    let world = filled(kafka, 20);
    Operator::on(&world.settings).cut(&world.settings.topic(Topic::Scans), 0, 11);
    let mut consumer = world.consumer();
    let name = world.settings.partition(TopicPartition::new(Topic::Scans, 0));
    let error = consumer.assign(TopicPartition::new(Topic::Scans, 0), 10, MEND).expect_err("it was deleted");
    assert!(
        matches!(&error, LogError::Retired { partition, wanted: 10, start: 11, .. } if *partition == name),
        "{error}"
    );
    let error = consumer.assign(TopicPartition::new(Topic::Scans, 0), 22, MEND).expect_err("it is behind the end");
    assert!(matches!(&error, LogError::Short { partition, wanted: 22, end: 21 } if *partition == name), "{error}");
    consumer.assign(TopicPartition::new(Topic::Scans, 0), 21, MEND).expect("the end");
    assign(&mut consumer, 11);
    let found = read(&mut consumer, 10).expect("readable");
    assert_eq!(found[&TopicPartition::new(Topic::Scans, 0)][0].0, 11);
    let error = consumer
        .assign(TopicPartition::new(Topic::Scans, 99), 0, MEND)
        .expect_err("there is no such partition")
        .to_string();
    assert!(error.contains("scans partition 99") && error.contains("topics create"), "{error}");
}

#[test]
fn consumer_overtaken_by_retention_fails() {
    let Some(kafka) = shared() else { return };
    let mut world = World::new(kafka);
    let appender = world.appender(Options::lane());
    // Numbers that do not compress, so that few records are prefetched.
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33).to_le_bytes()
    };
    for _ in 0..60 {
        let record = (0..25_000).flat_map(|_| noise()).collect();
        let append = eventlog::api::Append { topic: Topic::Scans, partition: 0, record };
        appender.append_and_wait(vec![append], OnFull::Wait).expect("acknowledged");
    }
    let little = [("queued.max.messages.kbytes", "300"), ("fetch.message.max.bytes", "100000")];
    world.settings.consumer.extend(little.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut consumer = world.consumer();
    assign(&mut consumer, 0);
    read(&mut consumer, 1).expect("readable");
    Operator::on(&world.settings).cut(&world.settings.topic(Topic::Scans), 0, 55);
    let error = failure_of(&mut consumer);
    assert!(matches!(error, LogError::Retired { start: 55, wanted: 1..55, .. }), "{error}");
}

#[test]
fn recreated_topic_fails_its_consumer() {
    let Some(kafka) = shared() else { return };
    let world = filled(kafka, 20);
    let (operator, scans) = (Operator::on(&world.settings), world.settings.topic(Topic::Scans));
    let mut consumer = world.consumer();
    assign(&mut consumer, 0);
    read(&mut consumer, 21).expect("readable");
    operator.delete(&scans);
    operator.make(&scans, 3, &RIGHT);
    operator.put(&scans, 0, Some(b"other"));
    let error = failure_of(&mut consumer);
    // The order in which the client notices them varies.
    let is_gone = matches!(&error, LogError::Kafka { what, mend, .. } if what.contains("cannot be read") && mend.contains("topics"));
    assert!(is_gone || matches!(error, LogError::Short { wanted: 21, end: 1, .. }), "{error}");
}

#[test]
fn other_first_record_is_of_another_log() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let other = Meta::new(7, Clock::Wall, PARTITIONS);
    let mut consumer = KafkaConsumer::new(&world.settings, &other, "other").expect("a consumer");
    assign(&mut consumer, 0);
    let error = failure_of(&mut consumer);
    assert!(matches!(&error, LogError::Foreign { offset: 0, what, .. } if what.contains("recreated")), "{error}");
    let stranger = Settings { prefix: format!("{}-s", world.settings.prefix), ..world.settings.clone() };
    let operator = Operator::on(&stranger);
    operator.make(&stranger.topic(Topic::Scans), 1, &RIGHT);
    operator.put(&stranger.topic(Topic::Scans), 0, Some(b"no frame"));
    let mut consumer = KafkaConsumer::new(&stranger, &world.meta, "stranger").expect("a consumer");
    assign(&mut consumer, 0);
    let error = failure_of(&mut consumer);
    assert!(matches!(&error, LogError::Foreign { offset: 0, what, .. } if what.contains("topics create")), "{error}");
}

#[test]
fn gap_in_the_offsets_is_an_error() {
    let Some(kafka) = shared() else { return };
    let world = filled(kafka, 3);
    let (operator, scans) = (Operator::on(&world.settings), world.settings.topic(Topic::Scans));
    let mut consumer = world.consumer();
    operator.put_in_transaction(&scans, b"4");
    // The broker writes the transaction's end after its acknowledgement.
    until("end of the transaction", || consumer.bounds(TopicPartition::new(Topic::Scans, 0)).expect("bounds").end == 6);
    operator.put(&scans, 0, Some(b"6"));
    assign(&mut consumer, 0);
    let error = failure_of(&mut consumer);
    assert!(matches!(error, LogError::Hole { expected: 5, found: 6, .. }), "{error}");
}

#[test]
fn missing_payload_is_empty_and_writers_time_refused() {
    let Some(kafka) = shared() else { return };
    let world = filled(kafka, 1);
    let (operator, scans) = (Operator::on(&world.settings), world.settings.topic(Topic::Scans));
    operator.put(&scans, 0, None);
    let mut consumer = world.consumer();
    assign(&mut consumer, 1);
    let found = read(&mut consumer, 2).expect("readable");
    assert_eq!(found[&TopicPartition::new(Topic::Scans, 0)], [(1, "1".to_owned()), (2, String::new())]);
    operator.set(&scans, &[("message.timestamp.type", "CreateTime")]);
    // Brokers apply a change of settings with a delay.
    let mut error = None;
    until("refusal of a writer's time", || {
        operator.put(&scans, 0, Some(b"more"));
        error = consumer.poll(Duration::from_millis(200), &mut |_, _| ControlFlow::Continue(())).err();
        error.is_some()
    });
    let error = error.expect("it was waited for");
    assert!(matches!(&error, LogError::Foreign { offset: 3.., what, .. } if what.contains("LogAppendTime")), "{error}");
}

#[test]
fn topic_reader_reads_partitions_in_any_order() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let appender = world.appender(Options::lane());
    // More than the limit of a partition's buffered records.
    let large = "0123456789abcdef".repeat(20_000);
    for i in 0..40 {
        let records = (0..3).map(|p| append(Topic::Scans, p, &format!("{i} {large}"))).collect();
        appender.append_and_wait(records, OnFull::Wait).expect("acknowledged");
    }
    Operator::on(&world.settings).cut(&world.settings.topic(Topic::Scans), 1, 5);
    let mut reader = topic_reader::open(&world.settings, "archive", Topic::Scans).expect("a log");
    appender.append_and_wait(vec![append(Topic::Scans, 0, "later")], OnFull::Wait).expect("acknowledged");
    assert_eq!(reader.meta, world.meta);
    for (partition, offsets) in [(2, 0..41_u64), (0, 0..41), (1, 5..41)] {
        for offset in offsets {
            let record = reader.partitions[partition].next_record().expect("readable").expect("one more");
            assert_eq!(record.offset, offset);
            let is_it = record.bytes.starts_with(format!("{} ", offset.saturating_sub(1)).as_bytes());
            assert!(is_it || offset == 0, "partition {partition} offset {offset}");
        }
        assert!(reader.partitions[partition].next_record().expect("readable").is_none());
    }
    appender.close();
}

#[test]
fn consumer_survives_an_outage() {
    let Some(kafka) = Kafka::start(&testkit::kafka::Options { relay: true, ..Default::default() }) else { return };
    let world = filled(&kafka, 5);
    let mut consumer = world.consumer();
    assign(&mut consumer, 0);
    read(&mut consumer, 6).expect("readable");
    kafka.kill(1);
    let count = consumer.poll(Duration::from_secs(2), &mut |_, _| ControlFlow::Continue(()));
    assert_eq!(count.expect("an outage is no error"), 0);
    kafka.restart(1);
    let appender = world.appender(Options::lane());
    appender.append_and_wait(vec![append(Topic::Scans, 0, "back")], OnFull::Wait).expect("acknowledged");
    let found = read(&mut consumer, 1).expect("readable");
    assert_eq!(found[&TopicPartition::new(Topic::Scans, 0)], [(6, "back".to_owned())]);
}
