//! The embedded log behind the API of roles: a consumer of some partitions, which wakes when a round is durable, and an
//! appender.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Duration;

use domain::model::address::{PartitionId, Topic};

use crate::api::Append;
use crate::api::Record;
use crate::api::{Appender, Consumer};
use crate::api::{Done, Health, OnFull};
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
    #[must_use]
    pub fn new(log: Arc<Log>, woken_by: Readers) -> Self {
        Self { log, readers: Vec::new(), first: 0, woken_by }
    }
}

impl Consumer for LocalConsumer {
    fn bounds(&mut self, topic: Topic, partition: u16) -> Result<Range<u64>, LogError> {
        let partition = self.log.partition(topic, partition);
        Ok(partition.start()..partition.end())
    }

    fn assign(&mut self, topic: Topic, partition: u16, from: u64, mend: &'static str) -> Result<(), LogError> {
        let reader = Reader::open(Arc::clone(self.log.partition(topic, partition)), from, mend)?;
        self.readers.push(reader);
        Ok(())
    }

    fn revoke(&mut self, topic: Topic, partition: u16) {
        self.readers.retain(|reader| (reader.source().topic, reader.source().partition) != (topic, partition));
    }

    fn poll(
        &mut self,
        wait: Duration,
        each: &mut dyn FnMut(Topic, u16, Record<'_>) -> ControlFlow<()>,
    ) -> Result<usize, LogError> {
        // Read before the records are, so that a round in between ends the wait.
        let version = self.log.version(self.woken_by);
        let mut taken = 0;
        let count = self.readers.len();
        for turn in 0..count {
            let at = (self.first + turn) % count;
            let reader = &mut self.readers[at];
            let PartitionId { topic, partition, .. } = reader.source();
            for _ in 0..RECORDS_MAX {
                let Some(record) = reader.next_record()? else { break };
                taken += 1;
                if each(topic, partition, record).is_break() {
                    self.first = at + 1;
                    return Ok(taken);
                }
            }
        }
        if taken == 0 && !wait.is_zero() {
            self.log.wait(self.woken_by, version, wait);
        }
        Ok(taken)
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
