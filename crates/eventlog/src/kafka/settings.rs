//! The addresses of Kafka, and the settings of its clients.
//!
//! Every setting of librdkafka may be overridden, for all clients or for one kind, except those that a guarantee depends on.

use std::collections::BTreeMap;

use domain::model::address::{Topic, TopicPartition};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use crate::error::LogError;

/// Maximum size of a record that a client sends, bytes; a larger one is refused. A topic's own limit is lower.
pub(crate) const CLIENT_BYTES_MAX: usize = 12 * 1024 * 1024;
/// Maximum size of a batch of several records, bytes; a larger record is sent alone. Topics must accept it (see `topics::check`).
pub(crate) const BATCH_BYTES_MAX: u64 = 1_000_000;
/// Number of a producer's requests that a broker remembers; more in flight could be duplicated.
const IN_FLIGHT_MAX: u64 = 5;

/// The addresses of Kafka, and overrides of our defaults.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `HOST:PORT` of one or more brokers, separated by commas.
    pub brokers: String,
    /// Prefix of the topics' names: `PREFIX.scans` and so on.
    pub prefix: String,
    /// Overrides of librdkafka's settings for all clients.
    pub client: BTreeMap<String, String>,
    /// Overrides for producers only.
    pub producer: BTreeMap<String, String>,
    /// Overrides for consumers only.
    pub consumer: BTreeMap<String, String>,
}

/// The kinds of clients.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Admin,
    Producer,
    Consumer,
}

const ORDER: &str = "without it, records could be lost, duplicated or reordered";
const OFFSETS: &str = "the snapshot decides where a partition is read from";
const CALLER: &str = "the role itself sets it";
const BROKERS: &str = "give the brokers with --brokers";
const MADE: &str = "only `topics create` makes topics, with the settings that they need";

/// Settings that must not be overridden, with their aliases, and why.
const FIXED: &[(&str, &str)] = &[
    ("acks", ORDER),
    ("request.required.acks", ORDER),
    ("enable.idempotence", ORDER),
    ("enable.gapless.guarantee", ORDER),
    ("message.timeout.ms", ORDER),
    ("delivery.timeout.ms", ORDER),
    ("retries", ORDER),
    ("message.send.max.retries", ORDER),
    ("queuing.strategy", ORDER),
    ("delivery.report.only.error", ORDER),
    ("transactional.id", ORDER),
    ("check.crcs", ORDER),
    ("isolation.level", ORDER),
    ("message.max.bytes", "an answer of a desk must fit, whatever its size"),
    ("enable.auto.commit", OFFSETS),
    ("auto.commit.enable", OFFSETS),
    ("auto.commit.interval.ms", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("auto.offset.reset", OFFSETS),
    ("offset.store.method", OFFSETS),
    ("enable.partition.eof", OFFSETS),
    ("partition.assignment.strategy", "members of different builds must share partitions in one way"),
    ("group.protocol", "members of different builds must share partitions in one way"),
    ("group.id", CALLER),
    ("group.instance.id", CALLER),
    ("client.id", CALLER),
    ("session.timeout.ms", CALLER),
    ("bootstrap.servers", BROKERS),
    ("metadata.broker.list", BROKERS),
    ("allow.auto.create.topics", MADE),
];

/// Settings that may be lowered, but not raised above a maximum.
const BOUNDED: &[(&str, u64, &str)] = &[
    ("max.in.flight.requests.per.connection", IN_FLIGHT_MAX, "brokers remember 5 requests of a producer"),
    ("max.in.flight", IN_FLIGHT_MAX, "brokers remember 5 requests of a producer"),
    ("batch.size", BATCH_BYTES_MAX, "a topic takes a batch of 1000000 bytes for sure"),
];

/// Aliases of settings that have a default of ours: only one of the two names may be set.
const ALIASES: &[(&str, &str)] = &[
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("compression.codec", "compression.type"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
];

const CLIENT: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "false"),
    ("enable.metrics.push", "false"),
    ("statistics.interval.ms", "0"),
    ("log.connection.close", "false"),
    ("socket.keepalive.enable", "true"),
    ("socket.connection.setup.timeout.ms", "5000"),
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "1000"),
    ("retry.backoff.ms", "50"),
    ("retry.backoff.max.ms", "500"),
];

