//! Checks whether the topics can keep Mashang's guarantees. Every role runs it at its start.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::model::address::{Topic, TopicPartition};
use rdkafka::admin::{ConfigResource, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::error::KafkaError;

use crate::error::LogError;
use crate::kafka::metadata::{Admin, MetadataClient, TopicInfo};
use crate::kafka::settings::Settings;
use crate::kafka::topics::origin::{self, Origin, wrong_first};
use crate::kafka::topics::{CLIENT_ID, RECORD_BYTES_MIN};
use crate::local::meta::Meta;

/// Time for which brokers must remember an idle producer; a longer outage may need a replay.
const PRODUCER_EXPIRATION_MIN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What the topics must provide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Minimum time for which records are kept, ms; -1 means without an end.
    pub retain_ms: i64,
}

/// The result of a check.
#[derive(Clone, Debug)]
pub struct Report {
    /// The log that the topics belong to.
    pub meta: Meta,
    /// Faults that break a guarantee, each with its fix; a role does not start with one.
    pub mistakes: Vec<String>,
    /// Weaknesses that break no guarantee.
    pub warnings: Vec<String>,
}

/// Checks all topics of a log.
///
/// # Errors
/// There is no log, or Kafka does not answer.
pub fn check(settings: &Settings, needs: &Needs) -> Result<Report, LogError> {
    let client = MetadataClient::open(settings, CLIENT_ID)?;
    let Origin { meta, is_complete } = origin::read(&client)?.ok_or_else(|| origin::missing(settings))?;
    let found = client.topics()?;
    let mistakes = check_identity(&client, &meta, &found)?;
    let report = Report { meta, mistakes, warnings: Vec::new() };
    let mut checker = Checker { settings, needs, report };
    if !is_complete {
        checker
            .report
            .mistakes
            .push("the creation of the topics was interrupted; run `topics create` again".to_owned());
    }
    let admin = Admin::open(settings, CLIENT_ID)?;
    for (topic, values) in describe_topics(&client, &admin, settings, &found)? {
        checker.values(topic, &values, found[&topic].replicas);
    }
    checker.brokers(&client, &admin)?;
    Ok(checker.report)
}

/// Checks whether the topics still belong to a log; returns the differences as mistakes.
///
/// # Errors
/// Kafka does not answer.
pub fn same(settings: &Settings, meta: &Meta) -> Result<Vec<String>, LogError> {
    let client = MetadataClient::open(settings, CLIENT_ID)?;
    let found = client.topics()?;
    check_identity(&client, meta, &found)
}

/// The topics that do not belong to a log, each with the reason.
fn check_identity(
    client: &MetadataClient,
    meta: &Meta,
    found: &BTreeMap<Topic, TopicInfo>,
) -> Result<Vec<String>, LogError> {
    let (mut mistakes, mut begun) = (Vec::new(), Vec::new());
    let mut mistake = |topic: Topic, what: &str| mistakes.push(format!("{}: {what}", client.settings.topic(topic)));
    for &topic in Topic::ALL {
        let count = meta.partitions.of(topic);
        match found.get(&topic) {
            None => mistake(topic, "is missing: restore it; while nothing was written yet, `topics create` makes it"),
            Some(found) if found.partitions != usize::from(count) => {
                let what = format!(
                    "has {} partitions, the log was made with {count}: keys now fall into other partitions; restore it or begin a new deployment",
                    found.partitions
                );
                mistake(topic, &what);
            }
            Some(_) => {
                for partition in 0..count {
                    let bounds = client.bounds(TopicPartition::new(topic, partition))?;
                    if bounds.end == 0 {
                        let what = format!(
                            "partition {partition} is empty: the topic was recreated; restore it or begin a new deployment"
                        );
                        mistake(topic, &what);
                    } else if bounds.start == 0 {
                        begun.push(TopicPartition::new(topic, partition));
                    }
                }
            }
        }
    }
    for (partition, record) in client.firsts(&begun)? {
        if let Some(what) = wrong_first(meta, partition, &record) {
            mistake(partition.topic, &what);
        }
    }
    Ok(mistakes)
}

/// The settings in force, by name.
type Values = BTreeMap<String, String>;

fn describe_topics(
    client: &MetadataClient,
    admin: &Admin,
    settings: &Settings,
    found: &BTreeMap<Topic, TopicInfo>,
) -> Result<Vec<(Topic, Values)>, LogError> {
    let names: BTreeMap<String, Topic> = found.keys().map(|&topic| (settings.topic(topic), topic)).collect();
    let resources: Vec<_> = names.keys().map(|name| ResourceSpecifier::Topic(name)).collect();
    let explain = |e| client.explain("the topics' settings cannot be read".to_owned(), &e);
    let described = admin.ask(|admin, options| admin.describe_configs(&resources, options)).map_err(explain)?;
    let mut values = Vec::new();
    for resource in described {
        let resource = resource.map_err(|code| explain(KafkaError::AdminOp(code)))?;
        if let OwnedResourceSpecifier::Topic(name) = &resource.specifier
            && let Some(topic) = names.get(name)
        {
            values.push((*topic, values_of(resource)));
        }
    }
    Ok(values)
}

