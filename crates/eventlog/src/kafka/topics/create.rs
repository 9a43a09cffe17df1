//! Creates the topics of a log. It is safe to run again, also after an interruption, and safe to run twice at the same time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use domain::model::address::{Partitions, Topic, TopicPartition};
use prometheus::Registry;
use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::api::{Append, OnFull};
use crate::error::LogError;
use crate::kafka::appender::{KafkaAppender, Metrics, OnFailure, Options};
use crate::kafka::metadata::{Admin, MetadataClient, REQUEST_TIMEOUT, TopicInfo};
use crate::kafka::settings::Settings;
use crate::kafka::topics::check::{Needs, Report, check};
use crate::kafka::topics::origin::{self, Origin, RULES, wrong_first};
use crate::kafka::topics::{CLIENT_ID, LOST, RECORD_BYTES_MIN};
use crate::local::meta::{Clock, Meta};

/// Maximum time to wait until a broker knows all new topics; after it, missing topics are an error.
const CREATED_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between retries.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The topics to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The clock of the log.
    pub clock: Clock,
    /// The number of partitions of each topic.
    pub partitions: Partitions,
    /// Number of brokers that hold each partition.
    pub replication: u16,
    /// Number of brokers that must hold an append before it is acknowledged.
    pub min_insync: u16,
    /// Time for which records are kept, except those of `rules`, ms; -1 means without an end.
    pub retain_ms: i64,
    /// Maximum size of a record, bytes; records of `rejects` and `rules` may be larger.
    pub record_bytes_max: u64,
}

impl Wanted {
    fn check(&self) -> Result<(), LogError> {
        let wrong = |name: &str, why: &str| Err(LogError::Setting { name: name.to_owned(), why: why.to_owned() });
        if self.min_insync == 0 || self.min_insync > self.replication {
            return wrong(
                "min.insync.replicas",
                "it can be from 1 to the number of replicas: else nothing can be written",
            );
        }
        if Topic::ALL.iter().any(|topic| self.partitions.of(*topic) == 0) {
            return wrong("partitions", "each topic has one at least");
        }
        if self.record_bytes_max < RECORD_BYTES_MIN {
            return wrong("max.message.bytes", "it can be 1048576 at least: answers of that size must fit");
        }
        Ok(())
    }
}

/// The result of a creation.
#[derive(Clone, Debug)]
pub struct Created {
    /// The full names of the topics that were created; empty if all existed.
    pub made: Vec<String>,
    /// The differences between an existing log and what was wanted.
    pub differs: Vec<String>,
    /// The result of [`check`].
    pub report: Report,
}

/// Creates the topics that are missing, and writes the log's identity to each partition.
///
/// # Errors
/// A topic was lost or recreated, belongs to another log, or cannot be created; or `wanted` is not valid.
pub fn create(settings: &Settings, wanted: &Wanted) -> Result<Created, LogError> {
    wanted.check()?;
    let creator = Creator { settings, wanted, client: MetadataClient::open(settings, CLIENT_ID)? };
    let mut found = creator.client.topics()?;
    let mut made = Vec::new();
    if !found.contains_key(&Topic::Rules) {
        creator.refuse_orphans(&found)?;
        made.extend(creator.make(&[(Topic::Rules, 1)])?);
    }
    let Origin { meta, is_complete } = creator.origin(&found)?;
    if !is_complete {
        let missing: Vec<(Topic, u16)> = Topic::ALL
            .iter()
            .filter(|topic| **topic != Topic::Rules && !found.contains_key(topic))
            .map(|&topic| (topic, meta.partitions.of(topic)))
            .collect();
        made.extend(creator.make(&missing)?);
        found = creator.all_found()?;
    } else if found.len() < Topic::ALL.len() {
        // Another process may have created them since.
        found = creator.all_found()?;
    }
    creator.begin_partitions(&meta, is_complete, &found)?;
    if !is_complete {
        creator.write(&[(RULES, meta.genesis(RULES).record())])?;
    }
    let needs = Needs { retain_ms: wanted.retain_ms };
    Ok(Created { made, differs: differs(wanted, &meta), report: check(settings, &needs)? })
}

