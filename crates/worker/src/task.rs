//! A task: a desk at its position in a partition. It answers records, and knows when a snapshot of it may be published.
//!
//! A task neither reads nor writes the log. Its caller hands in the records from [`Task::start_offset`] on, appends the
//! answers in order, and reports which of them are durable.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::ops::Range;

use domain::model::address::{PartitionId, Topic};
use domain::model::rules::rulebook::Library;
use domain::protocol::behaviour::Build;
use domain::protocol::error::RestoreError;
use domain::protocol::kept::Kept;
use domain::protocol::positions::{Admission, Missing, Positions, ProtocolError};
use domain::protocol::stage::segments::Segments;
use domain::protocol::stage::{Desk, Output, RecordMark, Stage, StageOptions};
use eventlog::api::Record;
use eventlog::error::LogError;
use eventlog::local::meta::{Clock, Meta};

use crate::snapshot::saver::{CHANGED_MAX, Saver};
use crate::snapshot::segment::NewSegment;
use crate::snapshot::{Listed, Snapshot, SnapshotError, Snapshots};

/// The fix where the log begins after the offset of a snapshot.
pub const RETIRED: &str = "restore the snapshots that belong to this log, or begin a new data directory";

/// Why a task stops. Its position does not move: a restarted task continues from its snapshot.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum TaskError {
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the snapshot of {partition} at offset {offset} cannot be restored: {what}")]
    State { partition: String, offset: u64, what: RestoreError },
    #[error(
        "{partition}: the desk stopped at offset {offset} because of an internal error: report it with the lines above, and use another build"
    )]
    Panicked { partition: String, offset: u64 },
}

/// A desk of any kind at its position in a partition.
pub trait Task: Debug + Send {
    /// The partition that it reads.
    fn source(&self) -> PartitionId;

    /// The offset of the first record to hand in, from a log with these bounds.
    ///
    /// It is the record before the task's position, where the log still has it: the task checks that it is the record that
    /// it took.
    ///
    /// # Errors
    /// The log ends before the task's position.
    fn start_offset(&self, bounds: &Range<u64>) -> Result<u64, LogError>;

    /// The last record that this task took.
    fn last_taken(&self) -> Option<RecordMark>;

    /// Another task of this partition took this record. This task stops if the log holds another record there, or ends
    /// before it.
    fn expect(&mut self, mark: RecordMark);

    /// The offset of the next record.
    fn next_offset(&self) -> u64;

    /// Takes the next record and appends its answers to `answers`.
    ///
    /// # Errors
    /// Why the partition stops. The caller must then drop the task.
    fn take(
        &mut self,
        record: Record<'_>,
        library: &Library,
        answers: &mut Vec<Output>,
    ) -> Result<Admission, TaskError>;

