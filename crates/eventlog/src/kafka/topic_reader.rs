//! Reads a topic of Kafka once, from its start to the end that it had when it was opened.
//!
//! The caller may read the partitions in any order. Records of other partitions that arrive meanwhile are buffered up to a
//! limit; a partition that has reached the limit pauses until its buffer is empty.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::model::address::{Topic, TopicPartition};
use domain::model::time::Millis;
use parking_lot::Mutex;

use crate::api::{Consumer, Record};
use crate::error::LogError;
use crate::kafka::consumer::KafkaConsumer;
use crate::kafka::settings::Settings;
use crate::kafka::topics::origin::meta;
use crate::local::topic_reader::{Behind, Next, Records, TopicReader};

/// Limit of one partition's buffered records, bytes; a partition that has reached it pauses.
const AHEAD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Maximum time without the wanted record; after it, reading fails.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum wait of one poll; the poll is then repeated.
const WAIT: Duration = Duration::from_millis(500);
const MEND: &str = "records were deleted while they were read; read the topic again";

/// Opens a topic at its partitions' starts.
///
/// # Errors
/// There is no log, or Kafka does not answer in time.
pub fn open(settings: &Settings, client_id: &str, topic: Topic) -> Result<TopicReader, LogError> {
    open_behind(settings, client_id, topic, None)
}

/// The same, from where its archive ends.
///
/// # Errors
/// As [`open`], or the log does not hold what must follow, or it is the archive of another log.
pub fn open_behind(
    settings: &Settings,
    client_id: &str,
    topic: Topic,
    behind: Option<&Behind>,
) -> Result<TopicReader, LogError> {
    let meta = meta(settings)?;
    let starts = Behind::of(behind, &meta)?;
    let mut consumer = KafkaConsumer::new(settings, &meta, client_id)?;
    let mut partitions = Vec::new();
    for number in 0..meta.partitions.of(topic) {
        let partition = TopicPartition::new(topic, number);
        let bounds = consumer.bounds(partition)?;
        let (start, end) = (starts.get(usize::from(number)).copied().unwrap_or_default(), bounds.end);
        let next = start.within(bounds, &partition.to_string())?;
        partitions.push(PartitionState { next, end, is_read: false, ahead: VecDeque::new(), ahead_bytes: 0 });
    }
    let count = partitions.len();
    let shared = Arc::new(Mutex::new(Shared { consumer, settings: settings.clone(), topic, partitions }));
    let records = (0..count).map(|at| {
        let shared = Arc::clone(&shared);
        let received_before = starts.get(at).and_then(|start| start.received_before);
        Records::of(Box::new(KafkaRecords { shared, at, last: None })).beginning(false, received_before)
    });
    Ok(TopicReader { meta, partitions: records.collect() })
}

#[derive(Debug)]
struct Shared {
    consumer: KafkaConsumer,
    settings: Settings,
    topic: Topic,
    partitions: Vec<PartitionState>,
}

#[derive(Debug)]
struct PartitionState {
    /// The next offset to receive, and the end at the time of opening.
    next: u64,
    end: u64,
    /// Whether the partition is assigned now.
    is_read: bool,
    ahead: VecDeque<BufferedRecord>,
    ahead_bytes: usize,
}

#[derive(Debug)]
struct BufferedRecord {
    offset: u64,
    append: Millis,
    bytes: Vec<u8>,
}

/// The records of one partition.
#[derive(Debug)]
struct KafkaRecords {
    shared: Arc<Mutex<Shared>>,
    at: usize,
    last: Option<BufferedRecord>,
}

impl Next for KafkaRecords {
    fn has_next(&mut self) -> Result<bool, LogError> {
        Ok(self.shared.lock().has_next(self.at))
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>, LogError> {
        self.last = self.shared.lock().next(self.at)?;
        Ok(self.last.as_ref().map(|record| Record {
            offset: record.offset,
            append: record.append,
            bytes: &record.bytes,
        }))
    }
}

impl Shared {
    fn has_next(&self, at: usize) -> bool {
        let part = &self.partitions[at];
        !part.ahead.is_empty() || part.next < part.end
    }

    fn next(&mut self, at: usize) -> Result<Option<BufferedRecord>, LogError> {
        let deadline = Instant::now() + STALL_TIMEOUT;
        loop {
            let part = &mut self.partitions[at];
            if let Some(record) = part.ahead.pop_front() {
                part.ahead_bytes -= record.bytes.len();
                return Ok(Some(record));
            }
            if part.next >= part.end {
                return Ok(None);
            }
            if Instant::now() > deadline {
                return Err(self.stalled(at));
            }
            self.read()?;
        }
    }

    /// Polls once. Partitions with an empty buffer are assigned before, those with a full one are paused.
    fn read(&mut self) -> Result<(), LogError> {
        let Self { consumer, topic, partitions, .. } = self;
        for (number, part) in (0..).zip(partitions.iter_mut()) {
            let is_over = part.next >= part.end;
            if part.is_read && (is_over || part.ahead_bytes >= AHEAD_BYTES_MAX) {
                consumer.revoke(TopicPartition::new(*topic, number));
                part.is_read = false;
            } else if !part.is_read && !is_over && part.ahead.is_empty() {
                consumer.assign(TopicPartition::new(*topic, number), part.next, MEND)?;
                part.is_read = true;
            }
        }
        consumer.poll(WAIT, &mut |partition, record| {
            let part = &mut partitions[usize::from(partition.partition)];
            if record.offset < part.end {
                let record =
                    BufferedRecord { offset: record.offset, append: record.append, bytes: record.bytes.to_vec() };
                part.ahead_bytes += record.bytes.len();
                part.ahead.push_back(record);
            }
            part.next = record.offset + 1;
            ControlFlow::Continue(())
        })?;
        Ok(())
    }

    fn stalled(&self, at: usize) -> LogError {
        let partition = TopicPartition::new(self.topic, u16::try_from(at).unwrap_or(u16::MAX));
        LogError::Kafka {
            brokers: self.settings.brokers.clone(),
            what: format!("{} cannot be read", self.settings.partition(partition)),
            cause: format!("no record arrived within {} s", STALL_TIMEOUT.as_secs()),
            mend: "check that the brokers are up",
        }
    }
}
