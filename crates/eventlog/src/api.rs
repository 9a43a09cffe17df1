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

/// A record that is to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    pub topic: Topic,
    pub partition: u16,
    pub record: Vec<u8>,
}

/// Why an append was refused. Nothing of it is in an embedded log; of Kafka nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the log has no room, or does not answer")]
    Full,
    #[error("the log failed; whoever writes to it must begin again")]
    Failed,
    #[error("the log is being closed")]
    Closed,
    /// Only of Kafka, and only if its topics take less than they were made to take.
    #[error("a record is larger than its topic takes")]
    TooLarge,
}

/// Called once the append is durable or refused. Runs on the committer's thread: it must not wait.
pub type Done = Box<dyn FnOnce(Result<(), AppendError>) + Send>;

/// What an append does when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// It is refused at once: whoever sent it is told.
    Refuse,
    /// It waits in its place: it is an answer that must not be lost.
    Wait,
}

/// The state that `/readyz` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    Good = 0,
    Full = 1,
    Failed = 2,
}

/// Reads some partitions of a log, each in order and without a hole.
pub trait Consumer: Send {
    /// The first offset that is still there, and the one after the last durable record, as of now.
    ///
    /// # Errors
    /// The log does not say.
    fn bounds(&mut self, topic: Topic, partition: u16) -> Result<Range<u64>, LogError>;

    /// Begins to read a partition at an offset. `mend` says what helps if the log begins later.
    ///
    /// # Errors
    /// The log begins later or ends earlier, is another one, or cannot be read.
    fn assign(&mut self, topic: Topic, partition: u16, from: u64, mend: &'static str) -> Result<(), LogError>;

    /// Reads a partition no more: no record of it is handed out from now on.
    fn revoke(&mut self, topic: Topic, partition: u16);

    /// Hands out what is there, a bounded number of records of each partition, until `each` breaks; waits for so long if there is
    /// nothing. Says how many it handed out.
    ///
    /// # Errors
    /// A record is damaged, missing, or was let go before it was read: nothing is skipped. The feed must then be thrown away.
    fn poll(
        &mut self,
        wait: Duration,
        each: &mut dyn FnMut(Topic, u16, Record<'_>) -> ControlFlow<()>,
    ) -> Result<usize, LogError>;
}

/// How long a log may be silent while what it has is read.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Hands out every record of a partition that is there now, from an offset on.
///
/// # Errors
/// As [`Consumer::assign`] and [`Consumer::poll`], or the log is silent for a minute.
pub fn read_all(
    feed: &mut dyn Consumer,
    topic: Topic,
    partition: u16,
    from: u64,
    mend: &'static str,
    each: &mut dyn FnMut(Record<'_>),
) -> Result<(), LogError> {
    let end = feed.bounds(topic, partition)?.end;
    if from >= end {
        return Ok(());
    }
    feed.assign(topic, partition, from, mend)?;
    let (mut next, mut heard) = (from, Instant::now());
    while next < end {
        let taken = feed.poll(POLL, &mut |t, p, record| {
            if (t, p) == (topic, partition) && record.offset < end {
                next = record.offset + 1;
                each(record);
            }
            if next < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if taken > 0 {
            heard = Instant::now();
        } else if heard.elapsed() > SILENCE_MAX {
            feed.revoke(topic, partition);
            let partition = format!("{topic} partition {partition}");
            return Err(LogError::Silent { partition, wanted: next, end });
        }
    }
    feed.revoke(topic, partition);
    Ok(())
}

/// Appends records to a log. Records for one partition stay in the order in which they were given.
pub trait Appender: Send + Sync + std::fmt::Debug {
    /// Appends records; `done` is called once all of them are durable, or refused. Refused, an embedded log has none of them;
    /// of Kafka nobody knows: they may be there. `done` runs on a thread of the log's and must not wait.
    fn append(&self, records: Vec<Append>, on_full: OnFull, done: Done);

    /// Whether it would take records now.
    fn health(&self) -> Health;

    /// Makes what was given durable, if that goes well soon, and refuses all that comes later.
    fn close(&self);
}

/// The machine's clock, ms since the epoch.
#[must_use]
pub fn now_ms() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}
