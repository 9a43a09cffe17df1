//! What a role asks of a log, the embedded one or Kafka: read records of some partitions, append records.

use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use domain::model::address::Topic;
use domain::model::time::Millis;

use crate::error::LogError;

/// A record in the log.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub offset: u64,
    /// When the log took it, ms.
    pub append: Millis,
    pub bytes: &'a [u8],
}

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    pub topic: Topic,
    pub partition: u16,
    pub record: Vec<u8>,
}

/// Why an append was refused. An embedded log holds nothing of it; Kafka may hold some or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the log has no room, or does not answer")]
    Full,
    #[error("the log failed; its writers must start again")]
    Failed,
    #[error("the log is being closed")]
    Closed,
    /// Only from Kafka, and only if its topics accept less than they did at their creation.
    #[error("a record is larger than its topic accepts")]
    TooLarge,
}

/// Called once the append is durable or refused. It runs on the committer's thread and must not block.
pub type Done = Box<dyn FnOnce(Result<(), AppendError>) + Send>;

/// What an append does when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// It is refused without a wait, and its sender gets the error.
    Refuse,
    /// It waits in its place in the queue: it is an answer that must not be lost.
    Wait,
}

/// The state that `/readyz` reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    Good = 0,
    Full = 1,
    Failed = 2,
}

/// Reads some partitions of a log, each in order and without a gap.
pub trait Consumer: Send {
    /// The first offset that the log still holds, and the offset after the last durable record, as of now.
    ///
    /// # Errors
    /// The log does not answer.
    fn bounds(&mut self, topic: Topic, partition: u16) -> Result<Range<u64>, LogError>;

    /// Begins to read a partition at an offset. `mend` is the fix that the error names if the log begins later.
    ///
    /// # Errors
    /// The log begins later or ends earlier, is another log, or cannot be read.
    fn assign(&mut self, topic: Topic, partition: u16, from: u64, mend: &'static str) -> Result<(), LogError>;

    /// Stops reading a partition: from now on `poll` returns no record of it.
    fn revoke(&mut self, topic: Topic, partition: u16);

    /// Passes available records to `each`, a bounded number of each partition, until `each` breaks. If there are none, it waits
    /// for `wait` at most. Returns the number of records that it passed.
    ///
    /// # Errors
    /// A record is damaged, missing, or was deleted before it was read; no record is skipped. The caller must then drop the
    /// consumer.
    fn poll(
        &mut self,
        wait: Duration,
        each: &mut dyn FnMut(Topic, u16, Record<'_>) -> ControlFlow<()>,
    ) -> Result<usize, LogError>;
}

/// Maximum time that a log may return nothing while records are left to read; after it, reading fails.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Maximum wait of one poll; the poll is then repeated.
const POLL: Duration = Duration::from_millis(100);

/// Passes every record that a partition holds now to `each`, from an offset on.
///
/// # Errors
/// As [`Consumer::assign`] and [`Consumer::poll`], or the log returns nothing for a minute.
pub fn read_all(
    consumer: &mut dyn Consumer,
    topic: Topic,
    partition: u16,
    from: u64,
    mend: &'static str,
    each: &mut dyn FnMut(Record<'_>),
) -> Result<(), LogError> {
    let end = consumer.bounds(topic, partition)?.end;
    if from >= end {
        return Ok(());
    }
    consumer.assign(topic, partition, from, mend)?;
    let (mut next, mut last_record) = (from, Instant::now());
    while next < end {
        let taken = consumer.poll(POLL, &mut |t, p, record| {
            if (t, p) == (topic, partition) && record.offset < end {
                next = record.offset + 1;
                each(record);
            }
            if next < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if taken > 0 {
            last_record = Instant::now();
        } else if last_record.elapsed() > SILENCE_MAX {
            consumer.revoke(topic, partition);
            let partition = format!("{topic} partition {partition}");
            return Err(LogError::Silent { partition, wanted: next, end });
        }
    }
    consumer.revoke(topic, partition);
    Ok(())
}

/// Appends records to a log. Records for one partition keep the order in which they were submitted.
pub trait Appender: Send + Sync + std::fmt::Debug {
    /// Appends records; `done` is called once all of them are durable, or refused. If they are refused, an embedded log holds none
    /// of them, and Kafka may hold some or all. `done` runs on one of the log's threads and must not block.
    fn append(&self, records: Vec<Append>, on_full: OnFull, done: Done);

    /// Whether it accepts records now.
    fn health(&self) -> Health;

    /// Tries for a short time to make submitted records durable, and refuses all later ones.
    fn close(&self);
}

/// The machine's clock, ms since the epoch.
#[must_use]
pub fn now_ms() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}
