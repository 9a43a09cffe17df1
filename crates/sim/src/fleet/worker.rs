//! A worker process: the real tasks of the partitions that its group assigned to it, and of partitions that it has lost but
//! does not know about yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::model::rules::rulebook::Library;
use domain::protocol::behaviour::Build;
use domain::protocol::positions::Positions;
use domain::protocol::stage::{Output, RecordMark};
use eventlog::api::Record;
use eventlog::local::meta::Meta;
use worker::rules_cache::RulesCache;
use worker::snapshot::{Snapshot, Snapshots};
use worker::task::{Task, TaskError};

use domain::model::address::TopicPartition;

use super::log::SharedLog;
use crate::SAVE_BYTES;
use crate::alarm::Alarm;
use crate::cost::Cost;
use crate::safeguards::task::open_task;
use crate::safeguards::{Safeguard, Without};

/// A running task.
#[derive(Debug)]
pub(crate) struct SimTask {
    pub topic_partition: TopicPartition,
    /// Another task of the same partition has another number.
    pub number: u64,
    inner: Box<dyn Task>,
    cost: Cost,
    /// The next offset that it reads.
    next: u64,
    /// Number of records that this task still reads after another worker took the partition. `None`: this worker owns it.
    pub left: Option<usize>,
}

/// A running worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub producer: u64,
    pub build: Build,
    /// The log's description when the worker started.
    pub meta: Meta,
    pub rules_cache: RulesCache,
    pub library: Arc<Library>,
    pub tasks: Vec<SimTask>,
    /// The last record that a dropped task has read of each of its partitions.
    pub taken: BTreeMap<TopicPartition, RecordMark>,
    /// Number of turns in which it does nothing.
    pub frozen: usize,
    /// Offsets of snapshots that it will commit to its group.
    pub to_commit: Vec<(TopicPartition, u64)>,
}

/// What opens a task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening<'a> {
    pub log: &'a SharedLog,
    pub snapshots: &'a Snapshots,
    pub without: Without,
    pub committed: Option<u64>,
}

impl Worker {
    /// Opens the task of a partition from its latest snapshot.
    ///
    /// # Errors
    /// The snapshot cannot be restored, or the log begins after it.
    pub(crate) fn open(
        &mut self,
        topic_partition: TopicPartition,
        number: u64,
        opening: Opening<'_>,
    ) -> Result<(), TaskError> {
        let Opening { log, snapshots, without, committed } = opening;
        self.library = self.rules_cache.refreshed().expect("the rules store is there");
        let mut inner = open_task(without, self.build, &self.meta, topic_partition, snapshots, &self.library)?;
        self.taken.get(&topic_partition).into_iter().for_each(|&taken| inner.expect(taken));
        let bounds = log.bounds(topic_partition);
        let next = if without.contains(&Safeguard::StartAtManifest) {
            committed.unwrap_or(bounds.start)
        } else {
            inner.start_offset(&bounds)?
        };
        log.check(topic_partition, next)?;
        self.tasks.push(SimTask { topic_partition, number, inner, cost: Cost::default(), next, left: None });
        Ok(())
    }

    /// A task reads at most `most` records; returns how many, and the answers.
    ///
    /// # Errors
    /// Why the task stops.
    pub(crate) fn step(&mut self, at: usize, log: &SharedLog, most: usize) -> Result<(usize, Vec<Output>), TaskError> {
        let Self { tasks, rules_cache, library, .. } = self;
        let SimTask { topic_partition, inner, cost, next, .. } = &mut tasks[at];
        let mut answers = Vec::new();
        let mut taken = 0;
        while taken < most
            && let Some(stored) = log.read(*topic_partition, *next)?
        {
            if let Some(more) = rules_cache.for_record(&stored.bytes, library).expect("the rules store is there") {
                *library = more;
            }
            let record = Record { offset: *next, append: stored.append, bytes: &stored.bytes };
            cost.take(&mut **inner, record, library, &mut answers)?;
            *next += 1;
            taken += 1;
        }
        Ok((taken, answers))
    }

    /// Drops a task, and records how far it has read; not for a task of a partition that it no longer owns.
    pub(crate) fn drop_task(&mut self, at: usize) {
        let task = self.tasks.remove(at);
        if let (None, Some(last)) = (task.left, task.inner.last_taken()) {
            let taken = self.taken.entry(task.topic_partition).or_insert(last);
            *taken = last.max(*taken);
        }
    }

    /// An answer of a task is durable.
    pub(crate) fn durable(&mut self, number: u64, answer: u64) {
        if let Some(task) = self.tasks.iter_mut().find(|task| task.number == number) {
            task.inner.made_durable(answer..answer + 1);
        }
    }
}

impl SimTask {
    /// The offset of the next record that it takes, and the last frames that it applied.
    #[must_use]
    pub(crate) fn position(&self) -> (u64, &Positions) {
        (self.inner.next_offset(), self.inner.positions())
    }

    /// The number of its next answer.
    #[must_use]
    pub(crate) fn handed_out(&self) -> u64 {
        self.inner.handed_out()
    }

    /// The offset below which all answers are durable.
    #[must_use]
    pub(crate) fn settled(&self) -> u64 {
        self.inner.settled()
    }

    /// The next offset that it reads; at first one record before its position.
    #[must_use]
    pub(crate) fn reads_at(&self) -> u64 {
        self.next
    }

    pub(crate) fn take_snapshot(&mut self) {
        self.inner.take_snapshot();
    }

    /// A snapshot that may be written. Each look takes it a part further.
    pub(crate) fn snapshot(&mut self) -> Option<Snapshot> {
        self.inner.advance_snapshot(SAVE_BYTES);
        self.inner.snapshot()
    }

    /// # Errors
    /// A frame is missing, or it has looked at too much.
    pub(crate) fn check_at_rest(&self) -> Result<(), Alarm> {
        self.inner.check_nothing_is_missing()?;
        self.cost.check()
    }
}
