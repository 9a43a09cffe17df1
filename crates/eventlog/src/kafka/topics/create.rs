//! Makes the topics of a log. Safe to run again, also after it was interrupted, also by two at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use domain::model::address::Partitions;
use domain::model::address::Topic;
use prometheus::Registry;
use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::api::Append;
use crate::api::OnFull;
use crate::error::LogError;
use crate::kafka::appender::{KafkaAppender, Metrics, OnFailure, Options};
use crate::kafka::metadata::{Admin, LogInfo, MetadataClient, PATIENCE};
use crate::kafka::settings::Settings;
use crate::kafka::topics::check::{Needs, Report, check};
use crate::kafka::topics::origin::{self, Origin, wrong_first};
use crate::kafka::topics::{CLIENT_ID, LOST, RECORD_BYTES_MIN};
use crate::local::meta::{Clock, Meta};

/// A topic that was made is known to all brokers within so long.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(100);

/// The topics that are to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub clock: Clock,
    pub partitions: Partitions,
    /// How many brokers hold each partition.
    pub replication: u16,
    /// An append is acknowledged once so many of them have it.
    pub min_insync: u16,
    /// How long records are kept, except those of `rules`; -1: for ever.
    pub retain_ms: i64,
    /// The largest record of a topic; those of `rejects` and `rules` may be larger.
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

/// What came of it.
#[derive(Clone, Debug)]
pub struct Created {
    /// The topics that were made now, by their full names. None: all were there.
    pub made: Vec<String>,
    /// What is otherwise than it was wanted, because the log was there already.
    pub differs: Vec<String>,
    /// As [`check`] says.
    pub report: Report,
}

/// Makes the topics that are missing, and writes what log they are of.
///
/// # Errors
/// A topic was lost or recreated, is of another log, or cannot be made; or what is wanted cannot be.
pub fn create(settings: &Settings, wanted: &Wanted) -> Result<Created, LogError> {
    wanted.check()?;
    let creator = Creator { settings, wanted, probe: MetadataClient::open(settings, CLIENT_ID)? };
    let mut found = creator.probe.topics()?;
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
        // Somebody else may have made them since.
        found = creator.all_found()?;
    }
    creator.begin_partitions(&meta, is_complete, &found)?;
    if !is_complete {
        creator.write(&[meta.birth(Topic::Rules, 0).record()].map(|record| (Topic::Rules, 0, record)))?;
    }
    let needs = Needs { retain_ms: wanted.retain_ms };
    Ok(Created { made, differs: differs(wanted, &meta), report: check(settings, &needs)? })
}

fn differs(wanted: &Wanted, meta: &Meta) -> Vec<String> {
    let mut differs = Vec::new();
    if wanted.clock != meta.clock {
        differs.push(format!("the log keeps to the {:?} clock, not to {:?}", meta.clock, wanted.clock));
    }
    for topic in Topic::ALL {
        let (is, asked) = (meta.partitions.of(*topic), wanted.partitions.of(*topic));
        if is != asked {
            differs.push(format!("{topic} has {is} partitions, not {asked}"));
        }
    }
    differs
}

