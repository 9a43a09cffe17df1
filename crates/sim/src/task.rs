//! A task of any desk, with the frames that it sends.

use std::sync::Arc;

use domain::model::address::Topic;
use domain::model::rulebook::Library;
use domain::protocol::positions::FaultInjection;
use domain::protocol::stage::{Output, StageOptions};
use eventlog::local::meta::Meta;
use eventlog::local::partition::Partition;
use eventlog::local::reader::Reader;
use worker::desks::open_task_under;
use worker::snapshot::{Snapshot, Snapshots};
use worker::task::{RETIRED, Task, TaskError};

/// One incarnation of the task of a partition.
#[derive(Debug)]
pub struct SimTask {
    pub topic: Topic,
    pub partition: u16,
    /// The number under which it sends.
    pub producer: u64,
    reader: Reader,
    station: Box<dyn Task>,
    /// How many of its frames are durable.
    heard: u64,
    /// It hears of no frame that is durable any more: some of its own are lost.
    pub is_deaf: bool,
    /// Number of records that a zombie still takes.
    pub left: usize,
}

/// What every task is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    pub meta: &'a Meta,
    pub snapshots: &'a Snapshots,
    pub library: &'a Library,
    pub guards: FaultInjection,
}

impl Opening<'_> {
    /// Restores the task of a partition from its latest snapshot.
    ///
    /// # Errors
    /// The snapshot is torn, or the log does not reach back to it.
    pub fn seat(&self, partition: &Arc<Partition>, producer: u64) -> Result<SimTask, TaskError> {
        let Opening { meta, snapshots, library, guards } = *self;
        let source = partition.source();
        let terms = StageOptions { guards, ..StageOptions::default() };
        let station = open_task_under(terms, meta, (source.topic, source.partition), snapshots, library)?;
        let reader =
            Reader::open(Arc::clone(partition), station.start_offset(&(partition.start()..partition.end()))?, RETIRED)?;
        Ok(SimTask {
            topic: source.topic,
            partition: source.partition,
            producer,
            reader,
            station,
            heard: 0,
            is_deaf: false,
            left: 0,
        })
    }
}

impl SimTask {
    /// Takes at most `records` records; returns their number, and the answers.
    ///
    /// # Errors
    /// Why it stops.
    pub fn step(&mut self, library: &Library, records: usize) -> Result<(usize, Vec<Output>), TaskError> {
        let mut answers = Vec::new();
        let mut taken = 0;
        while taken < records
            && let Some(record) = self.reader.next_record()?
        {
            self.station.take(record, library, &mut answers)?;
            taken += 1;
        }
        Ok((taken, answers))
    }

    /// The next one of its frames is durable.
    pub fn durable(&mut self) {
        if !self.is_deaf {
            self.station.made_durable(self.heard..self.heard + 1);
            self.heard += 1;
        }
    }

    pub fn take_snapshot(&mut self) {
        self.station.take_snapshot();
    }

    /// A snapshot that may be written.
    pub fn snapshot(&mut self, snapshots: &Snapshots) -> Option<Snapshot> {
        self.station.snapshot(snapshots)
    }

    /// # Errors
    /// A frame is missing.
    pub fn check_nothing_is_missing(&self) -> Result<(), TaskError> {
        self.station.check_nothing_is_missing()
    }
}
