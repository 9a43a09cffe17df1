//! The task of a partition, of any desk, and the state of the frames that it sends.

use std::sync::Arc;

use domain::model::address::Topic;
use domain::model::rules::rulebook::Library;
use domain::protocol::behaviour::Build;
use domain::protocol::positions::Positions;
use domain::protocol::stage::Output;
use eventlog::local::meta::Meta;
use eventlog::local::reader::{Partition, Reader};
use worker::snapshot::{Snapshot, Snapshots};
use worker::task::{RETIRED, Task, TaskError};

use crate::SAVE_BYTES;
use crate::alarm::Alarm;
use crate::cost::Cost;
use crate::safeguards::Without;
use crate::safeguards::task::open_task;

/// One incarnation of the task of a partition.
#[derive(Debug)]
pub(crate) struct SimTask {
    pub topic: Topic,
    pub partition: u16,
    /// The number under which it sends.
    pub producer: u64,
    reader: Reader,
    inner: Box<dyn Task>,
    cost: Cost,
    /// Number of its frames that are durable.
    acknowledged: u64,
    /// Whether it no longer gets acknowledgements, because some of its frames are lost.
    pub ignores_acks: bool,
    /// Number of records that a zombie still reads.
    pub left: usize,
}

/// What opens a task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening<'a> {
    pub meta: &'a Meta,
    pub snapshots: &'a Snapshots,
    pub library: &'a Library,
    pub without: Without,
}

impl Opening<'_> {
    /// Restores the task of a partition from its latest snapshot.
    ///
    /// # Errors
    /// The snapshot is torn, or the log begins after it.
    pub(crate) fn task(&self, partition: &Arc<Partition>, producer: u64) -> Result<SimTask, TaskError> {
        let Opening { meta, snapshots, library, without } = *self;
        let source = partition.source();
        let inner = open_task(without, Build::this(), meta, source.topic_partition(), snapshots, library)?;
        let reader =
            Reader::open(Arc::clone(partition), inner.start_offset(&(partition.start()..partition.end()))?, RETIRED)?;
        Ok(SimTask {
            topic: source.topic,
            partition: source.partition,
            producer,
            reader,
            inner,
            cost: Cost::default(),
            acknowledged: 0,
            ignores_acks: false,
            left: 0,
        })
    }
}

impl SimTask {
    /// Reads at most `records` records; returns how many, and the answers.
    ///
    /// # Errors
    /// Why the task stops.
    pub(crate) fn step(&mut self, library: &Library, records: usize) -> Result<(usize, Vec<Output>), TaskError> {
        let mut answers = Vec::new();
        let mut taken = 0;
        while taken < records
            && let Some(record) = self.reader.next_record()?
        {
            self.cost.take(&mut *self.inner, record, library, &mut answers)?;
            taken += 1;
        }
        Ok((taken, answers))
    }

    /// The offset of the next record that it takes.
    #[must_use]
    pub(crate) fn next_offset(&self) -> u64 {
        self.inner.next_offset()
    }

    /// The last frames that it applied.
    #[must_use]
    pub(crate) fn positions(&self) -> &Positions {
        self.inner.positions()
    }

    /// Its next frame is durable.
    pub(crate) fn durable(&mut self) {
        if !self.ignores_acks {
            self.inner.made_durable(self.acknowledged..self.acknowledged + 1);
            self.acknowledged += 1;
        }
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
