//! A station at work in a lane: its answers on their way, its snapshots, and what is told of it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use domain::model::rulebook::Library;
use domain::protocol::positions::Admission;
use domain::protocol::stage::Output;
use eventlog::api::Append;
use eventlog::api::Record;
use tracing::warn;

use crate::any_task::AnyTask;
use crate::context::{Progress, WorkerContext};
use crate::snapshot::Snapshot;
use crate::task::TaskError;

/// How often a lane says how large its states are.
const SIZES_EVERY: Duration = Duration::from_secs(2);

pub(crate) struct RunningTask {
    pub(crate) station: AnyTask,
    pub(crate) progress: Progress,
    /// Which of the lane's seats it is; another one for the same partition has another number.
    pub(crate) number: u64,
    /// Answers that are not handed to the log yet.
    pub(crate) answers: Vec<Output>,
    last_snapshot: Instant,
    last_sizes: Option<Instant>,
}

impl RunningTask {
    pub(crate) fn new(station: AnyTask, number: u64) -> Self {
        let source = station.source();
        let progress = Progress::new(source.topic, source.partition, station.settled());
        Self { station, progress, number, answers: Vec::new(), last_snapshot: Instant::now(), last_sizes: None }
    }

    /// Takes a record; says how many bytes of answers wait.
    pub(crate) fn take(
        &mut self,
        works: &WorkerContext,
        library: &Library,
        record: Record<'_>,
    ) -> Result<usize, TaskError> {
        let desk = self.station.desk();
        let timer = works.metrics.seconds.with_label_values(&[desk]).start_timer();
        let had = self.answers.len();
        let offset = record.offset;
        let verdict = self.station.take(record, library, &mut self.answers)?;
        timer.observe_duration();
        works.metrics.frames.with_label_values(&[desk]).inc();
        if verdict == Admission::Reject {
            works.metrics.rejected.inc();
            warn!(
                partition = self.progress.partition,
                offset, "a record of scans is no frame: it is set aside in rejects"
            );
        }
        Ok(self.answers[had..].iter().map(|answer| answer.record.len()).sum())
    }

    /// The answers, to be appended.
    pub(crate) fn drain(&mut self) -> Vec<Append> {
        let append = |Output { topic, partition, record }| Append { topic, partition, record };
        self.answers.drain(..).map(append).collect()
    }

    pub(crate) fn publish(&self) {
        self.progress.settled.store(self.station.settled(), Ordering::Release);
        self.progress.missing.store(self.station.missing() as u64, Ordering::Release);
    }

    /// Takes a snapshot if it is time, and hands out one that may be published.
    pub(crate) fn snapshots(&mut self, works: &WorkerContext, to: &Sender<(Snapshot, Progress)>, is_last: bool) {
        let Self { station, progress, last_snapshot, last_sizes, .. } = self;
        if last_sizes.is_none_or(|at| at.elapsed() >= SIZES_EVERY) {
            *last_sizes = Some(Instant::now());
            *progress.sizes.lock().unwrap_or_else(PoisonError::into_inner) = station.sizes();
        }
        let is_due =
            last_snapshot.elapsed() >= works.rhythm.interval && station.since_snapshot() >= works.rhythm.records;
        if is_due || is_last {
            *last_snapshot = Instant::now();
            station.take_snapshot();
        }
        if let Some(snapshot) = station.snapshot(&works.snapshots) {
            let _ = to.send((snapshot, progress.clone()));
        }
    }
}
