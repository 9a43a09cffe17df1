//! Changes that an operator may make to topics by hand.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use eventlog::kafka::settings::Settings;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{TIMEOUT, until};

/// The settings that a topic of ours needs.
pub(crate) const RIGHT: [(&str, &str); 2] =
    [("message.timestamp.type", "LogAppendTime"), ("max.message.bytes", "2097152")];

/// An operator's access to a cluster.
pub(crate) struct Operator {
    brokers: String,
    admin: AdminClient<DefaultClientContext>,
    options: AdminOptions,
}

impl Operator {
    pub(crate) fn on(settings: &Settings) -> Self {
        let admin = ClientConfig::new().set("bootstrap.servers", &settings.brokers).create().expect("a client");
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        Self { brokers: settings.brokers.clone(), admin, options }
    }

    pub(crate) fn make(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let made = wait(self.admin.create_topics([&topic], &self.options)).expect("an answer");
        made.into_iter().for_each(|made| drop(made.expect("made")));
    }

    pub(crate) fn delete(&self, topic: &str) {
        let gone = wait(self.admin.delete_topics(&[topic], &self.options)).expect("an answer");
        gone.into_iter().for_each(|gone| drop(gone.expect("deleted")));
        until("end of a topic", || {
            let known = self.admin.inner().fetch_metadata(None, TIMEOUT).expect("an answer");
            known.topics().iter().all(|known| known.name() != topic)
        });
    }

    /// Sets these settings, and resets all others to their defaults.
    pub(crate) fn set(&self, topic: &str, settings: &[(&str, &str)]) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let change = settings.iter().fold(change, |change, (name, value)| change.set(name, value));
        let done = wait(self.admin.alter_configs([&change], &self.options)).expect("an answer");
        done.into_iter().for_each(|done| drop(done.expect("changed")));
    }

    pub(crate) fn has_leader(&self, topic: &str, partition: u16) -> bool {
        let known = self.admin.inner().fetch_metadata(Some(topic), TIMEOUT).expect("an answer");
        let mut partitions = known.topics().iter().flat_map(|topic| topic.partitions());
        partitions.any(|known| known.id() == i32::from(partition) && known.leader() >= 0)
    }

    /// Deletes the records before an offset.
    pub(crate) fn cut(&self, topic: &str, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before)).expect("a list");
        let gone = wait(self.admin.delete_records(&list, &self.options)).expect("an answer");
        gone.elements().iter().for_each(|gone| gone.error().expect("cut"));
    }

    /// Appends a record; `None` is one without a payload.
    pub(crate) fn put(&self, topic: &str, partition: i32, payload: Option<&[u8]>) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().expect("a client");
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition);
        let record = payload.map_or(record, |payload| BaseRecord::to(topic).partition(partition).payload(payload));
        producer.send(record).map_err(|(error, _)| error).expect("a free queue");
        producer.flush(TIMEOUT).expect("acknowledged");
    }

    /// Appends a record in a transaction, whose end takes an offset too.
    pub(crate) fn put_in_transaction(&self, topic: &str, payload: &[u8]) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("transactional.id", topic);
        let producer: BaseProducer = config.create().expect("a client");
        producer.init_transactions(TIMEOUT).expect("begun");
        producer.begin_transaction().expect("begun");
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).payload(payload);
        producer.send(record).map_err(|(error, _)| error).expect("a free queue");
        producer.commit_transaction(TIMEOUT).expect("committed");
    }
}

/// Polls until the answer is ready; the client's own thread completes it.
fn wait<T>(answer: impl Future<Output = T>) -> T {
    let mut answer = std::pin::pin!(answer);
    loop {
        if let Poll::Ready(answer) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