const PRODUCER: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("enable.gapless.guarantee", "true"),
    ("message.timeout.ms", "0"),
    ("max.in.flight.requests.per.connection", "5"),
    ("compression.type", "lz4"),
    // Records gather without a linger while they wait for the acknowledgement of an earlier batch.
    ("linger.ms", "0"),
    ("batch.size", "1000000"),
    ("request.timeout.ms", "10000"),
];

const CONSUMER: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "false"),
    ("check.crcs", "true"),
    // Our writers use no transactions; an open transaction of another writer would silently hide later records.
    ("isolation.level", "read_uncommitted"),
    ("group.protocol", "classic"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    // Other requests to a broker wait for the fetch that is in flight.
    ("fetch.wait.max.ms", "50"),
    ("fetch.error.backoff.ms", "100"),
    // The default is one second, each time that the prefetch queue is full.
    ("fetch.queue.backoff.ms", "10"),
    ("queued.max.messages.kbytes", "16384"),
    ("fetch.message.max.bytes", "1048576"),
    ("fetch.max.bytes", "16777216"),
];

/// Of readers that pause, as a lane does: no fetch while records wait to be taken. What comes during a pause is fetched at once as soon
/// as they are taken, and not by hundreds of small fetches.
const PAUSING: &[(&str, &str)] = &[("queued.min.messages", "1"), ("fetch.queue.backoff.ms", "1")];

impl Settings {
    /// The default settings for some brokers.
    #[must_use]
    pub fn new(brokers: &str) -> Self {
        let [client, producer, consumer] = Default::default();
        Self { brokers: brokers.to_owned(), prefix: "mashang".to_owned(), client, producer, consumer }
    }

    /// The full name of a topic.
    #[must_use]
    pub fn topic(&self, topic: Topic) -> String {
        format!("{}.{topic}", self.prefix)
    }

    /// `mashang.scans partition 0`, as messages name it.
    #[must_use]
    pub fn partition(&self, partition: TopicPartition) -> String {
        format!("{}.{partition}", self.prefix)
    }

    /// The topic of a full name; `None` if it is not of this prefix.
    pub(super) fn parse_topic(&self, name: &str) -> Option<Topic> {
        Topic::parse(name.strip_prefix(&self.prefix)?.strip_prefix('.')?)
    }

    /// The partition of a topic's full name and a number; `None` if it is not of this prefix.
    pub(super) fn parse_partition(&self, name: &str, partition: i32) -> Option<TopicPartition> {
        Some(TopicPartition::new(self.parse_topic(name)?, u16::try_from(partition).ok()?))
    }

    /// Checks all overrides, without asking Kafka.
    ///
    /// # Errors
    /// A setting must not be overridden, or librdkafka does not know it or its value.
    pub fn check(&self) -> Result<(), LogError> {
        for kind in [Kind::Admin, Kind::Producer, Kind::Consumer] {
            self.config(kind, "check")?;
        }
        Ok(())
    }

    /// The settings of an admin client.
    ///
    /// # Errors
    /// A setting is refused.
    pub fn admin(&self, client_id: &str) -> Result<ClientConfig, LogError> {
        self.config(Kind::Admin, client_id)
    }

    /// The settings of a producer.
    ///
    /// # Errors
    /// A setting is refused.
    pub fn producer(&self, client_id: &str) -> Result<ClientConfig, LogError> {
        self.config(Kind::Producer, client_id)
    }

    /// The settings of a consumer. librdkafka requires the name of a group even if the consumer joins none.
    pub fn consumer(&self, client_id: &str, group: Option<&str>) -> Result<ClientConfig, LogError> {
        let mut config = self.config(Kind::Consumer, client_id)?;
        config.set("group.id", group.map_or_else(|| format!("{}.reader", self.prefix), ToOwned::to_owned));
        Ok(config)
    }

