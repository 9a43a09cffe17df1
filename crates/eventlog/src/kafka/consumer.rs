//! Reads partitions of Kafka, each from an exact offset, without a consumer group.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use domain::frame::Frame;
use domain::model::address::TopicPartition;
use domain::model::time::Millis;
use domain::protocol::genesis::Genesis;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message, Timestamp};
use rdkafka::{Offset, TopicPartitionList};

use crate::api::{Consumer, Record};
use crate::error::LogError;
use crate::kafka::metadata::bounds;
use crate::kafka::observer::{ClientObserver, RecoveryCheck, is_transient};
use crate::kafka::settings::{Settings, refused};
use crate::local::meta::Meta;

/// Maximum number of records of one poll; the rest waits for the next poll.
const RECORDS_MAX: usize = 256;
/// Size from which on a poll returns, bytes; the rest waits for the next poll.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads partitions of Kafka.
pub struct KafkaConsumer {
    consumer: BaseConsumer<ClientObserver>,
    assigned: AssignedPartitions,
    recovery: RecoveryCheck,
}

/// The partitions that are read, and their next offsets.
struct AssignedPartitions {
    settings: Settings,
    meta: Meta,
    next: BTreeMap<TopicPartition, AssignedPartition>,
}

struct AssignedPartition {
    /// The offset that must come next.
    next: u64,
    mend: &'static str,
}

impl KafkaConsumer {
    /// A consumer without partitions. `client_id` is its name in the brokers' logs and in ours.
    ///
    /// # Errors
    /// The settings are refused.
    pub fn new(settings: &Settings, meta: &Meta, client_id: &str) -> Result<Self, LogError> {
        Self::with(&settings.consumer(client_id, None)?, settings, meta, client_id)
    }

    /// The same for a reader that takes pauses: it fetches nothing while records wait to be taken.
    ///
    /// # Errors
    /// The settings are refused.
    pub fn pausing(settings: &Settings, meta: &Meta, client_id: &str) -> Result<Self, LogError> {
        Self::with(&settings.pausing_consumer(client_id)?, settings, meta, client_id)
    }

    fn with(config: &ClientConfig, settings: &Settings, meta: &Meta, client_id: &str) -> Result<Self, LogError> {
        let consumer = config.create_with_context(ClientObserver::new(client_id)).map_err(refused)?;
        let assigned = AssignedPartitions { settings: settings.clone(), meta: meta.clone(), next: BTreeMap::new() };
        Ok(Self { consumer, assigned, recovery: RecoveryCheck::default() })
    }

    /// Handles an error of `poll`: either it is transient, or the consumer fails.
    fn handle_error(&self, error: &KafkaError) -> Result<(), LogError> {
        match error.rdkafka_error_code() {
            // librdkafka asks for the group's coordinator, although the consumer does not use the group.
            Some(Code::GroupAuthorizationFailed) => Ok(()),
            // librdkafka reports this once; after that the partition returns nothing more.
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation) => Err(self.out_of_range(error)),
            _ if is_transient(error) && !matches!(error, KafkaError::MessageConsumptionFatal(_)) => Ok(()),
            _ => Err(self.explain("a partition cannot be read", error)),
        }
    }

    /// Finds the partition whose next offset is out of its bounds.
    fn out_of_range(&self, error: &KafkaError) -> LogError {
        // The error if all offsets are within bounds again.
        let cut = self.explain("a partition was truncated, and has grown again", error);
        for (&partition, position) in &self.assigned.next {
            match bounds(&self.consumer, &self.assigned.settings, partition) {
                Ok(bounds) => {
                    if let Err(error) = self.assigned.check(partition, position.next, &bounds, position.mend) {
                        return error;
                    }
                }
                Err(error) => return error,
            }
        }
        cut
    }

    fn explain(&self, what: &str, error: &KafkaError) -> LogError {
        self.consumer.context().explain(&self.assigned.settings, what.to_owned(), error)
    }

    fn list(&self, partition: TopicPartition, from: Offset) -> Result<TopicPartitionList, LogError> {
        let mut list = TopicPartitionList::new();
        let added = list.add_partition_offset(
            &self.assigned.settings.topic(partition.topic),
            i32::from(partition.partition),
            from,
        );
        added.map_err(|e| self.explain("an offset cannot be requested", &e))?;
        Ok(list)
    }
}

impl Consumer for KafkaConsumer {
    fn bounds(&mut self, partition: TopicPartition) -> Result<Range<u64>, LogError> {
        bounds(&self.consumer, &self.assigned.settings, partition)
    }

