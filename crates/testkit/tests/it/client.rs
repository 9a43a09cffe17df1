//! A producer, and a reader of all records of a topic.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use testkit::kafka::Kafka;

/// Timeout of every wait; after it, the test fails.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

/// Creates a topic with one partition, with Kafka's own tool.
pub(super) fn topic(kafka: &Kafka, name: &str) {
    let mut tool: Command = kafka.tool("org.apache.kafka.tools.TopicCommand");
    let output = tool.args(["--bootstrap-server", kafka.bootstrap(), "--create", "--topic", name]).output();
    let output = output.expect("java runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The result of a record: its offset, or an error.
type Delivered = Result<i64, String>;

#[derive(Clone, Default)]
struct Deliveries(Arc<Mutex<Vec<Delivered>>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let delivered = result.as_ref().map(Message::offset).map_err(|(e, _)| e.to_string());
        self.0.lock().expect("no panic").push(delivered);
    }
}

/// An idempotent producer that sends a record when the one before is delivered.
pub(super) struct Sender {
    producer: BaseProducer<Deliveries>,
    deliveries: Deliveries,
    topic: String,
}

impl Sender {
    pub(super) fn new(servers: &str, client: &str, topic: &str, more: &[(&str, &str)]) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers).set("client.id", client).set("enable.idempotence", "true");
        config.set("linger.ms", "0").set("message.timeout.ms", "60000").set("request.timeout.ms", "1000");
        // Only this timeout gives up a request that gets no answer.
        config.set("socket.timeout.ms", "2000");
        config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "200").set("retry.backoff.ms", "20");
        more.iter().for_each(|(key, value)| {
            config.set(*key, *value);
        });
        let deliveries = Deliveries::default();
        let producer = config.create_with_context(deliveries.clone()).expect("settings that librdkafka knows");
        Self { producer, deliveries, topic: topic.to_owned() }
    }

    /// Sends one record and waits for its result.
    pub(super) fn send(&self, payload: &str) -> Delivered {
        self.start(payload);
        let until = Instant::now() + TIMEOUT;
        while Instant::now() < until {
            self.producer.poll(Duration::from_millis(5));
            let delivered = self.deliveries.0.lock().expect("no panic").pop();
            if let Some(delivered) = delivered {
                return delivered;
            }
        }
        panic!("{payload} is not delivered; in flight: {}", self.producer.in_flight_count());
    }

    /// Sends one record without waiting.
    pub(super) fn start(&self, payload: &str) {
        let record = BaseRecord::<(), str>::to(&self.topic).partition(0).payload(payload);
        self.producer.send(record).expect("space in the queue");
    }

    /// The number of results so far.
    pub(super) fn delivered(&self) -> usize {
        self.producer.poll(Duration::ZERO);
        self.deliveries.0.lock().expect("no panic").len()
    }
}

/// All records of a topic's only partition.
pub(super) fn read(servers: &str, topic: &str, more: &[(&str, &str)]) -> Vec<String> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers).set("group.id", "reader").set("enable.auto.commit", "false");
    more.iter().for_each(|(key, value)| {
        config.set(*key, *value);
    });
    let consumer: BaseConsumer = config.create().expect("settings that librdkafka knows");
    let (first, end) = consumer.fetch_watermarks(topic, 0, TIMEOUT).expect("a topic");
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Offset(first)).expect("an offset");
    consumer.assign(&from).expect("a partition");
    let until = Instant::now() + TIMEOUT;
    let mut records = Vec::new();
    while records.len() < usize::try_from(end - first).expect("an end after the beginning") {
        assert!(Instant::now() < until, "{} of {} records", records.len(), end - first);
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
            records.push(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
        }
    }
    records
}
