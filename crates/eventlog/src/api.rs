//! What a role asks of a log, the embedded one or Kafka: read records of some partitions, append records.

use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use domain::model::address::TopicPartition;
use domain::model::time::Millis;

use crate::error::LogError;

/// A record in the log.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its number in its partition.
    pub offset: u64,
    /// When the log took it, ms.
    pub append: Millis,
    /// Its contents.
    pub bytes: &'a [u8],
}

/// A record to append: what a desk's stage puts out is appended as it is.
pub use domain::protocol::stage::Output as Append;

/// Why an append was refused. An embedded log holds nothing of it; Kafka may hold some or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
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

/// Called once the append is durable or refused: on one of the log's threads, or, if it is refused at once, within the call. It
/// must not block.
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
    /// It accepts records.
    Good = 0,
    /// It has no room, or does not answer in time: appends that do not wait are refused.
    Full = 1,
    /// It accepts nothing until its process starts again.
    Failed = 2,
}

/// Reads some partitions of a log, each in order and without a gap.
pub trait Consumer: Send {
    /// The first offset that the log still holds, and the offset after the last durable record, as of now.
    ///
    /// # Errors
    /// The log does not answer.
    fn bounds(&mut self, partition: TopicPartition) -> Result<Range<u64>, LogError>;

    /// Begins to read a partition at an offset. `mend` is the fix that the error names if the log begins later.
    ///
    /// # Errors
    /// The log begins later or ends earlier, is another log, or cannot be read.
    fn assign(&mut self, partition: TopicPartition, from: u64, mend: &'static str) -> Result<(), LogError>;

    /// Stops reading a partition: from now on `poll` returns no record of it.
    fn revoke(&mut self, partition: TopicPartition);

    /// Passes available records to `each`, a bounded number of each partition, until `each` breaks. If there are none, it waits
    /// for `wait` at most. Returns the number of records that it passed.
    ///
    /// # Errors
    /// A record is damaged, missing, or was deleted before it was read; no record is skipped. The caller must then drop the
    /// consumer.
    fn poll(
        &mut self,
        wait: Duration,
        each: &mut dyn FnMut(TopicPartition, Record<'_>) -> ControlFlow<()>,
    ) -> Result<usize, LogError>;
}

/// As [`Consumer::poll`], for records whose handling may fail. The first failure ends the poll and is returned beside the number
/// of records that were passed.
///
/// # Errors
/// As [`Consumer::poll`].
pub fn try_poll<E>(
    consumer: &mut dyn Consumer,
    wait: Duration,
    mut each: impl FnMut(TopicPartition, Record<'_>) -> Result<ControlFlow<()>, E>,
) -> Result<(usize, Result<(), E>), LogError> {
    let mut result = Ok(());
    let count = consumer.poll(wait, &mut |partition, record| {
        each(partition, record).unwrap_or_else(|error| {
            result = Err(error);
            ControlFlow::Break(())
        })
    })?;
    Ok((count, result))
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
    partition: TopicPartition,
    from: u64,
    mend: &'static str,
    each: &mut dyn FnMut(Record<'_>),
) -> Result<(), LogError> {
    let end = consumer.bounds(partition)?.end;
    if from >= end {
        return Ok(());
    }
    consumer.assign(partition, from, mend)?;
    let (mut next, mut last_record) = (from, Instant::now());
    while next < end {
        let count = consumer.poll(POLL, &mut |of, record| {
            if of == partition && record.offset < end {
                next = record.offset + 1;
                each(record);
            }
            if next < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if count > 0 {
            last_record = Instant::now();
        } else if last_record.elapsed() > SILENCE_MAX {
            consumer.revoke(partition);
            return Err(LogError::Silent { partition: partition.to_string(), wanted: next, end });
        }
    }
    consumer.revoke(partition);
    Ok(())
}

/// Appends records to a log. Records for one partition keep the order in which they were submitted.
pub trait Appender: Send + Sync + std::fmt::Debug {
    /// Appends records; `done` is called once all of them are durable, or refused. If they are refused, an embedded log holds none
    /// of them, and Kafka may hold some or all. See [`Done`] for the thread that `done` runs on.
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
