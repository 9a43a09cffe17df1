//! A stage with its place in the log: it answers what it is handed, and knows when a snapshot of it may be published.
//!
//! It neither reads nor writes the log: whoever runs it hands in the records from [`DeskTask::from`] on, appends what it
//! answers, in order, and says how much of that is durable.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use domain::model::address::PartitionId;
use domain::model::rulebook::Library;
use domain::protocol::positions::{Admission, Missing, ProtocolError};
use domain::protocol::stage::{Desk, Output, RecordMark, Stage, StageOptions};
use eventlog::api::Record;
use eventlog::error::LogError;
use eventlog::local::meta::{Clock, Meta};

use crate::snapshot::{Snapshot, SnapshotError, Snapshots};

/// What helps where the log no longer reaches back to a snapshot.
pub const RETIRED: &str = "restore the snapshots that belong to this log, or begin a new data directory";

/// Why a station stops. Its place is not moved; started again, it goes on from its snapshot.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error(transparent)]
    ProtocolError(#[from] ProtocolError),
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the snapshot of {partition} at offset {offset} cannot be taken up: {what}")]
    State { partition: String, offset: u64, what: String },
}

/// A stage on its partition.
#[derive(Debug)]
pub struct DeskTask<D> {
    stage: Stage<D>,
    source: PartitionId,
    /// Answers handed out, and how many of them are durable without a gap.
    sent: u64,
    durable: u64,
    /// What is durable beyond a gap, by where it begins: partitions do not wait for each other.
    ahead: BTreeMap<u64, u64>,
    /// (answers handed out, next offset) after each record whose answers are not durable yet.
    open: VecDeque<(u64, u64)>,
    /// The next offset as far as all answers are durable.
    settled: u64,
    /// The offset of the last snapshot, and the one that waits for its answers to be durable.
    snapshot_at: u64,
    waiting: Option<(u64, Snapshot)>,
}

impl<D: Desk> DeskTask<D> {
    /// Takes up the latest snapshot of a partition, or begins at the beginning if there never was one.
    ///
    /// # Errors
    /// The snapshot is torn.
    pub fn open(meta: &Meta, partition: u16, snapshots: &Snapshots, library: &Library) -> Result<Self, TaskError> {
        Self::open_under(StageOptions::default(), meta, partition, snapshots, library)
    }

    /// The same, of another build or without some safeguard.
    ///
    /// # Errors
    /// As [`DeskTask::open`].
    pub fn open_under(
        terms: StageOptions,
        meta: &Meta,
        partition: u16,
        snapshots: &Snapshots,
        library: &Library,
    ) -> Result<Self, TaskError> {
        let source = PartitionId { log: meta.topic_id(D::TOPIC), topic: D::TOPIC, partition };
        let terms = StageOptions { is_event_clock: meta.clock == Clock::Event, ..terms };
        let (stage, offset) = match snapshots.latest(source)? {
            None => (Stage::new_under(terms, D::default(), source.log, partition, meta.partitions), 0),
            Some(Snapshot { offset, state, .. }) => {
                let stage = Stage::restore_under(terms, &state, source.log, partition, meta.partitions, library);
                (stage.map_err(|what| TaskError::State { partition: source.to_string(), offset, what })?, offset)
            }
        };
        Ok(Self {
            stage,
            source,
            sent: 0,
            durable: 0,
            ahead: BTreeMap::new(),
            open: VecDeque::new(),
            settled: offset,
            snapshot_at: offset,
            waiting: None,
        })
    }

    /// The offset of the first record that it must be handed, of a log that has so many.
    ///
    /// The record before its place is handed in again where it is still there: it must be the one that was taken.
    ///
    /// # Errors
    /// The log ends before its place.
    pub fn from(&self, bounds: &Range<u64>) -> Result<u64, LogError> {
        let (next, known) = (self.stage.next_offset(), self.stage.known_end());
        if known > bounds.end {
            return Err(LogError::Short { partition: self.source.to_string(), wanted: known, end: bounds.end });
        }
        Ok(if next > bounds.start { next - 1 } else { next })
    }