fn differs(wanted: &Wanted, meta: &Meta) -> Vec<String> {
    let mut differs = Vec::new();
    if wanted.clock != meta.clock {
        differs.push(format!("the log keeps to the {} clock, not to the {} clock", meta.clock, wanted.clock));
    }
    for topic in Topic::ALL {
        let (is, requested) = (meta.partitions.of(*topic), wanted.partitions.of(*topic));
        if is != requested {
            differs.push(format!("{topic} has {is} partitions, not {requested}"));
        }
    }
    differs
}

/// The settings of a topic.
fn settings_of(topic: Topic, wanted: &Wanted) -> Vec<(&'static str, String)> {
    let record_bytes_max = match topic {
        // A reject holds a whole record; a record of rules is as large as the rules file.
        Topic::Rejects => wanted.record_bytes_max.saturating_mul(2),
        Topic::Rules => wanted.record_bytes_max.max(8 * RECORD_BYTES_MIN),
        _ => wanted.record_bytes_max,
    };
    let retain_ms = if topic == Topic::Rules { -1 } else { wanted.retain_ms };
    vec![
        ("cleanup.policy", "delete".to_owned()),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("min.insync.replicas", wanted.min_insync.to_string()),
        ("retention.ms", retain_ms.to_string()),
        ("retention.bytes", "-1".to_owned()),
        ("max.message.bytes", record_bytes_max.to_string()),
    ]
}

struct Creator<'a> {
    settings: &'a Settings,
    wanted: &'a Wanted,
    client: MetadataClient,
}

