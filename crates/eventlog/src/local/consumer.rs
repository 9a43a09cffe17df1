//! The embedded log behind the API of roles: a consumer of some partitions, which wakes when a round is durable, and an
//! appender.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Duration;

use domain::model::address::TopicPartition;

use crate::api::{Append, Appender, Consumer, Done, Health, OnFull, Record};
use crate::error::LogError;
use crate::local::log::{Log, Readers};
use crate::local::reader::Reader;

/// Maximum number of records of one partition in a row; the next partition then has its turn.
const RECORDS_MAX: usize = 64;

/// Reads some partitions of an embedded log.
#[derive(Debug)]
pub struct LocalConsumer {
    log: Arc<Log>,
    readers: Vec<Reader>,
    /// The reader that the next poll begins with: the one after the reader at which the last poll stopped.
    first: usize,
    /// The kind of rounds that wake it.
    woken_by: Readers,
}

impl LocalConsumer {
    /// A consumer without partitions.
    #[must_use]
    pub fn new(log: Arc<Log>, woken_by: Readers) -> Self {
        Self { log, readers: Vec::new(), first: 0, woken_by }
    }
}

impl Consumer for LocalConsumer {
    fn bounds(&mut self, partition: TopicPartition) -> Result<Range<u64>, LogError> {
        let partition = self.log.partition(partition);
        Ok(partition.start()..partition.end())
    }

    fn assign(&mut self, partition: TopicPartition, from: u64, mend: &'static str) -> Result<(), LogError> {
        self.revoke(partition);
        let reader = Reader::open(Arc::clone(self.log.partition(partition)), from, mend)?;
        self.readers.push(reader);
        Ok(())
    }

    fn revoke(&mut self, partition: TopicPartition) {
        self.readers.retain(|reader| reader.source().topic_partition() != partition);
    }

    fn poll(
        &mut self,
        wait: Duration,
        each: &mut dyn FnMut(TopicPartition, Record<'_>) -> ControlFlow<()>,
    ) -> Result<usize, LogError> {
        // Read before the records are, so that a round in between ends the wait.
        let version = self.log.version(self.woken_by);
        let mut passed = 0;
        let readers = self.readers.len();
        for turn in 0..readers {
            let at = (self.first + turn) % readers;
            let reader = &mut self.readers[at];
            let partition = reader.source().topic_partition();
            for _ in 0..RECORDS_MAX {
                let record = match reader.next_record() {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    Err(cause @ LogError::Damaged { .. }) => {
                        return Err(LogError::Partition { partition, cause: Box::new(cause) });
                    }
                    Err(error) => return Err(error),
                };
                passed += 1;
                if each(partition, record).is_break() {
                    self.first = at + 1;
                    return Ok(passed);
                }
            }
        }
        if passed == 0 && !wait.is_zero() {
            self.log.wait(self.woken_by, version, wait);
        }
        Ok(passed)
    }
}

impl Appender for Log {
    fn append(&self, records: Vec<Append>, on_full: OnFull, done: Done) {
        Log::append(self, records, on_full, done);
    }

    fn health(&self) -> Health {
        Log::health(self)
    }

    fn close(&self) {
        Log::close(self);
    }
}