fn values_of(resource: ConfigResource) -> Values {
    resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

struct Checker<'a> {
    settings: &'a Settings,
    needs: &'a Needs,
    report: Report,
}

impl Checker<'_> {
    fn mistake(&mut self, topic: Topic, what: &str) {
        self.report.mistakes.push(format!("{}: {what}", self.settings.topic(topic)));
    }

    fn warning(&mut self, topic: Topic, what: &str) {
        self.report.warnings.push(format!("{}: {what}", self.settings.topic(topic)));
    }

    fn values(&mut self, topic: Topic, values: &Values, replicas: usize) {
        let is = |name: &str| values.get(name).map_or("", String::as_str);
        let number = |name: &str| is(name).parse::<i64>().unwrap_or(0);
        let mut wrong = Vec::new();
        for (name, wanted, why) in [
            ("cleanup.policy", "delete", "compaction makes holes"),
            (
                "message.timestamp.type",
                "LogAppendTime",
                "a writer's clock decides otherwise what is kept and when it came",
            ),
            ("unclean.leader.election.enable", "false", "acknowledged records are lost otherwise"),
        ] {
            if is(name) != wanted {
                wrong.push(format!("{name} is {}, set it to {wanted}: {why}", is(name)));
            }
        }
        if number("max.message.bytes") < i64::try_from(RECORD_BYTES_MIN).unwrap_or(i64::MAX) {
            let is = is("max.message.bytes");
            wrong.push(format!(
                "max.message.bytes is {is}, set it to {RECORD_BYTES_MIN} at least: answers would not fit"
            ));
        }
        let insync = number("min.insync.replicas");
        if insync > i64::try_from(replicas).unwrap_or(i64::MAX) {
            wrong.push(format!(
                "min.insync.replicas is {insync}, of {replicas} replicas: nothing can be written; lower it"
            ));
        }
        wrong.extend(self.retention(topic, number("retention.ms"), number("retention.bytes")));
        wrong.iter().for_each(|what| self.mistake(topic, what));
        self.redundancy(topic, insync, replicas);
    }

    /// What is wrong with the retention of records.
    fn retention(&mut self, topic: Topic, ms: i64, bytes: i64) -> Option<String> {
        if topic == Topic::Rules {
            let is_kept = ms == -1 && bytes == -1;
            return (!is_kept).then(|| {
                format!("retention.ms is {ms} and retention.bytes {bytes}, set both to -1: rules must never be deleted")
            });
        }
        if bytes != -1 {
            self.warning(topic, &format!("retention.bytes is {bytes}: records may go before their time; set it to -1"));
        }
        let needed = self.needs.retain_ms;
        let is_short = ms != -1 && (needed == -1 || ms < needed);
        is_short.then(|| {
            format!("retention.ms is {ms}, set it to {needed}: records must be kept as long as they are asked for")
        })
    }

    fn redundancy(&mut self, topic: Topic, insync: i64, replicas: usize) {
        if replicas <= 1 {
            self.warning(topic, "has one replica: what its broker loses is lost");
        } else if insync <= 1 {
            self.warning(
                topic,
                "min.insync.replicas is 1: what is acknowledged may be on one broker only; set it to 2",
            );
        } else if usize::try_from(insync) == Ok(replicas) {
            self.warning(topic, "min.insync.replicas is the number of replicas: one broker down stops all writes");
        }
    }

    fn brokers(&mut self, client: &MetadataClient, admin: &Admin) -> Result<(), LogError> {
        const NAME: &str = "producer.id.expiration.ms";
        for broker in client.brokers()? {
            let resource = [ResourceSpecifier::Broker(broker)];
            let described = admin.ask(|admin, options| admin.describe_configs(&resource, options));
            let values = described.ok().and_then(|mut all| all.pop()).and_then(Result::ok).map(values_of);
            let Some(values) = values else {
                let what = format!("broker {broker} does not show its settings: check that {NAME} is 604800000");
                self.report.warnings.push(what);
                continue;
            };
            let ms = values.get(NAME).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
            if u128::from(ms) < PRODUCER_EXPIRATION_MIN.as_millis() {
                self.report.warnings.push(format!(
                    "broker {broker}: {NAME} is {ms}, set it to 604800000: an outage that is longer may need a replay"
                ));
            }
        }
        Ok(())
    }
}
