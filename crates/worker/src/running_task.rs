//! A task that runs in a lane: its answers that wait for the log, its snapshots, and the progress that it reports.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use domain::model::rules::rulebook::Library;
use domain::protocol::positions::Admission;
use domain::protocol::stage::Output;
use eventlog::api::Append;
use eventlog::api::Record;
use tracing::warn;

use crate::context::{Progress, WorkerContext};
use crate::desks::desk_of;
use crate::snapshot::Snapshot;
use crate::task::{Task, TaskError};

/// Time between two reports of a state's size.
const SIZES_EVERY: Duration = Duration::from_secs(2);

pub(crate) struct RunningTask {
    pub(crate) task: Box<dyn Task>,
    pub(crate) progress: Progress,
    /// The number of this task in its lane; a later task of the same partition has another number.
    pub(crate) number: u64,
    /// Answers that were not handed to the log yet.
    pub(crate) answers: Vec<Output>,
    /// The desk's name in metrics.
    desk: &'static str,
    last_snapshot: Instant,
    last_sizes: Option<Instant>,
}

impl RunningTask {
    pub(crate) fn new(task: Box<dyn Task>, number: u64) -> Self {
        let source = task.source();
        let progress = Progress::new(source.topic, source.partition, task.settled());
        let desk = desk_of(source.topic).name;
        Self { task, progress, number, answers: Vec::new(), desk, last_snapshot: Instant::now(), last_sizes: None }
    }

    /// Takes a record and returns the bytes of its answers.
    pub(crate) fn take(
        &mut self,
        context: &WorkerContext,
        library: &Library,
        record: Record<'_>,
    ) -> Result<usize, TaskError> {
        let timer = context.metrics.seconds.with_label_values(&[self.desk]).start_timer();
        let had = self.answers.len();
        let offset = record.offset;
        let admission = self.task.take(record, library, &mut self.answers)?;
        timer.observe_duration();
        context.metrics.frames.with_label_values(&[self.desk]).inc();
        if admission == Admission::Reject {
            context.metrics.rejected.inc();
            warn!(
                partition = self.progress.partition,
                offset, "a record of scans is not a frame; it is set aside in rejects"
            );
        }
        Ok(self.answers[had..].iter().map(|answer| answer.record.len()).sum())
    }

    /// Takes the answers that wait for the log.
    pub(crate) fn drain(&mut self) -> Vec<Append> {
        let append = |Output { topic, partition, record }| Append { topic, partition, record };
        self.answers.drain(..).map(append).collect()
    }

    pub(crate) fn publish(&self) {
        self.progress.settled.store(self.task.settled(), Ordering::Release);
        self.progress.missing.store(self.task.missing() as u64, Ordering::Release);
    }

    /// Takes a snapshot if one is due, and sends the snapshot that may be published.
    pub(crate) fn snapshots(&mut self, context: &WorkerContext, to: &Sender<(Snapshot, Progress)>, is_last: bool) {
        let Self { task, progress, last_snapshot, last_sizes, .. } = self;
        if last_sizes.is_none_or(|at| at.elapsed() >= SIZES_EVERY) {
            *last_sizes = Some(Instant::now());
            *progress.sizes.lock().unwrap_or_else(PoisonError::into_inner) = task.sizes();
        }
        let is_due = last_snapshot.elapsed() >= context.snapshot_policy.interval
            && task.since_snapshot() >= context.snapshot_policy.records;
        if is_due || is_last {
            *last_snapshot = Instant::now();
            task.take_snapshot();
        }
        if let Some(snapshot) = task.snapshot() {
            let _ = to.send((snapshot, progress.clone()));
        }
    }
}