/// The settings of a topic.
fn settings_of(topic: Topic, wanted: &Wanted) -> Vec<(&'static str, String)> {
    let record_bytes_max = match topic {
        // A reject holds a record, a rules object is as large as its file.
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
    probe: MetadataClient,
}

impl Creator<'_> {
    fn wrong(&self, topic: Topic, what: impl Into<String>, mend: &'static str) -> LogError {
        LogError::Topic { topic: self.settings.topic(topic), what: what.into(), mend }
    }

    /// `rules` is made first: topics without it are what is left of a log.
    fn refuse_orphans(&self, found: &BTreeMap<Topic, LogInfo>) -> Result<(), LogError> {
        let Some(topic) = found.keys().next() else { return Ok(()) };
        let what = format!("it is missing, but {} is there", self.settings.topic(*topic));
        let mend = "restore it, or delete the other topics of this prefix, or give another --prefix";
        Err(self.wrong(Topic::Rules, what, mend))
    }

    /// Makes topics. One that somebody else made meanwhile is as good.
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
        let results = admin.ask(|client, options| client.create_topics(&new, options));
        let results = results.map_err(|e| self.probe.explain("the topics cannot be made".to_owned(), &e))?;
        let mut made = Vec::new();
        for result in results {
            match result {
                Ok(name) => made.push(name),
                Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    let what = format!("topic {name} cannot be made");
                    return Err(self.probe.explain(what, &KafkaError::AdminOp(code)));
                }
            }
        }
        Ok(made)
    }

    fn replication(&self) -> TopicReplication<'static> {
        TopicReplication::Fixed(i32::from(self.wanted.replication))
    }

    /// What log it is; says so itself if nothing does yet. Of two that do, the first one holds.
    fn origin(&self, found: &BTreeMap<Topic, LogInfo>) -> Result<Origin, LogError> {
        let bounds = self.new_bounds(Topic::Rules, 0)?;
        if bounds.end == 0 {
            for (&topic, found) in found.iter().filter(|(topic, _)| **topic != Topic::Rules) {
                for partition in 0..u16::try_from(found.partitions).unwrap_or(u16::MAX) {
                    if self.probe.bounds(topic, partition)?.end > 0 {
                        let what = format!("it is empty, but {} is not", self.settings.partition(topic, partition));
                        return Err(self.wrong(Topic::Rules, what, LOST));
                    }
                }
            }
            let meta = Meta::new(random_id(), self.wanted.clock, self.wanted.partitions);
            self.write(&[(Topic::Rules, 0, meta.birth(Topic::Rules, 0).record())])?;
        }
        origin::read(&self.probe)?.ok_or_else(|| origin::missing(self.settings))
    }

    /// The topics, once all of them are known everywhere; or those that there are, after a while.
    fn all_found(&self) -> Result<BTreeMap<Topic, LogInfo>, LogError> {
        let end = Instant::now() + KNOWN_WITHIN;
        loop {
            let found = self.probe.topics()?;
            if found.len() == Topic::ALL.len() || Instant::now() > end {
                return Ok(found);
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// The bounds of a partition of a topic that may have been made a moment ago: not every broker knows it yet.
    fn new_bounds(&self, topic: Topic, partition: u16) -> Result<Range<u64>, LogError> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.probe.bounds(topic, partition) {
                Err(_) if Instant::now() < end => std::thread::sleep(AGAIN),
                bounds => return bounds,
            }
        }
    }

    /// Every partition begins with what log it is of: where it is missing, it is written, unless the log was complete.
    fn begin_partitions(
        &self,
        meta: &Meta,
        is_complete: bool,
        found: &BTreeMap<Topic, LogInfo>,
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
                let bounds =
                    if is_complete { self.probe.bounds(topic, partition)? } else { self.new_bounds(topic, partition)? };
                match (bounds.start, bounds.end) {
                    (0, 0) if is_complete => {
                        return Err(self.wrong(topic, format!("partition {partition} is empty"), LOST));
                    }
                    (0, 0) => empty.push((topic, partition, meta.birth(topic, partition).record())),
                    (0, _) => begun.push((topic, partition)),
                    // What was let go by age took the first record with it.
                    _ if is_complete => {}
                    (start, _) => {
                        let what =
                            format!("partition {partition} begins at offset {start}, in a log that was never whole");
                        return Err(self.wrong(topic, what, LOST));
                    }
                }
            }
        }
        for ((topic, partition), record) in self.probe.firsts(&begun)? {
            if let Some(what) = wrong_first(meta, topic, partition, &record) {
                return Err(self.wrong(topic, what, LOST));
            }
        }
        self.write(&empty)
    }

    /// Appends, until all of it is acknowledged. What is there twice in the end does no harm.
    fn write(&self, records: &[(Topic, u16, Vec<u8>)]) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        let options = Options { on_failure: OnFailure::Resend, ack_timeout: PATIENCE, ..Options::edge() };
        let appender = KafkaAppender::start(self.settings, CLIENT_ID, options, &Metrics::new(&Registry::new()))?;
        let append = |(topic, partition, record): &(Topic, u16, Vec<u8>)| {
            let (topic, partition, record) = (*topic, *partition, record.clone());
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