    /// The settings of a consumer that fetches nothing while records wait to be taken.
    ///
    /// # Errors
    /// A setting is refused.
    pub fn pausing_consumer(&self, client_id: &str) -> Result<ClientConfig, LogError> {
        let mut config = self.consumer(client_id, None)?;
        for (name, value) in PAUSING {
            if !self.client.contains_key(*name) && !self.consumer.contains_key(*name) {
                config.set(*name, *value);
            }
        }
        Ok(config)
    }

    fn config(&self, kind: Kind, client_id: &str) -> Result<ClientConfig, LogError> {
        self.check_prefix()?;
        let (defaults, own): (&[_], _) = match kind {
            Kind::Admin => (&[], None),
            Kind::Producer => (PRODUCER, Some(&self.producer)),
            Kind::Consumer => (CONSUMER, Some(&self.consumer)),
        };
        let mut config = ClientConfig::new();
        for (name, value) in CLIENT.iter().chain(defaults) {
            config.set(*name, *value);
        }
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", client_id);
        if kind != Kind::Admin {
            config.set("message.max.bytes", CLIENT_BYTES_MAX.to_string());
        }
        for (name, value) in self.client.iter().chain(own.into_iter().flatten()) {
            allow(name, value)?;
            let known = ALIASES.iter().find(|(alias, _)| alias == name).map_or(name.as_str(), |(_, name)| *name);
            config.set(known, value);
        }
        let talks = self.client.contains_key("debug") || own.is_some_and(|own| own.contains_key("debug"));
        config.set_log_level(if talks { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
        config.create_native_config().map_err(refused)?;
        Ok(config)
    }

    fn check_prefix(&self) -> Result<(), LogError> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if !self.prefix.is_empty() && self.prefix.len() <= 200 && self.prefix.bytes().all(fits) {
            return Ok(());
        }
        let why = "a topic's name is made of letters, digits, '.', '_' and '-', up to 200 of them".to_owned();
        Err(LogError::Setting { name: format!("prefix {:?}", self.prefix), why })
    }
}

/// Refuses an override that is not permitted.
fn allow(name: &str, value: &str) -> Result<(), LogError> {
    if let Some((_, why)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
        return Err(LogError::Setting { name: name.to_owned(), why: format!("it cannot be overridden: {why}") });
    }
    if let Some((_, most, why)) = BOUNDED.iter().find(|(bounded, ..)| *bounded == name)
        && value.trim().parse::<u64>().map_or(true, |value| value > *most)
    {
        return Err(LogError::Setting { name: name.to_owned(), why: format!("it can be {most} at most: {why}") });
    }
    Ok(())
}

/// The error for a setting that librdkafka refuses, with its reason, but without the value of a secret.
pub fn refused(error: KafkaError) -> LogError {
    match error {
        KafkaError::ClientConfig(_, why, name, _) if !is_secret(&name) => LogError::Setting { name, why },
        KafkaError::ClientConfig(_, _, name, _) => LogError::Setting { name, why: "its value does not fit".to_owned() },
        other => LogError::Setting { name: "of a client".to_owned(), why: other.to_string() },
    }
}

fn is_secret(name: &str) -> bool {
    ["password", "passphrase", "secret", "pem", "oauthbearer.config", "_key"].iter().any(|part| name.contains(part))
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |settings: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            let shown = |(name, value): (&String, &String)| {
                (name.clone(), if is_secret(name) { "…".to_owned() } else { value.clone() })
            };
            settings.iter().map(shown).collect()
        };
        f.debug_struct("Settings")
            .field("brokers", &self.brokers)
            .field("prefix", &self.prefix)
            .field("client", &shown(&self.client))
            .field("producer", &shown(&self.producer))
            .field("consumer", &shown(&self.consumer))
            .finish()
    }
}