    /// Sets the next record aside in `rejects` instead of applying it, and appends its copy to `answers`.
    ///
    /// # Errors
    /// It is no record of `scans`: without it, the numbers would be wrong.
    fn set_aside(&mut self, record: Record<'_>, why: &str, answers: &mut Vec<Output>) -> Result<Admission, TaskError>;

    /// These answers are durable, numbered from 0 in the order in which they were handed out. Answers to several partitions
    /// may become durable in another order; only answers without a gap before them count.
    ///
    /// # Panics
    /// If they were not handed out, or are durable already.
    fn made_durable(&mut self, answers: Range<u64>);

    /// The number of answers that were handed out, which is the number of the next one.
    fn handed_out(&self) -> u64;

    /// The offset below which the answers to all records are durable.
    fn settled(&self) -> u64;

    /// The number of answers that were handed out and are not known to be durable.
    fn outstanding(&self) -> u64;

    /// The number of records taken since the last snapshot.
    fn since_snapshot(&self) -> u64;

    /// The last frames that it applied of its source partitions.
    fn positions(&self) -> &Positions;

    /// Whether the behaviour in force lets its answers share records.
    fn has_bundles(&self) -> bool;

    /// Whether frames are missing after everything was read. They may still come while there is more to read.
    ///
    /// # Errors
    /// The first missing frame.
    fn check_nothing_is_missing(&self) -> Result<(), TaskError> {
        self.positions().missing().next().map_or(Ok(()), |missing| Err(missing.into()))
    }

    /// The number of source partitions of which a frame is missing.
    fn missing(&self) -> usize {
        self.positions().missing().count()
    }

    /// Takes a snapshot, or begins to, which [`Task::snapshot`] hands out when it may be published. Returns whether one is taken: not
    /// while an earlier one waits, without new records, or with a frame missing.
    fn take_snapshot(&mut self) -> bool;

    /// Whether a snapshot that is begun needs [`Task::advance_snapshot`], or, unless it is the last, the base beside it.
    fn is_saving(&self, is_last: bool) -> bool;

    /// Goes on with a snapshot that is begun, by about this number of bytes.
    fn advance_snapshot(&mut self, bytes: usize);

    /// Number of segments that can be written ahead of their snapshot.
    fn segments_ready(&self) -> usize;

    /// A segment that can be written ahead of its snapshot; the snapshot has those that were not taken.
    fn segment(&mut self) -> Option<NewSegment>;

    /// Whether so much has changed since the last snapshot that one is due.
    fn has_changed_much(&mut self) -> bool;

    /// The snapshot that may be published: all answers to its records are durable.
    fn snapshot(&mut self) -> Option<Snapshot>;

    /// The approximate memory of the desk's state in bytes, by kind.
    fn sizes(&self) -> Vec<(&'static str, usize)>;

    /// What the desk keeps for later.
    fn kept(&self) -> Kept;
}

/// A stage in its partition.
#[derive(Debug)]
pub struct DeskTask<D> {
    stage: Stage<D>,
    source: PartitionId,
    /// The number of answers that were handed out, and how many of them are durable without a gap.
    sent: u64,
    durable: u64,
    /// Ranges of durable answers after a gap, as (start, end): partitions do not wait for each other.
    ahead: BTreeMap<u64, u64>,
    /// (answers handed out, next offset) after each record whose answers are not durable yet.
    open: VecDeque<(u64, u64)>,
    /// The offset below which the answers to all records are durable.
    settled: u64,
    /// The offset of the last snapshot, and the snapshot whose answers are not all durable yet.
    snapshot_at: u64,
    waiting: Option<(u64, Snapshot)>,
    /// Where the stage stores its state in segments: how, and the number of answers that were handed out before the cut.
    saver: Saver,
    sent_at_cut: u64,
}

impl<D: Desk> DeskTask<D> {
    /// Restores the latest snapshot of a partition, or begins at the beginning if there never was one.
    ///
    /// # Errors
    /// The snapshot is torn.
    pub fn open(
        build: Build,
        meta: &Meta,
        partition: u16,
        snapshots: &Snapshots,
        library: &Library,
    ) -> Result<Self, TaskError> {
        let source = PartitionId { log: meta.topic_id(D::TOPIC), topic: D::TOPIC, partition };
        let options = StageOptions { build, is_event_clock: meta.clock == Clock::Event, ..StageOptions::default() };
        let (stage, offset, chain) = match snapshots.latest(source)? {
            None => (Stage::new(options, D::default(), source.log, partition, meta.partitions), 0, None),
            Some(Snapshot { offset, state, chain, .. }) => {
                let wrong = |what| TaskError::State { partition: source.to_string(), offset, what };
                let stage = Stage::restore(options, &state, source.log, partition, meta.partitions, library);
                let mut stage = stage.map_err(wrong)?;
                if let Some(chain) = &chain {
                    let listed = Listed { topic: D::TOPIC, partition, offset };
                    for segment in &chain.segments {
                        let bytes = snapshots.read_segment(&listed, segment)?;
                        stage.segments().load_segment(&bytes).map_err(|error| wrong(error.into()))?;
                    }
                    stage.segments().loaded();
                    stage.segments().track();
                }
                (stage, offset, chain)
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
            saver: Saver::new(snapshots, chain),
            sent_at_cut: 0,
        })
    }

    /// Counts the answers to a record.
    fn sent_answers(&mut self, answers: usize) {
        self.sent += answers as u64;
        self.open.push_back((self.sent, self.stage.next_offset()));
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(&(sent, next)) = self.open.front()
            && sent <= self.durable
        {
            self.settled = next;
            self.open.pop_front();
        }
    }
}

impl<D: Desk + Debug + Send> Task for DeskTask<D> {
    fn source(&self) -> PartitionId {
        self.source
    }

    fn start_offset(&self, bounds: &Range<u64>) -> Result<u64, LogError> {
        let (next, known) = (self.stage.next_offset(), self.stage.known_end());
        if known > bounds.end {
            return Err(LogError::Short { partition: self.source.to_string(), wanted: known, end: bounds.end });
        }
        Ok(if next > bounds.start { next - 1 } else { next })
    }

    fn last_taken(&self) -> Option<RecordMark> {
        self.stage.last_taken()
    }

    fn expect(&mut self, mark: RecordMark) {
        self.stage.expect(mark);
    }

    fn next_offset(&self) -> u64 {
        self.stage.next_offset()
    }

    fn take(
        &mut self,
        record: Record<'_>,
        library: &Library,
        answers: &mut Vec<Output>,
    ) -> Result<Admission, TaskError> {
        let had = answers.len();
        let admission = self.stage.step(record.offset, record.append, record.bytes, library, answers)?;
        self.sent_answers(answers.len() - had);
        Ok(admission)
    }

    fn set_aside(&mut self, record: Record<'_>, why: &str, answers: &mut Vec<Output>) -> Result<Admission, TaskError> {
        if D::TOPIC != Topic::Scans || record.offset != self.stage.next_offset() {
            return Err(TaskError::Panicked { partition: self.source.to_string(), offset: record.offset });
        }
        let had = answers.len();
        let admission = self.stage.set_aside(record.append, record.bytes, why, answers)?;
        self.sent_answers(answers.len() - had);
        Ok(admission)
    }

    fn made_durable(&mut self, answers: Range<u64>) {
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

    fn handed_out(&self) -> u64 {
        self.sent
    }

    fn settled(&self) -> u64 {
        self.settled
    }

    fn outstanding(&self) -> u64 {
        self.sent - self.durable
    }

    fn since_snapshot(&self) -> u64 {
        self.stage.next_offset() - self.snapshot_at
    }

    fn positions(&self) -> &Positions {
        self.stage.positions()
    }

    fn has_bundles(&self) -> bool {
        self.stage.has_bundles()
    }

    fn take_snapshot(&mut self) -> bool {
        let offset = self.stage.next_offset();
        if self.waiting.is_some() || offset <= self.snapshot_at || self.missing() > 0 {
            return false;
        }
        if self.stage.has_segments() {
            let is_begun = self.saver.begin(&mut self.stage);
            self.sent_at_cut = if is_begun { self.sent } else { self.sent_at_cut };
            return is_begun;
        }
        let (behaviour, state) = (self.stage.behaviour(), self.stage.save());
        let snapshot =
            Snapshot { source: self.source, offset, behaviour, state, chain: None, new: Vec::new(), memory: 0 };
        self.waiting = Some((self.sent, snapshot));
        true
    }

    fn is_saving(&self, is_last: bool) -> bool {
        self.saver.is_busy(is_last) || (self.saver.is_cut_due() && self.missing() == 0)
    }

    fn advance_snapshot(&mut self, bytes: usize) {
        self.saver.advance(&mut self.stage, bytes);
        if self.saver.is_cut_due() && self.missing() == 0 {
            self.saver.cut_after_base(&mut self.stage);
            self.sent_at_cut = self.sent;
        }
    }

    fn segments_ready(&self) -> usize {
        self.saver.ready()
    }

    fn segment(&mut self) -> Option<NewSegment> {
        self.saver.take()
    }

    fn has_changed_much(&mut self) -> bool {
        self.stage.segments().changed_bytes().is_none_or(|bytes| bytes >= CHANGED_MAX)
    }

    fn snapshot(&mut self) -> Option<Snapshot> {
        let snapshot = if self.saver.is_cut() {
            let memory = self.stage.desk().sizes().iter().map(|(_, bytes)| *bytes as u64).sum();
            (self.sent_at_cut <= self.durable).then(|| self.saver.finish(self.source, memory))??
        } else {
            self.waiting.take_if(|(sent, _)| *sent <= self.durable)?.1
        };
        self.snapshot_at = snapshot.offset;
        Some(snapshot)
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        self.stage.desk().sizes()
    }

    fn kept(&self) -> Kept {
        self.stage.desk().kept()
    }
}
