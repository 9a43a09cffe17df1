//! A topic of Kafka, read once from its start to its end: what was there when it was opened.
//!
//! Partitions are handed out one by one, in whatever order they are asked for. What came of the others meanwhile is kept
//! up to a bound; a partition that has reached it is read on once that was handed out.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::model::address::Topic;
use domain::model::time::Millis;

use crate::api::Consumer;
use crate::api::Record;
use crate::error::LogError;
use crate::kafka::consumer::KafkaConsumer;
use crate::kafka::settings::Settings;
use crate::kafka::topics::origin::meta;
use crate::local::archive::{Archive, Next, Records};

/// So much is read ahead of a partition.
const AHEAD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// If nothing comes for so long, it is an error.
const PATIENCE: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_millis(500);
const MEND: &str = "it was let go while it was read; read it again";

/// Opens a topic, to be read from its partitions' starts.
///
/// # Errors
/// There is no log, or Kafka does not answer.
pub fn open(settings: &Settings, client_id: &str, topic: Topic) -> Result<Archive, LogError> {
    let meta = meta(settings)?;
    let mut feed = KafkaConsumer::new(settings, &meta, client_id)?;
    let mut partitions = Vec::new();
    for partition in 0..meta.partitions.of(topic) {
        let bounds = feed.bounds(topic, partition)?;
        let (next, end) = (bounds.start, bounds.end);
        partitions.push(Part { next, end, is_read: false, ahead: VecDeque::new(), ahead_bytes: 0 });
    }
    let count = partitions.len();
    let shared = Arc::new(Mutex::new(Shared { feed, settings: settings.clone(), topic, partitions }));
    let records = (0..count).map(|at| {
        let shared = Arc::clone(&shared);
        Records::of(Box::new(KafkaRecords { shared, at, last: None }))
    });
    Ok(Archive { meta, partitions: records.collect() })
}

#[derive(Debug)]
struct Shared {
    feed: KafkaConsumer,
    settings: Settings,
    topic: Topic,
    partitions: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    /// What the feed hands out next, and where it ends.
    next: u64,
    end: u64,
    /// Whether the feed reads it now.
    is_read: bool,
    ahead: VecDeque<Kept>,
    ahead_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    offset: u64,
    append: Millis,
    bytes: Vec<u8>,
}

/// One partition of it.
#[derive(Debug)]
struct KafkaRecords {
    shared: Arc<Mutex<Shared>>,
    at: usize,
    last: Option<Kept>,
}

impl Next for KafkaRecords {
    fn next_record(&mut self) -> Result<Option<Record<'_>>, LogError> {
        self.last = self.shared.lock().unwrap_or_else(PoisonError::into_inner).next(self.at)?;
        Ok(self.last.as_ref().map(|kept| Record { offset: kept.offset, append: kept.append, bytes: &kept.bytes }))
    }
}

impl Shared {
    fn next(&mut self, at: usize) -> Result<Option<Kept>, LogError> {
        let late = Instant::now() + PATIENCE;
        loop {
            let part = &mut self.partitions[at];
            if let Some(kept) = part.ahead.pop_front() {
                part.ahead_bytes -= kept.bytes.len();
                return Ok(Some(kept));
            }
            if part.next >= part.end {
                return Ok(None);
            }
            if Instant::now() > late {
                return Err(self.stalled(at));
            }
            self.read()?;
        }
    }

    /// Reads on whatever has nothing ahead, and no more of what has much.
    fn read(&mut self) -> Result<(), LogError> {
        let Self { feed, topic, partitions, .. } = self;
        for (number, part) in (0..).zip(partitions.iter_mut()) {
            let is_over = part.next >= part.end;
            if part.is_read && (is_over || part.ahead_bytes >= AHEAD_BYTES_MAX) {
                feed.revoke(*topic, number);
                part.is_read = false;
            } else if !part.is_read && !is_over && part.ahead.is_empty() {
                feed.assign(*topic, number, part.next, MEND)?;
                part.is_read = true;
            }
        }
        feed.poll(WAIT, &mut |_, partition, record| {
            let part = &mut partitions[usize::from(partition)];
            if record.offset < part.end {
                let kept = Kept { offset: record.offset, append: record.append, bytes: record.bytes.to_vec() };
                part.ahead_bytes += kept.bytes.len();
                part.ahead.push_back(kept);
            }
            part.next = record.offset + 1;
            ControlFlow::Continue(())
        })?;
        Ok(())
    }

    fn stalled(&self, at: usize) -> LogError {
        let partition = u16::try_from(at).unwrap_or(u16::MAX);
        LogError::Kafka {
            brokers: self.settings.brokers.clone(),
            what: format!("{} cannot be read", self.settings.partition(self.topic, partition)),
            cause: format!("nothing came for {} s", PATIENCE.as_secs()),
            mend: "check that the brokers are up",
        }
    }
}
