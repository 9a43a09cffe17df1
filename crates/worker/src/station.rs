//! A stage with its place in the log: it reads, answers, and knows when a snapshot of it may be published.
//!
//! It does not write to the log: whoever runs it appends what it answers, in order, and says how much of that is durable.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::flow::{Desk, Guards, Missing, Output, Partitions, Stage, Stop};
use domain::model::place::Source;
use domain::model::rulebook::Library;
use domain::model::time::Millis;
use log::error::LogError;
use log::meta::Clock;
use log::partition::Partition;
use log::reader::Reader;

use crate::snapshot::{Snapshot, SnapshotError, Snapshots};

const RETIRED: &str = "restore the snapshots that belong to this log, or begin a new data directory";

/// Why a station stops. Its place is not moved; started again, it goes on from its snapshot.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    #[error(transparent)]
    Stop(#[from] Stop),
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
pub struct Station<D> {
    stage: Stage<D>,
    reader: Reader,
    clock: Clock,
    /// Answers handed out, and how many of them are durable.
    sent: u64,
    durable: u64,
    /// (answers handed out, next offset) after each record whose answers are not durable yet.
    open: VecDeque<(u64, u64)>,
    /// The next offset as far as all answers are durable.
    settled: u64,
    /// The offset of the last snapshot, and the one that waits for its answers to be durable.
    snapshot_at: u64,
    waiting: Option<(u64, Snapshot)>,
}

impl<D: Desk> Station<D> {
    /// Takes up the latest snapshot of a partition, or begins at the beginning if there never was one.
    ///
    /// # Errors
    /// The snapshot is torn, or the log no longer reaches back to it.
    pub fn open(
        partition: &Arc<Partition>,
        partitions: Partitions,
        clock: Clock,
        snapshots: &Snapshots,
        library: &Library,
    ) -> Result<Self, StationError> {
        let Source { log, partition: number, .. } = partition.source();
        let (stage, offset) = match snapshots.latest(partition.source())? {
            None => (Stage::new(D::default(), log, number, partitions), 0),
            Some(Snapshot { offset, state, .. }) => {
                let stage = Stage::restore(&state, log, number, partitions, library);
                (stage.map_err(|what| StationError::State { partition: partition.name(), offset, what })?, offset)
            }
        };
        // The record before is handed in again where it is still there: it must be the one that was taken.
        let from = if offset > partition.start() { offset - 1 } else { offset };
        let reader = Reader::open(Arc::clone(partition), from, RETIRED)?;
        Ok(Self {
            stage,
            reader,
            clock,
            sent: 0,
            durable: 0,
            open: VecDeque::new(),
            settled: offset,
            snapshot_at: offset,
            waiting: None,
        })
    }

    /// Takes records until there is none or the answers have so many bytes; says how many it took.
    ///
    /// # Errors
    /// Why the partition stops. The station must then be thrown away.
    pub fn step(
        &mut self,
        library: &Library,
        records_max: usize,
        bytes_max: usize,
        answers: &mut Vec<Output>,
    ) -> Result<usize, StationError> {
        let before = answers.len();
        let (mut taken, mut bytes) = (0, 0);
        while taken < records_max && bytes < bytes_max {
            let Some(record) = self.reader.next_record()? else { break };
            let append = if self.clock == Clock::Wall { record.append } else { Millis::MAX };
            let had = answers.len();
            self.stage.step(record.offset, append, record.bytes, library, answers)?;
            bytes += answers[had..].iter().map(|a| a.record.len()).sum::<usize>();
            taken += 1;
            self.open.push_back((self.sent + (answers.len() - before) as u64, self.stage.next_offset()));
        }
        self.sent += (answers.len() - before) as u64;
        self.settle();
        Ok(taken)
    }

    /// So many more answers, in the order in which they were handed out, are durable.
    pub fn made_durable(&mut self, answers: u64) {
        self.durable += answers;
        assert!(self.durable <= self.sent, "no more can be durable than was handed out");
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
    pub fn check_nothing_is_missing(&self) -> Result<(), StationError> {
        self.stage.positions.missing().next().map_or(Ok(()), |missing| Err(missing.into()))
    }

    /// Takes a snapshot; [`Station::snapshot`] hands it out when it may be published.
    pub fn take_snapshot(&mut self) {
        let offset = self.stage.next_offset();
        let is_whole = self.stage.positions.missing().next().is_none();
        if self.waiting.is_none() && offset > self.snapshot_at && is_whole {
            let snapshot = Snapshot { source: self.reader.source(), offset, state: self.stage.save() };
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

    /// Switches safeguards off, in tests that show what each is for.
    pub fn set_guards(&mut self, guards: Guards) {
        self.stage.positions.guards = guards;
    }
}
