//! The log on a real Kafka, through a relay that injects the faults that a test plans.
//!
//! Tests share a broker and differ in their prefix; a test that disturbs a broker has a broker of its own.

mod appenders;
mod basics;
mod brokers;
mod consumers;
mod members;
mod operator;
mod setup;
mod topics;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use domain::model::address::{Partitions, Topic, TopicPartition};
use eventlog::api::{Append, Consumer};
use eventlog::error::LogError;
use eventlog::kafka::appender::{KafkaAppender, Metrics, Options};
use eventlog::kafka::consumer::KafkaConsumer;
use eventlog::kafka::settings::Settings;
use eventlog::kafka::topics::create::{Created, Wanted, create};
use eventlog::local::meta::{Clock, Meta};
use prometheus::Registry;
use testkit::kafka::Kafka;

/// Timeout of every wait, long enough for a slow machine; after it, the test fails.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);
pub(crate) const MEND: &str = "begin again";
pub(crate) const PARTITIONS: Partitions = Partitions { scans: 3, draws: 2, awards: 1, facts: 2 };

/// A log that only one test uses.
pub(crate) struct World {
    pub(crate) settings: Settings,
    /// The same settings, through the relay.
    pub(crate) relayed: Settings,
    pub(crate) meta: Meta,
}

pub(crate) fn wanted() -> Wanted {
    Wanted {
        clock: Clock::Wall,
        partitions: PARTITIONS,
        replication: 1,
        min_insync: 1,
        retain_ms: 24 * 60 * 60 * 1000,
        record_bytes_max: 2 * 1024 * 1024,
    }
}

/// Settings with a prefix that no other test has.
pub(crate) fn fresh(brokers: &str) -> Settings {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    Settings { prefix, ..Settings::new(brokers) }
}

pub(crate) fn make(settings: &Settings) -> Created {
    create(settings, &wanted()).expect("topics")
}

impl World {
    pub(crate) fn new(kafka: &Kafka) -> Self {
        let settings = fresh(kafka.bootstrap());
        let meta = make(&settings).report.meta;
        Self::of(kafka, settings, meta)
    }

    pub(crate) fn of(kafka: &Kafka, settings: Settings, meta: Meta) -> Self {
        let mut relayed = Settings { brokers: kafka.relayed(), ..settings.clone() };
        // Small batches give the relay more requests.
        relayed.producer.insert("batch.num.messages".to_owned(), "2".to_owned());
        Self { settings, relayed, meta }
    }

    pub(crate) fn consumer(&self) -> KafkaConsumer {
        KafkaConsumer::new(&self.settings, &self.meta, &self.settings.prefix).expect("a consumer")
    }

    /// An appender through the relay; its client id is the prefix.
    pub(crate) fn appender(&self, options: Options) -> KafkaAppender {
        let metrics = Metrics::new(&Registry::new());
        KafkaAppender::start(&self.relayed, &self.settings.prefix, options, &metrics).expect("an appender")
    }

    /// The texts of a partition's records after the first one.
    pub(crate) fn texts(&self, topic: Topic, partition: u16) -> Vec<String> {
        let mut consumer = self.consumer();
        let bounds = consumer.bounds(TopicPartition::new(topic, partition)).expect("bounds");
        consumer.assign(TopicPartition::new(topic, partition), bounds.start, MEND).expect("assigned");
        let want = usize::try_from(bounds.end - bounds.start).expect("few");
        let records = read(&mut consumer, want).expect("readable");
        let skip = usize::from(bounds.start == 0);
        records.into_values().flatten().skip(skip).map(|(_, text)| text).collect()
    }
}

/// Offset and text by partition.
pub(crate) type Found = BTreeMap<TopicPartition, Vec<(u64, String)>>;

/// Reads `count` records, and those that arrive in the same poll.
pub(crate) fn read(consumer: &mut KafkaConsumer, count: usize) -> Result<Found, LogError> {
    let (mut found, mut left) = (Found::new(), count);
    let end = Instant::now() + TIMEOUT;
    while left > 0 {
        assert!(Instant::now() < end, "{left} records of {count} did not arrive: {found:?}");
        left = left.saturating_sub(consumer.poll(Duration::from_millis(200), &mut |partition, record| {
            let text = String::from_utf8_lossy(record.bytes).into_owned();
            found.entry(partition).or_default().push((record.offset, text));
            ControlFlow::Continue(())
        })?);
    }
    Ok(found)
}

/// Waits until a condition holds.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < end, "no {what} in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn append(topic: Topic, partition: u16, text: &str) -> Append {
    Append { topic, partition, record: text.as_bytes().to_vec() }
}

pub(crate) fn shared() -> Option<&'static Kafka> {
    Kafka::shared()
}
