//! What is acknowledged is in the log, in order, whatever happens to requests and brokers.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use domain::model::address::Topic;
use eventlog::api::Append;
use eventlog::api::Appender;
use eventlog::api::{AppendError, Done, Health, OnFull};
use eventlog::kafka::appender::{KafkaAppender, Metrics, OnFailure, Options};
use prometheus::Registry;
use testkit::kafka::Kafka;
use testkit::relay::plan::{Act, When, code};

use super::{PATIENCE, World, append, shared, until};

pub(crate) type Results = Receiver<(u32, Result<(), AppendError>)>;

/// Appends numbers to `scans` partition 0, one entry each.
pub(crate) fn number(appender: &KafkaAppender, numbers: std::ops::Range<u32>, on_full: OnFull) -> Results {
    let (tell, told) = channel();
    for i in numbers {
        let tell = tell.clone();
        let done = move |result| tell.send((i, result)).expect("somebody listens");
        appender.append(vec![append(Topic::Scans, 0, &i.to_string())], on_full, Box::new(done));
    }
    told
}

fn telling(tell: &Sender<Result<(), AppendError>>) -> Done {
    let tell = tell.clone();
    Box::new(move |result| tell.send(result).expect("somebody listens"))
}

/// What became of so many.
fn outcomes(told: &Results, count: usize) -> Vec<(u32, Result<(), AppendError>)> {
    (0..count).map(|_| told.recv_timeout(PATIENCE).expect("an outcome")).collect()
}

pub(crate) fn all_taken(told: &Results, numbers: std::ops::Range<u32>) {
    let outcomes = outcomes(told, numbers.len());
    assert_eq!(outcomes, numbers.map(|i| (i, Ok(()))).collect::<Vec<_>>(), "in their order");
}

/// What is in `scans` partition 0, each once, in the order in which it came first.
pub(crate) fn once(world: &World) -> Vec<u32> {
    let mut seen = BTreeSet::new();
    let texts = world.texts(Topic::Scans, 0);
    texts.iter().map(|text| text.parse().expect("a number")).filter(|number| seen.insert(*number)).collect()
}

