//! Requests for Kafka's metadata, before a role starts or while topics are created.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use domain::model::address::{Topic, TopicPartition};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::LogError;
use crate::kafka::observer::{ClientObserver, is_transient};
use crate::kafka::settings::{Settings, refused};

/// Timeout of one request with its retries; after it, the request fails.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for which a listed topic that a broker does not know is retried; after it, the request fails.
const UNKNOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of the request that looks up an unknown partition; after it, the partition counts as unknown.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval between retries of a request.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum number of pending client events that are read before an error is explained; later ones are not used.
const EVENTS_MAX: usize = 256;

/// The partitions and replicas of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// The number of its partitions.
    pub partitions: usize,
    /// The fewest replicas of a partition.
    pub replicas: usize,
}

/// A client for a few requests.
pub struct MetadataClient {
    /// The settings of the client.
    pub settings: Settings,
    consumer: BaseConsumer<ClientObserver>,
}

impl MetadataClient {
    /// A client that is not connected yet. `client_id` is its name in the brokers' logs and in ours.
    ///
    /// # Errors
    /// The settings are refused.
    pub fn open(settings: &Settings, client_id: &str) -> Result<Self, LogError> {
        let mut config = settings.consumer(client_id, None)?;
        // It reads the first records, and little more.
        config.set("queued.min.messages", "1").set("fetch.message.max.bytes", "65536");
        let consumer = config.create_with_context(ClientObserver::new(client_id)).map_err(refused)?;
        Ok(Self { settings: settings.clone(), consumer })
    }

    /// The existing topics of this prefix, as one broker knows them now.
    pub fn topics(&self) -> Result<BTreeMap<Topic, TopicInfo>, LogError> {
        let all = until_answered(|left| self.consumer.fetch_metadata(None, left));
        let all = all.map_err(|e| self.explain("the topics cannot be listed".to_owned(), &e))?;
        let found = all.topics().iter().filter_map(|topic| {
            let name = self.settings.parse_topic(topic.name())?;
            let replicas = topic.partitions().iter().map(|p| p.replicas().len()).min().unwrap_or(0);
            Some((name, TopicInfo { partitions: topic.partitions().len(), replicas }))
        });
        Ok(found.collect())
    }

    /// The ids of all brokers.
    pub fn brokers(&self) -> Result<Vec<i32>, LogError> {
        let all = until_answered(|left| self.consumer.fetch_metadata(None, left));
        let all = all.map_err(|e| self.explain("the brokers cannot be listed".to_owned(), &e))?;
        Ok(all.brokers().iter().map(|broker| broker.id()).collect())
    }

    /// The first offset of a partition, and the offset after the last.
    pub fn bounds(&self, partition: TopicPartition) -> Result<Range<u64>, LogError> {
        bounds(&self.consumer, &self.settings, partition)
    }

