//! Acknowledged records are in the log, in order, under any fault of requests and brokers.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use domain::model::address::Topic;
use eventlog::api::{Append, AppendError, Appender, Done, Health, OnFull};
use eventlog::kafka::appender::{KafkaAppender, Metrics, OnFailure, Options};
use prometheus::Registry;
use testkit::kafka::Kafka;
use testkit::relay::plan::{Act, When, code};

use super::{TIMEOUT, World, append, shared, until};

pub(crate) type Results = Receiver<(u32, Result<(), AppendError>)>;

/// Appends numbers to `scans` partition 0, one append each.
pub(crate) fn number(appender: &KafkaAppender, numbers: std::ops::Range<u32>, on_full: OnFull) -> Results {
    let (result_tx, result_rx) = channel();
    for i in numbers {
        let result_tx = result_tx.clone();
        let done = move |result| result_tx.send((i, result)).expect("the test holds the receiver");
        appender.append(vec![append(Topic::Scans, 0, &i.to_string())], on_full, Box::new(done));
    }
    result_rx
}

fn sends_to(result_tx: &Sender<Result<(), AppendError>>) -> Done {
    let result_tx = result_tx.clone();
    Box::new(move |result| result_tx.send(result).expect("the test holds the receiver"))
}

/// The results of `count` appends.
fn outcomes(result_rx: &Results, count: usize) -> Vec<(u32, Result<(), AppendError>)> {
    (0..count).map(|_| result_rx.recv_timeout(TIMEOUT).expect("an outcome")).collect()
}

pub(crate) fn all_acknowledged(result_rx: &Results, numbers: std::ops::Range<u32>) {
    let outcomes = outcomes(result_rx, numbers.len());
    assert_eq!(outcomes, numbers.map(|i| (i, Ok(()))).collect::<Vec<_>>(), "in order");
}

/// The numbers in `scans` partition 0 without duplicates, in the order of their first records.
pub(crate) fn once(world: &World) -> Vec<u32> {
    let mut seen = BTreeSet::new();
    let texts = world.texts(Topic::Scans, 0);
    texts.iter().map(|text| text.parse().expect("a number")).filter(|number| seen.insert(*number)).collect()
}

/// A lane that replays from the start after each failure, until all is acknowledged; returns the number of its appenders.
fn replay(world: &World, count: u32) -> usize {
    let mut appenders = 0;
    loop {
        appenders += 1;
        let appender = world.appender(Options::lane());
        let result_rx = number(&appender, 0..count, OnFull::Wait);
        if outcomes(&result_rx, count as usize).iter().all(|(_, result)| result.is_ok()) {
            return appenders;
        }
        assert_eq!(appender.health(), Health::Failed);
        let late = appender.append_and_wait(vec![append(Topic::Scans, 0, "0")], OnFull::Wait);
        assert_eq!(late, Err(AppendError::Failed));
    }
}

const RETRIABLE: [i16; 4] =
    [code::NOT_LEADER_OR_FOLLOWER, code::NOT_ENOUGH_REPLICAS, code::REQUEST_TIMED_OUT, code::KAFKA_STORAGE_ERROR];

#[test]
fn appends_of_many_threads_keep_their_order() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let registry = Registry::new();
    let metrics = Metrics::new(&registry);
    let start = |id: &str| KafkaAppender::start(&world.settings, id, Options::lane(), &metrics).expect("an appender");
    let appenders = [start("many-0"), start("many-1")];
    std::thread::scope(|scope| {
        for thread in 0..6_usize {
            let appender = &appenders[thread % 2];
            scope.spawn(move || {
                let (result_tx, result_rx) = channel();
                for i in 0..100 {
                    let text = format!("{thread} {i}");
                    let records = vec![append(Topic::Facts, 0, &text), append(Topic::Facts, 1, &text)];
                    appender.append(records, OnFull::Wait, sends_to(&result_tx));
                }
                (0..100).for_each(|_| assert_eq!(result_rx.recv_timeout(TIMEOUT), Ok(Ok(()))));
            });
        }
    });
    for partition in 0..2 {
        let texts = world.texts(Topic::Facts, partition);
        assert_eq!(texts.len(), 600);
        for thread in 0..6 {
            let own: Vec<&String> = texts.iter().filter(|text| text.starts_with(&format!("{thread} "))).collect();
            let wanted: Vec<String> = (0..100).map(|i| format!("{thread} {i}")).collect();
            assert_eq!(own, wanted.iter().collect::<Vec<_>>());
        }
    }
    let counted = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
    for line in ["mashang_log_frames_total 1200", "mashang_log_ack_seconds_count 600", "mashang_log_queue_bytes 0"] {
        assert!(counted.contains(line), "{counted}");
    }
}