/// A lane that begins again after each failure, from what is surely there: its appenders, until all is acknowledged.
fn replay(world: &World, count: u32) -> usize {
    let mut appenders = 0;
    loop {
        appenders += 1;
        let appender = world.appender(Options::lane());
        let told = number(&appender, 0..count, OnFull::Wait);
        if outcomes(&told, count as usize).iter().all(|(_, result)| result.is_ok()) {
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
fn many_threads_append_and_each_ones_order_holds() {
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
                let (tell, told) = channel();
                for i in 0..100 {
                    let text = format!("{thread} {i}");
                    let records = vec![append(Topic::Facts, 0, &text), append(Topic::Facts, 1, &text)];
                    appender.append(records, OnFull::Wait, telling(&tell));
                }
                (0..100).for_each(|_| assert_eq!(told.recv_timeout(PATIENCE), Ok(Ok(()))));
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
fn the_first_request_goes_alone_until_it_is_acknowledged() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let id = world.settings.prefix.as_str();
    kafka.plan().on(id, When::Nth(1), Act::DelayAnswer(PATIENCE));
    let appender = world.appender(Options { ack_timeout: PATIENCE, ..Options::lane() });
    let told = number(&appender, 0..50, OnFull::Wait);
    until("the first request", || kafka.plan().seen(id) > 0);
    // Nothing follows, however long one looks.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(kafka.plan().seen(id), 1);
    assert!(told.try_recv().is_err());
    kafka.plan().clear(id);
    kafka.relay(1).cut(id);
    all_taken(&told, 0..50);
    assert_eq!(world.texts(Topic::Scans, 0), (0..50).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_first_request_that_is_refused_loses_nothing() {
    let Some(kafka) = shared() else { return };
    for options in [Options::lane(), Options { ack_timeout: PATIENCE, ..Options::edge() }] {
        for refusal in RETRIABLE {
            let world = World::new(kafka);
            let id = world.settings.prefix.as_str();
            kafka.plan().on(id, When::FirstOfProducer, Act::Refuse(refusal));
            let appender = world.appender(options.clone());
            let told = number(&appender, 0..40, OnFull::Wait);
            all_taken(&told, 0..40);
            assert_eq!(kafka.plan().hurts(id).len(), 1, "{refusal}");
            assert_eq!(world.texts(Topic::Scans, 0), (0..40).map(|i| i.to_string()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_failure_ends_a_lane_and_its_replay_gives_all() {
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
fn after_a_failure_an_edge_sends_again_what_is_not_acknowledged() {
    let Some(kafka) = shared() else { return };
    for act in [Act::Refuse(code::TOPIC_AUTHORIZATION_FAILED), Act::RefuseAfter(code::OUT_OF_ORDER_SEQUENCE_NUMBER)] {
        let world = World::new(kafka);
        let id = world.settings.prefix.as_str();
        kafka.plan().on(id, When::Nth(2), act);
        let appender = world.appender(Options { ack_timeout: PATIENCE, ..Options::edge() });
        let told = number(&appender, 0..200, OnFull::Refuse);
        all_taken(&told, 0..200);
        assert_eq!(kafka.plan().hurts(id).len(), 1);
        assert_eq!(once(&world), (0..200).collect::<Vec<_>>(), "{act:?}");
    }
}

#[test]
fn under_chaos_nothing_that_was_acknowledged_is_lost() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let id = world.settings.prefix.as_str();
    kafka.plan().chaos(id, 60, 11);
    let quick = [("request.timeout.ms", "1000"), ("socket.timeout.ms", "2000")];
    let mut relayed = world.relayed.clone();
    relayed.producer.extend(quick.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let options = Options { ack_timeout: PATIENCE, ..Options::edge() };
    let metrics = Metrics::new(&Registry::new());
    let appender = KafkaAppender::start(&relayed, id, options, &metrics).expect("an appender");
    let end = Instant::now() + PATIENCE;
    let mut sent = 0;
    while kafka.plan().hurts(id).len() < 12 {
        assert!(Instant::now() < end, "{:?}", kafka.plan().hurts(id));
        let told = number(&appender, sent..sent + 20, OnFull::Refuse);
        all_taken(&told, sent..sent + 20);
        sent += 20;
    }
    kafka.plan().clear(id);
    assert_eq!(once(&world), (0..sent).collect::<Vec<_>>());
}

/// A record that no compression makes smaller.
fn noise(bytes: usize) -> Append {
    let mut state = bytes as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u8::try_from(state >> 56).expect("a byte")
    };
    Append { topic: Topic::Scans, partition: 0, record: (0..bytes).map(|_| next()).collect() }
}

#[test]
fn a_record_that_is_too_large_is_refused_to_whoever_gave_it_and_ends_a_lane() {
    let Some(kafka) = shared() else { return };
    // For the broker, and for the client already.
    for bytes in [3 << 20, 13 << 20] {
        let world = World::new(kafka);
        let appender = world.appender(Options { ack_timeout: PATIENCE, queue_bytes_max: 1 << 26, ..Options::edge() });
        let before = number(&appender, 0..20, OnFull::Refuse);
        let (tell, told) = channel();
        appender.append(vec![noise(bytes)], OnFull::Refuse, telling(&tell));
        let after = number(&appender, 20..40, OnFull::Refuse);
        assert_eq!(told.recv_timeout(PATIENCE), Ok(Err(AppendError::TooLarge)));
        all_taken(&before, 0..20);
        all_taken(&after, 20..40);
        assert_eq!(appender.health(), Health::Good);
        assert_eq!(once(&world), (0..40).collect::<Vec<_>>());
        let lane = world.appender(Options::lane());
        assert_eq!(lane.append_and_wait(vec![noise(bytes)], OnFull::Wait), Err(AppendError::Failed));
        assert_eq!(lane.health(), Health::Failed);
    }
}

#[test]
fn a_broker_that_is_killed_in_the_middle_loses_nothing() {
    let Some(kafka) = Kafka::start(&testkit::kafka::Options { relay: true, ..Default::default() }) else { return };
    let world = World::new(&kafka);
    let edge = world.appender(Options { ack_timeout: PATIENCE, ..Options::edge() });
    let (tell, told) = channel();
    let mut sent = 0;
    let mut send = |count: u32| {
        for i in sent..sent + count {
            let tell = tell.clone();
            let done = move |result| tell.send((i, result)).expect("somebody listens");
            edge.append(vec![append(Topic::Scans, 0, &i.to_string())], OnFull::Refuse, Box::new(done));
        }
        sent += count;
    };
    send(200);
    kafka.kill(1);
    send(200);
    kafka.restart(1);
    send(200);
    all_taken(&told, 0..600);
    assert_eq!(once(&world), (0..600).collect::<Vec<_>>());
}

#[test]
fn while_a_broker_says_nothing_memory_is_bounded_and_it_heals_by_itself() {
    let Some(kafka) = Kafka::start(&testkit::kafka::Options { relay: true, ..Default::default() }) else { return };
    let world = World::new(&kafka);
    let registry = Registry::new();
    let metrics = Metrics::new(&registry);
    let options =
        Options { on_failure: OnFailure::Resend, queue_bytes_max: 100_000, ack_timeout: Duration::from_secs(1) };
    let edge = KafkaAppender::start(&world.settings, "edge", options, &metrics).expect("an appender");
    let lane = world.appender(Options::lane());
    // A machine may be so slow that it is refused, and arrives.
    let takes = |text: &str| edge.append_and_wait(vec![append(Topic::Scans, 0, text)], OnFull::Refuse) == Ok(());
    until("the first one", || takes("0"));
    kafka.pause(1);
    let waits = number(&lane, 1..2, OnFull::Wait);
    // As long as nothing is late, what there is room for is taken; then nothing is.
    let (tell, told) = channel();
    let mut given = 0;
    until("a refusal", || {
        given += 1;
        let large = Append { topic: Topic::Scans, partition: 1, record: vec![1; 1000] };
        edge.append(vec![large], OnFull::Refuse, telling(&tell));
        edge.health() == Health::Full
    });
    let results: Vec<_> = (0..given).map(|_| told.recv_timeout(PATIENCE).expect("an outcome")).collect();
    assert!(results.iter().all(|result| *result == Err(AppendError::Full)), "{results:?}");
    let counted = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
    let held = counted.lines().find_map(|line| line.strip_prefix("mashang_log_queue_bytes ")).expect("a gauge");
    assert!(held.parse::<u64>().is_ok_and(|held| held <= 100_000), "{held}");
    assert_eq!(edge.append_and_wait(vec![append(Topic::Scans, 0, "refused")], OnFull::Refuse), Err(AppendError::Full));
    assert!(waits.try_recv().is_err(), "an answer waits");
    kafka.resume(1);
    all_taken(&waits, 1..2);
    until("a good health", || edge.health() == Health::Good);
    until("the last one", || takes("2"));
    assert_eq!(once(&world), [0, 1, 2]);
    assert_eq!(lane.health(), Health::Good);
}

#[test]
fn closing_waits_for_what_is_under_way_and_refuses_the_rest() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let id = world.settings.prefix.as_str();
    let appender = world.appender(Options::lane());
    let told = number(&appender, 0..100, OnFull::Wait);
    appender.close();
    all_taken(&told, 0..100);
    let late = appender.append_and_wait(vec![append(Topic::Scans, 0, "late")], OnFull::Wait);
    assert_eq!(late, Err(AppendError::Closed));
    kafka.plan().on(id, When::Every, Act::Swallow);
    let stuck = world.appender(Options::lane());
    let told = number(&stuck, 100..110, OnFull::Wait);
    until("a request", || !kafka.plan().hurts(id).is_empty());
    drop(stuck);
    assert_eq!(outcomes(&told, 10), (100..110).map(|i| (i, Err(AppendError::Closed))).collect::<Vec<_>>());
    kafka.plan().clear(id);
    assert_eq!(once(&world), (0..100).collect::<Vec<_>>());
}