    /// The first records of partitions, each of which must have one.
    pub fn firsts(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, Vec<u8>>, LogError> {
        let mut firsts = BTreeMap::new();
        self.read(partitions, |partition, offset, bytes| {
            if offset == 0 {
                firsts.entry(partition).or_insert_with(|| bytes.to_vec());
            }
            if firsts.len() == partitions.len() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(firsts)
    }

    /// Reads partitions from offset 0 on, until `each` breaks. Each must have a record.
    pub fn read(
        &self,
        partitions: &[TopicPartition],
        mut each: impl FnMut(TopicPartition, u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let what = || "the first records cannot be read".to_owned();
        let mut list = TopicPartitionList::new();
        for &TopicPartition { topic, partition } in partitions {
            let added = list.add_partition_offset(&self.settings.topic(topic), i32::from(partition), Offset::Offset(0));
            added.map_err(|e| self.explain(what(), &e))?;
        }
        self.consumer.assign(&list).map_err(|e| self.explain(what(), &e))?;
        let end = Instant::now() + REQUEST_TIMEOUT;
        let result = loop {
            match self.consumer.poll(RETRY_INTERVAL) {
                Some(Ok(record)) => {
                    let partition = self.settings.parse_partition(record.topic(), record.partition());
                    let offset = u64::try_from(record.offset()).unwrap_or(u64::MAX);
                    if let Some(partition) = partition
                        && each(partition, offset, record.payload().unwrap_or_default()).is_break()
                    {
                        break Ok(());
                    }
                }
                Some(Err(error)) if !is_transient(&error) => break Err(self.explain(what(), &error)),
                Some(Err(_)) | None => {}
            }
            if Instant::now() > end {
                let late = KafkaError::MessageConsumption(Code::OperationTimedOut);
                break Err(self.explain(what(), &late));
            }
        };
        self.consumer.unassign().map_err(|e| self.explain(what(), &e))?;
        result
    }

    /// The error with its cause and the fix.
    pub fn explain(&self, what: String, error: &KafkaError) -> LogError {
        // The client reports why it cannot connect as an event, among other events.
        for _ in 0..EVENTS_MAX {
            self.consumer.poll(Duration::ZERO);
        }
        self.consumer.context().explain(&self.settings, what, error)
    }
}

/// The first offset of a partition, and the offset after the last.
pub(super) fn bounds(
    consumer: &BaseConsumer<ClientObserver>,
    settings: &Settings,
    partition: TopicPartition,
) -> Result<Range<u64>, LogError> {
    let name = settings.topic(partition.topic);
    let number = i32::from(partition.partition);
    let fetched = until_answered(|left| {
        let fetched = consumer.fetch_watermarks(&name, number, left);
        fetched.map_err(|error| if is_unknown(&error) { check_unknown(consumer, &name, number, error) } else { error })
    });
    let (start, end) = fetched.map_err(|e| {
        let what = format!("the bounds of {} cannot be read", settings.partition(partition));
        consumer.context().explain(settings, what, &e)
    })?;
    consumer.context().outage_ends();
    Ok(u64::try_from(start).unwrap_or(0)..u64::try_from(end).unwrap_or(0))
}

/// Repeats a request until it succeeds, fails with an error that is not transient, or times out.
pub(super) fn until_answered<T>(mut ask: impl FnMut(Duration) -> KafkaResult<T>) -> KafkaResult<T> {
    let begin = Instant::now();
    loop {
        let left = REQUEST_TIMEOUT.saturating_sub(begin.elapsed()).max(RETRY_INTERVAL);
        match ask(left) {
            Err(error) if begin.elapsed() + RETRY_INTERVAL < retry_time(&error) => std::thread::sleep(RETRY_INTERVAL),
            done => return done,
        }
    }
}

/// The time for which a request is retried after an error.
fn retry_time(error: &KafkaError) -> Duration {
    match error {
        // Some brokers may not know a topic yet that has just been created.
        error if is_unknown(error) => UNKNOWN_TIMEOUT,
        error if is_transient(error) => REQUEST_TIMEOUT,
        _ => Duration::ZERO,
    }
}

fn is_unknown(error: &KafkaError) -> bool {
    let unknown = [Code::UnknownPartition, Code::UnknownTopic, Code::UnknownTopicOrPartition];
    error.rdkafka_error_code().is_some_and(|code| unknown.contains(&code))
}

/// Finds out why a partition is unknown. librdkafka also reports a partition as unknown that had no leader in its last metadata,
/// and refreshes those metadata only after 15 minutes unless it is asked.
fn check_unknown(
    consumer: &BaseConsumer<ClientObserver>,
    topic: &str,
    partition: i32,
    error: KafkaError,
) -> KafkaError {
    let Ok(known) = consumer.fetch_metadata(Some(topic), LOOKUP_TIMEOUT) else { return error };
    let is_there = known.topics().iter().flat_map(|topic| topic.partitions()).any(|known| known.id() == partition);
    if is_there { KafkaError::MetadataFetch(Code::LeaderNotAvailable) } else { error }
}

/// An admin client for a few requests.
pub(super) struct Admin(AdminClient<ClientObserver>);

impl Admin {
    pub(super) fn open(settings: &Settings, client_id: &str) -> Result<Self, LogError> {
        let config = settings.admin(client_id)?;
        Ok(Self(config.create_with_context(ClientObserver::new(client_id)).map_err(refused)?))
    }

    /// Sends a request and waits for the answer.
    pub(super) fn ask<T, F>(&self, ask: impl FnOnce(&AdminClient<ClientObserver>, &AdminOptions) -> F) -> KafkaResult<T>
    where
        F: Future<Output = KafkaResult<T>>,
    {
        let options =
            AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
        wait_for(ask(&self.0, &options))
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks until the answer is ready. The client's own thread completes it.
fn wait_for<T>(answer: impl Future<Output = T>) -> T {
    let mut answer = pin!(answer);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        if let Poll::Ready(answer) = answer.as_mut().poll(&mut Context::from_waker(&waker)) {
            return answer;
        }
        std::thread::park();
    }
}