#[test]
fn first_request_is_sent_alone_until_acknowledged() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let id = world.settings.prefix.as_str();
    kafka.plan().on(id, When::Nth(1), Act::DelayAnswer(TIMEOUT));
    let appender = world.appender(Options { ack_timeout: TIMEOUT, ..Options::lane() });
    let result_rx = number(&appender, 0..50, OnFull::Wait);
    until("first request", || kafka.plan().seen(id) > 0);
    // No other request may follow.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(kafka.plan().seen(id), 1);
    assert!(result_rx.try_recv().is_err());
    kafka.plan().clear(id);
    kafka.relay(1).cut(id);
    all_acknowledged(&result_rx, 0..50);
    assert_eq!(world.texts(Topic::Scans, 0), (0..50).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[test]
fn refused_first_request_loses_no_record() {
    let Some(kafka) = shared() else { return };
    for options in [Options::lane(), Options { ack_timeout: TIMEOUT, ..Options::edge() }] {
        for refusal in RETRIABLE {
            let world = World::new(kafka);
            let id = world.settings.prefix.as_str();
            kafka.plan().on(id, When::FirstOfProducer, Act::Refuse(refusal));
            let appender = world.appender(options.clone());
            let result_rx = number(&appender, 0..40, OnFull::Wait);
            all_acknowledged(&result_rx, 0..40);
            assert_eq!(kafka.plan().hurts(id).len(), 1, "{refusal}");
            assert_eq!(world.texts(Topic::Scans, 0), (0..40).map(|i| i.to_string()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn failure_ends_a_lane_and_replay_restores_all() {
    let Some(kafka) = shared() else { return };
    for act in [Act::Refuse(code::INVALID_RECORD), Act::Refuse(code::TOPIC_AUTHORIZATION_FAILED)] {
        let world = World::new(kafka);
        let id = world.settings.prefix.as_str();
        kafka.plan().on(id, When::Nth(2), act);
        assert_eq!(replay(&world, 200), 2, "{act:?}");
        assert_eq!(once(&world), (0..200).collect::<Vec<_>>(), "{act:?}");
    }
}

#[test]
fn failure_makes_an_edge_resend_unacknowledged_records() {
    let Some(kafka) = shared() else { return };
    for act in [Act::Refuse(code::TOPIC_AUTHORIZATION_FAILED), Act::RefuseAfter(code::OUT_OF_ORDER_SEQUENCE_NUMBER)] {
        let world = World::new(kafka);
        let id = world.settings.prefix.as_str();
        kafka.plan().on(id, When::Nth(2), act);
        let appender = world.appender(Options { ack_timeout: TIMEOUT, ..Options::edge() });
        let result_rx = number(&appender, 0..200, OnFull::Refuse);
        all_acknowledged(&result_rx, 0..200);
        assert_eq!(kafka.plan().hurts(id).len(), 1);
        assert_eq!(once(&world), (0..200).collect::<Vec<_>>(), "{act:?}");
    }
}

#[test]
fn random_faults_lose_no_acknowledged_record() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let id = world.settings.prefix.as_str();
    kafka.plan().chaos(id, 60, 11);
    let quick = [("request.timeout.ms", "1000"), ("socket.timeout.ms", "2000")];
    let mut relayed = world.relayed.clone();
    relayed.producer.extend(quick.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let options = Options { ack_timeout: TIMEOUT, ..Options::edge() };
    let metrics = Metrics::new(&Registry::new());
    let appender = KafkaAppender::start(&relayed, id, options, &metrics).expect("an appender");
    let end = Instant::now() + TIMEOUT;
    let mut sent = 0;
    while kafka.plan().hurts(id).len() < 12 {
        assert!(Instant::now() < end, "{:?}", kafka.plan().hurts(id));
        let result_rx = number(&appender, sent..sent + 20, OnFull::Refuse);
        all_acknowledged(&result_rx, sent..sent + 20);
        sent += 20;
    }
    kafka.plan().clear(id);
    assert_eq!(once(&world), (0..sent).collect::<Vec<_>>());
}

/// A record that does not compress.
fn noise(bytes: usize) -> Append {
    let mut state = bytes as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u8::try_from(state >> 56).expect("a byte")
    };
    Append { topic: Topic::Scans, partition: 0, record: (0..bytes).map(|_| next()).collect() }
}

#[test]
fn too_large_record_is_refused_and_ends_a_lane() {
    let Some(kafka) = shared() else { return };
    // Too large for the broker, and too large for the client.
    for bytes in [3 << 20, 13 << 20] {
        let world = World::new(kafka);
        let appender = world.appender(Options { ack_timeout: TIMEOUT, queue_bytes_max: 1 << 26, ..Options::edge() });
        let before = number(&appender, 0..20, OnFull::Refuse);
        let (result_tx, result_rx) = channel();
        appender.append(vec![noise(bytes)], OnFull::Refuse, sends_to(&result_tx));
        let after = number(&appender, 20..40, OnFull::Refuse);
        assert_eq!(result_rx.recv_timeout(TIMEOUT), Ok(Err(AppendError::TooLarge)));
        all_acknowledged(&before, 0..20);
        all_acknowledged(&after, 20..40);
        assert_eq!(appender.health(), Health::Good);
        assert_eq!(once(&world), (0..40).collect::<Vec<_>>());
        let lane = world.appender(Options::lane());
        assert_eq!(lane.append_and_wait(vec![noise(bytes)], OnFull::Wait), Err(AppendError::Failed));
        assert_eq!(lane.health(), Health::Failed);
    }
}

#[test]
fn killed_broker_loses_no_acknowledged_record() {
    let Some(kafka) = Kafka::start(&testkit::kafka::Options { relay: true, ..Default::default() }) else { return };
    let world = World::new(&kafka);
    let edge = world.appender(Options { ack_timeout: TIMEOUT, ..Options::edge() });
    let (result_tx, result_rx) = channel();
    let mut sent = 0;
    let mut send = |count: u32| {
        for i in sent..sent + count {
            let result_tx = result_tx.clone();
            let done = move |result| result_tx.send((i, result)).expect("the test holds the receiver");
            edge.append(vec![append(Topic::Scans, 0, &i.to_string())], OnFull::Refuse, Box::new(done));
        }
        sent += count;
    };
    send(200);
    kafka.kill(1);
    send(200);
    kafka.restart(1);
    send(200);
    all_acknowledged(&result_rx, 0..600);
    assert_eq!(once(&world), (0..600).collect::<Vec<_>>());
}

#[test]
fn silent_broker_leaves_memory_bounded_until_it_returns() {
    let Some(kafka) = Kafka::start(&testkit::kafka::Options { relay: true, ..Default::default() }) else { return };
    let world = World::new(&kafka);
    let registry = Registry::new();
    let metrics = Metrics::new(&registry);
    let options =
        Options { on_failure: OnFailure::Resend, queue_bytes_max: 100_000, ack_timeout: Duration::from_secs(1) };
    let edge = KafkaAppender::start(&world.settings, "edge", options, &metrics).expect("an appender");
    let lane = world.appender(Options::lane());
    // On a slow machine an append may be refused and still arrive.
    let takes = |text: &str| edge.append_and_wait(vec![append(Topic::Scans, 0, text)], OnFull::Refuse) == Ok(());
    until("first acknowledgement", || takes("0"));
    kafka.pause(1);
    let waits = number(&lane, 1..2, OnFull::Wait);
    // Until a record is late, appends are accepted within the budget; after that all are refused.
    let (result_tx, result_rx) = channel();
    let mut given = 0;
    until("refusal", || {
        given += 1;
        let large = Append { topic: Topic::Scans, partition: 1, record: vec![1; 1000] };
        edge.append(vec![large], OnFull::Refuse, sends_to(&result_tx));
        edge.health() == Health::Full
    });
    let results: Vec<_> = (0..given).map(|_| result_rx.recv_timeout(TIMEOUT).expect("an outcome")).collect();
    assert!(results.iter().all(|result| *result == Err(AppendError::Full)), "{results:?}");
    let counted = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
    let held = counted.lines().find_map(|line| line.strip_prefix("mashang_log_queue_bytes ")).expect("a gauge");
    assert!(held.parse::<u64>().is_ok_and(|held| held <= 100_000), "{held}");
    assert_eq!(edge.append_and_wait(vec![append(Topic::Scans, 0, "refused")], OnFull::Refuse), Err(AppendError::Full));
    assert!(waits.try_recv().is_err(), "an answer waits");
    kafka.resume(1);
    all_acknowledged(&waits, 1..2);
    until("good health", || edge.health() == Health::Good);
    until("last acknowledgement", || takes("2"));
    assert_eq!(once(&world), [0, 1, 2]);
    assert_eq!(lane.health(), Health::Good);
}

#[test]
fn close_waits_for_records_in_flight_and_refuses_others() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let id = world.settings.prefix.as_str();
    let appender = world.appender(Options::lane());
    let result_rx = number(&appender, 0..100, OnFull::Wait);
    appender.close();
    all_acknowledged(&result_rx, 0..100);
    let late = appender.append_and_wait(vec![append(Topic::Scans, 0, "late")], OnFull::Wait);
    assert_eq!(late, Err(AppendError::Closed));
    kafka.plan().on(id, When::Every, Act::Swallow);
    let stuck = world.appender(Options::lane());
    let result_rx = number(&stuck, 100..110, OnFull::Wait);
    until("request", || !kafka.plan().hurts(id).is_empty());
    drop(stuck);
    assert_eq!(outcomes(&result_rx, 10), (100..110).map(|i| (i, Err(AppendError::Closed))).collect::<Vec<_>>());
    kafka.plan().clear(id);
    assert_eq!(once(&world), (0..100).collect::<Vec<_>>());
}