    fn assign(&mut self, partition: TopicPartition, from: u64, mend: &'static str) -> Result<(), LogError> {
        self.revoke(partition);
        let bounds = bounds(&self.consumer, &self.assigned.settings, partition)?;
        self.assigned.check(partition, from, &bounds, mend)?;
        let offset = i64::try_from(from).expect("it is within the log's bounds");
        let list = self.list(partition, Offset::Offset(offset))?;
        let assigned = self.consumer.incremental_assign(&list);
        assigned.map_err(|e| self.explain("a partition cannot be assigned", &e))?;
        self.assigned.next.insert(partition, AssignedPartition { next: from, mend });
        Ok(())
    }

    fn revoke(&mut self, partition: TopicPartition) {
        if self.assigned.next.remove(&partition).is_none() {
            return;
        }
        // Records in flight are not passed on, even if the client fails here.
        if let Ok(list) = self.list(partition, Offset::Invalid)
            && let Err(error) = self.consumer.incremental_unassign(&list)
        {
            tracing::debug!(target: "kafka", %error, topic = %partition.topic, partition = partition.partition, "a partition was not unassigned");
        }
    }

    fn poll(
        &mut self,
        wait: Duration,
        each: &mut dyn FnMut(TopicPartition, Record<'_>) -> ControlFlow<()>,
    ) -> Result<usize, LogError> {
        let end = Instant::now() + wait;
        let (mut count, mut bytes) = (0, 0);
        while count < RECORDS_MAX && bytes < BYTES_MAX {
            let left = if count == 0 { end.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            match self.consumer.poll(left) {
                Some(Ok(message)) => {
                    let Some((partition, record)) = self.assigned.receive(&message)? else { continue };
                    count += 1;
                    bytes += record.bytes.len();
                    if each(partition, record).is_break() {
                        break;
                    }
                }
                Some(Err(error)) => self.handle_error(&error)?,
                None if count > 0 || Instant::now() >= end => break,
                None => {}
            }
        }
        if count > 0 {
            self.consumer.context().outage_ends();
        } else {
            self.recovery.ask(&self.consumer, self.consumer.context());
        }
        Ok(count)
    }
}

impl AssignedPartitions {
    /// Whether an offset is within a partition's bounds.
    fn check(
        &self,
        partition: TopicPartition,
        wanted: u64,
        bounds: &Range<u64>,
        mend: &'static str,
    ) -> Result<(), LogError> {
        let partition = || self.settings.partition(partition);
        if wanted < bounds.start {
            return Err(LogError::Retired { partition: partition(), wanted, start: bounds.start, mend });
        }
        if wanted > bounds.end {
            return Err(LogError::Short { partition: partition(), wanted, end: bounds.end });
        }
        Ok(())
    }

    /// The record in a message; `None` if its partition is no longer read.
    fn receive<'a>(
        &mut self,
        message: &'a BorrowedMessage<'_>,
    ) -> Result<Option<(TopicPartition, Record<'a>)>, LogError> {
        let partition = self.settings.parse_partition(message.topic(), message.partition());
        let Some(partition) = partition else { return Ok(None) };
        let Some(position) = self.next.get_mut(&partition) else { return Ok(None) };
        let found = u64::try_from(message.offset()).unwrap_or(u64::MAX);
        if found != position.next {
            let partition = self.settings.partition(partition);
            return Err(LogError::Hole { partition, expected: position.next, found });
        }
        let bytes = message.payload().unwrap_or_default();
        if found == 0 {
            self.check_genesis(partition, bytes)?;
        }
        let append = self.append_time(partition, message)?;
        self.next.entry(partition).and_modify(|position| position.next += 1);
        Ok(Some((partition, Record { offset: found, append, bytes })))
    }

    fn check_genesis(&self, partition: TopicPartition, bytes: &[u8]) -> Result<(), LogError> {
        let source = self.meta.source(partition);
        let checked = Frame::open(bytes).map_err(|e| format!("{NO_GENESIS}: {e}"));
        let checked =
            checked.and_then(|frame| Genesis::check(&frame, source).map_err(|e| format!("{NO_GENESIS}: {e}")));
        checked.map_err(|what| self.foreign(partition, 0, what))
    }

    fn append_time(&self, partition: TopicPartition, message: &BorrowedMessage<'_>) -> Result<Millis, LogError> {
        if let Timestamp::LogAppendTime(append) = message.timestamp() {
            return Ok(append);
        }
        let offset = u64::try_from(message.offset()).unwrap_or(u64::MAX);
        Err(self.foreign(partition, offset, NO_APPEND_TIME.to_owned()))
    }

    fn foreign(&self, partition: TopicPartition, offset: u64, what: String) -> LogError {
        LogError::Foreign { partition: self.settings.partition(partition), offset, what }
    }
}

const NO_GENESIS: &str = "the partition does not begin as `topics create` begins it";
const NO_APPEND_TIME: &str = "the record has its writer's time, not the log's: set message.timestamp.type=LogAppendTime; earlier records cannot be repaired";

impl std::fmt::Debug for KafkaConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaConsumer").field("settings", &self.assigned.settings).finish_non_exhaustive()
    }
}
