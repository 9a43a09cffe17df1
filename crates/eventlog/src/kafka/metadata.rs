//! Questions that are asked of Kafka before a role starts, or while topics are made.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use domain::model::address::Topic;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::LogError;
use crate::kafka::observer::{ClientObserver, passes_by};
use crate::kafka::settings::{Settings, refused};

/// One question is asked for at most so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// A topic that was listed and is not known is asked for again for so long.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
const LOOK_FOR: Duration = Duration::from_secs(2);
/// A question that was not answered is asked again after so long.
const AGAIN: Duration = Duration::from_millis(100);

/// What is said beside an answer, at most.
const SAID_MAX: usize = 256;

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogInfo {
    pub partitions: usize,
    /// The fewest replicas of a partition.
    pub replicas: usize,
}

/// Asks; lives for a moment.
pub struct MetadataClient {
    pub settings: Settings,
    consumer: BaseConsumer<ClientObserver>,
}

impl MetadataClient {
    pub fn open(settings: &Settings, client_id: &str) -> Result<Self, LogError> {
        let mut config = settings.consumer(client_id, None)?;
        // First records are asked for, and little more.
        config.set("queued.min.messages", "1").set("fetch.message.max.bytes", "65536");
        let consumer = config.create_with_context(ClientObserver::new(client_id)).map_err(refused)?;
        Ok(Self { settings: settings.clone(), consumer })
    }

    /// The topics of this prefix that there are, as one broker knows them at one moment.
    pub fn topics(&self) -> Result<BTreeMap<Topic, LogInfo>, LogError> {
        let all = until_answered(|left| self.consumer.fetch_metadata(None, left));
        let all = all.map_err(|e| self.explain("the topics cannot be listed".to_owned(), &e))?;
        let found = all.topics().iter().filter_map(|topic| {
            let name = topic.name().strip_prefix(&self.settings.prefix)?.strip_prefix('.')?;
            let replicas = topic.partitions().iter().map(|p| p.replicas().len()).min().unwrap_or(0);
            Some((Topic::parse(name)?, LogInfo { partitions: topic.partitions().len(), replicas }))
        });
        Ok(found.collect())
    }

    /// The numbers of all brokers.
    pub fn brokers(&self) -> Result<Vec<i32>, LogError> {
        let all = until_answered(|left| self.consumer.fetch_metadata(None, left));
        let all = all.map_err(|e| self.explain("the brokers cannot be listed".to_owned(), &e))?;
        Ok(all.brokers().iter().map(|broker| broker.id()).collect())
    }

    /// The first offset that is there and the one after the last.
    pub fn bounds(&self, topic: Topic, partition: u16) -> Result<Range<u64>, LogError> {
        bounds(&self.consumer, &self.settings, topic, partition)
    }