    /// The last record that it took.
    #[must_use]
    pub fn last_taken(&self) -> Option<RecordMark> {
        self.stage.last_taken()
    }

    /// Another station of this partition has taken this record: this one stops where the log holds another one, or ends before.
    pub fn expect(&mut self, taken: RecordMark) {
        self.stage.expect(taken);
    }

    #[must_use]
    pub fn source(&self) -> PartitionId {
        self.source
    }

    /// The offset of the record that comes next.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.stage.next_offset()
    }

    /// Takes the next record and answers it.
    ///
    /// # Errors
    /// Why the partition stops. The station must then be thrown away.
    pub fn take(
        &mut self,
        record: Record<'_>,
        library: &Library,
        answers: &mut Vec<Output>,
    ) -> Result<Admission, TaskError> {
        let had = answers.len();
        let verdict = self.stage.step(record.offset, record.append, record.bytes, library, answers)?;
        self.sent += (answers.len() - had) as u64;
        self.open.push_back((self.sent, self.stage.next_offset()));
        self.settle();
        Ok(verdict)
    }

    /// These answers are durable, numbered from 0 as they were handed out. Whoever sends them to several partitions may hear
    /// of a later one first; only what has no gap before it counts.
    ///
    /// # Panics
    /// If they were not handed out, or are durable already.
    pub fn made_durable(&mut self, answers: Range<u64>) {
        assert!(
            self.durable <= answers.start && answers.end <= self.sent,
            "no more can be durable than was handed out"
        );
        let known = self.ahead.insert(answers.start, answers.end);
        assert!(known.is_none(), "an answer is made durable once");
        while let Some(end) = self.ahead.remove(&self.durable) {
            self.durable = end;
        }
        self.settle();
    }

    /// How many answers were handed out: the number of the next one.
    #[must_use]
    pub fn handed_out(&self) -> u64 {
        self.sent
    }

    fn settle(&mut self) {
        while let Some(&(sent, next)) = self.open.front()
            && sent <= self.durable
        {
            self.settled = next;
            self.open.pop_front();
        }
    }

    /// The next offset as far as all answers are durable: everything before it has left its traces.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.settled
    }

    /// Answers that are handed out and not known to be durable.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.sent - self.durable
    }

    /// Records taken since the last snapshot.
    #[must_use]
    pub fn since_snapshot(&self) -> u64 {
        self.stage.next_offset() - self.snapshot_at
    }

    /// Whether a snapshot is taken and not published yet.
    #[must_use]
    pub fn is_snapshot_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether frames are missing now that everything was read. They may come again while there is more to read.
    ///
    /// # Errors
    /// The first of them.
    pub fn check_nothing_is_missing(&self) -> Result<(), TaskError> {
        self.stage.positions.missing().next().map_or(Ok(()), |missing| Err(missing.into()))
    }

    /// Of how many source partitions a frame is missing.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.stage.positions.missing().count()
    }

    /// Takes a snapshot; [`DeskTask::snapshot`] hands it out when it may be published.
    pub fn take_snapshot(&mut self) {
        let offset = self.stage.next_offset();
        let is_whole = self.stage.positions.missing().next().is_none();
        if self.waiting.is_none() && offset > self.snapshot_at && is_whole {
            let behaviour = self.stage.behaviour();
            let snapshot = Snapshot { source: self.source, offset, behaviour, state: self.stage.save() };
            self.waiting = Some((self.sent, snapshot));
        }
    }

    /// The snapshot that may be published: every answer to what is in it is durable.
    pub fn snapshot(&mut self, snapshots: &Snapshots) -> Option<Snapshot> {
        let (sent, _) = self.waiting.as_ref()?;
        if snapshots.safeguards.manifest_after_acks && *sent > self.durable {
            return None;
        }
        let (_, snapshot) = self.waiting.take()?;
        self.snapshot_at = snapshot.offset;
        Some(snapshot)
    }

    #[must_use]
    pub fn stage(&self) -> &Stage<D> {
        &self.stage
    }
}