impl Creator<'_> {
    fn wrong(&self, topic: Topic, what: impl Into<String>, mend: &'static str) -> LogError {
        LogError::Topic { topic: self.settings.topic(topic), what: what.into(), mend }
    }

    /// Refuses topics without `rules`. Since `rules` is created first, they are the rest of a lost log.
    fn refuse_orphans(&self, found: &BTreeMap<Topic, TopicInfo>) -> Result<(), LogError> {
        let Some(topic) = found.keys().next() else { return Ok(()) };
        let what = format!("it is missing, but {} is there", self.settings.topic(*topic));
        let mend = "restore it, or delete the other topics of this prefix, or give another --prefix";
        Err(self.wrong(Topic::Rules, what, mend))
    }

    /// Creates topics. A topic that another process created meanwhile is fine too.
    fn make(&self, topics: &[(Topic, u16)]) -> Result<Vec<String>, LogError> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = topics.iter().map(|(topic, _)| self.settings.topic(*topic)).collect();
        let own: Vec<_> = topics.iter().map(|(topic, _)| settings_of(*topic, self.wanted)).collect();
        let new: Vec<NewTopic<'_>> = topics
            .iter()
            .zip(names.iter().zip(&own))
            .map(|((_, partitions), (name, own))| {
                let new = NewTopic::new(name, i32::from(*partitions), self.replication());
                own.iter().fold(new, |new, (name, value)| new.set(name, value))
            })
            .collect();
        let admin = Admin::open(self.settings, CLIENT_ID)?;
        let results = admin.ask(|admin, options| admin.create_topics(&new, options));
        let results = results.map_err(|e| self.client.explain("the topics cannot be made".to_owned(), &e))?;
        let mut made = Vec::new();
        for result in results {
            match result {
                Ok(name) => made.push(name),
                Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    let what = format!("topic {name} cannot be made");
                    return Err(self.client.explain(what, &KafkaError::AdminOp(code)));
                }
            }
        }
        Ok(made)
    }

    fn replication(&self) -> TopicReplication<'static> {
        TopicReplication::Fixed(i32::from(self.wanted.replication))
    }

    /// Reads the log's identity; writes it first if `rules` is empty. If two processes write one, the first record counts.
    fn origin(&self, found: &BTreeMap<Topic, TopicInfo>) -> Result<Origin, LogError> {
        let bounds = self.new_bounds(RULES)?;
        if bounds.end == 0 {
            for (&topic, found) in found.iter().filter(|(topic, _)| **topic != Topic::Rules) {
                for partition in 0..u16::try_from(found.partitions).unwrap_or(u16::MAX) {
                    let partition = TopicPartition::new(topic, partition);
                    if self.client.bounds(partition)?.end > 0 {
                        let what = format!("it is empty, but {} is not", self.settings.partition(partition));
                        return Err(self.wrong(Topic::Rules, what, LOST));
                    }
                }
            }
            let meta = Meta::new(random_id(), self.wanted.clock, self.wanted.partitions);
            self.write(&[(RULES, meta.genesis(RULES).record())])?;
        }
        origin::read(&self.client)?.ok_or_else(|| origin::missing(self.settings))
    }

    /// Waits until a broker knows all topics; returns those that it knows at the end.
    fn all_found(&self) -> Result<BTreeMap<Topic, TopicInfo>, LogError> {
        let end = Instant::now() + CREATED_TIMEOUT;
        loop {
            let found = self.client.topics()?;
            if found.len() == Topic::ALL.len() || Instant::now() > end {
                return Ok(found);
            }
            std::thread::sleep(RETRY_INTERVAL);
        }
    }

    /// The bounds of a partition of a new topic. It retries, because not every broker knows the topic yet.
    fn new_bounds(&self, partition: TopicPartition) -> Result<Range<u64>, LogError> {
        let end = Instant::now() + REQUEST_TIMEOUT;
        loop {
            match self.client.bounds(partition) {
                Err(_) if Instant::now() < end => std::thread::sleep(RETRY_INTERVAL),
                bounds => return bounds,
            }
        }
    }

    /// Writes the log's identity to every empty partition. In a complete log an empty partition is an error instead.
    fn begin_partitions(
        &self,
        meta: &Meta,
        is_complete: bool,
        found: &BTreeMap<Topic, TopicInfo>,
    ) -> Result<(), LogError> {
        let (mut empty, mut begun) = (Vec::new(), Vec::new());
        for &topic in Topic::ALL {
            let Some(found) = found.get(&topic) else {
                return Err(self.wrong(topic, "it is missing", LOST));
            };
            let count = meta.partitions.of(topic);
            if found.partitions != usize::from(count) {
                let what = format!("it has {} partitions, the log was made with {count}", found.partitions);
                return Err(self.wrong(topic, what, LOST));
            }
            for partition in 0..count {
                let own = TopicPartition::new(topic, partition);
                let bounds = if is_complete { self.client.bounds(own)? } else { self.new_bounds(own)? };
                match (bounds.start, bounds.end) {
                    (0, 0) if is_complete => {
                        return Err(self.wrong(topic, format!("partition {partition} is empty"), LOST));
                    }
                    (0, 0) => empty.push((own, meta.genesis(own).record())),
                    (0, _) => begun.push(own),
                    // Retention has deleted the first record.
                    _ if is_complete => {}
                    (start, _) => {
                        let what = format!(
                            "partition {partition} begins at offset {start}, in a log whose creation was interrupted"
                        );
                        return Err(self.wrong(topic, what, LOST));
                    }
                }
            }
        }
        for (partition, record) in self.client.firsts(&begun)? {
            if let Some(what) = wrong_first(meta, partition, &record) {
                return Err(self.wrong(partition.topic, what, LOST));
            }
        }
        self.write(&empty)
    }

    /// Appends records until all are acknowledged. Duplicates do no harm.
    fn write(&self, records: &[(TopicPartition, Vec<u8>)]) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        let options = Options { on_failure: OnFailure::Resend, ack_timeout: REQUEST_TIMEOUT, ..Options::edge() };
        let appender = KafkaAppender::start(self.settings, CLIENT_ID, options, &Metrics::new(&Registry::new()))?;
        let append = |&(TopicPartition { topic, partition }, ref record): &(TopicPartition, Vec<u8>)| {
            let record = record.clone();
            Append { topic, partition, record }
        };
        let written = appender.append_and_wait(records.iter().map(append).collect(), OnFull::Refuse);
        written.map_err(|refused| LogError::Kafka {
            brokers: self.settings.brokers.clone(),
            what: "the first records of the topics cannot be written".to_owned(),
            cause: refused.to_string(),
            mend: "run it again once the brokers are up, with as many in-sync replicas as are asked for",
        })
    }
}

fn random_id() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    u128::from_le_bytes(bytes)
}