    /// The first record of each of some partitions that have one.
    pub fn firsts(&self, partitions: &[(Topic, u16)]) -> Result<BTreeMap<(Topic, u16), Vec<u8>>, LogError> {
        let mut firsts = BTreeMap::new();
        self.read(partitions, |topic, partition, offset, bytes| {
            if offset == 0 {
                firsts.entry((topic, partition)).or_insert_with(|| bytes.to_vec());
            }
            if firsts.len() == partitions.len() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(firsts)
    }

    /// Reads partitions that have records from offset 0 on, until `each` breaks.
    pub fn read(
        &self,
        partitions: &[(Topic, u16)],
        mut each: impl FnMut(Topic, u16, u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let what = || "the first records cannot be read".to_owned();
        let mut list = TopicPartitionList::new();
        for &(topic, partition) in partitions {
            let added = list.add_partition_offset(&self.settings.topic(topic), i32::from(partition), Offset::Offset(0));
            added.map_err(|e| self.explain(what(), &e))?;
        }
        self.consumer.assign(&list).map_err(|e| self.explain(what(), &e))?;
        let end = Instant::now() + PATIENCE;
        let result = loop {
            match self.consumer.poll(AGAIN) {
                Some(Ok(record)) => {
                    let name = record.topic().strip_prefix(&self.settings.prefix).and_then(|n| n.strip_prefix('.'));
                    let place = name.and_then(Topic::parse).zip(u16::try_from(record.partition()).ok());
                    let offset = u64::try_from(record.offset()).unwrap_or(u64::MAX);
                    if let Some((topic, partition)) = place
                        && each(topic, partition, offset, record.payload().unwrap_or_default()).is_break()
                    {
                        break Ok(());
                    }
                }
                Some(Err(error)) if !passes_by(&error) => break Err(self.explain(what(), &error)),
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

    pub fn explain(&self, what: String, error: &KafkaError) -> LogError {
        // Why it could not connect is said beside the answers, between lines of its log.
        for _ in 0..SAID_MAX {
            self.consumer.poll(Duration::ZERO);
        }
        self.consumer.context().explain(&self.settings, what, error)
    }
}

/// The first offset of a partition that is there and the one after the last.
pub(super) fn bounds(
    consumer: &BaseConsumer<ClientObserver>,
    settings: &Settings,
    topic: Topic,
    partition: u16,
) -> Result<Range<u64>, LogError> {
    let name = settings.topic(topic);
    let number = i32::from(partition);
    let asked = until_answered(|left| {
        let asked = consumer.fetch_watermarks(&name, number, left);
        asked.map_err(|error| if is_unknown(&error) { look_again(consumer, &name, number, error) } else { error })
    });
    let (start, end) = asked.map_err(|e| {
        let what = format!("the bounds of {} cannot be asked for", settings.partition(topic, partition));
        consumer.context().explain(settings, what, &e)
    })?;
    consumer.context().is_back();
    Ok(u64::try_from(start).unwrap_or(0)..u64::try_from(end).unwrap_or(0))
}

/// Asks until there is an answer, or an error that does not pass by.
pub(super) fn until_answered<T>(mut ask: impl FnMut(Duration) -> KafkaResult<T>) -> KafkaResult<T> {
    let begin = Instant::now();
    loop {
        let left = PATIENCE.saturating_sub(begin.elapsed()).max(AGAIN);
        match ask(left) {
            Err(error) if begin.elapsed() + AGAIN < patience(&error) => std::thread::sleep(AGAIN),
            done => return done,
        }
    }
}

/// For how long a question is asked again after an error.
fn patience(error: &KafkaError) -> Duration {
    match error {
        // A topic that was made a moment ago is not known everywhere.
        error if is_unknown(error) => UNKNOWN_FOR,
        error if passes_by(error) => PATIENCE,
        _ => Duration::ZERO,
    }
}

fn is_unknown(error: &KafkaError) -> bool {
    let unknown = [Code::UnknownPartition, Code::UnknownTopic, Code::UnknownTopicOrPartition];
    error.rdkafka_error_code().is_some_and(|code| unknown.contains(&code))
}

/// Why a partition is unknown. librdkafka says so, too, of one that had no leader when it was heard of last, and for a
/// quarter of an hour hears no more of it unless it is asked.
fn look_again(consumer: &BaseConsumer<ClientObserver>, topic: &str, partition: i32, error: KafkaError) -> KafkaError {
    let Ok(known) = consumer.fetch_metadata(Some(topic), LOOK_FOR) else { return error };
    let is_there = known.topics().iter().flat_map(|topic| topic.partitions()).any(|known| known.id() == partition);
    if is_there { KafkaError::MetadataFetch(Code::LeaderNotAvailable) } else { error }
}

/// The client that changes and describes; lives for a moment.
pub(super) struct Admin(AdminClient<ClientObserver>);

impl Admin {
    pub(super) fn open(settings: &Settings, client_id: &str) -> Result<Self, LogError> {
        let config = settings.admin(client_id)?;
        Ok(Self(config.create_with_context(ClientObserver::new(client_id)).map_err(refused)?))
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask<T, F>(&self, ask: impl FnOnce(&AdminClient<ClientObserver>, &AdminOptions) -> F) -> KafkaResult<T>
    where
        F: Future<Output = KafkaResult<T>>,
    {
        let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
        wait_for(ask(&self.0, &options))
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Answers come from a thread of the client's: there is nothing to drive meanwhile.
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
