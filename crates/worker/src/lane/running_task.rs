//! A task that runs in a lane: its answers that wait for the log, its snapshots, and the progress that it reports.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use domain::model::rules::rulebook::Library;
use domain::protocol::positions::Admission;
use eventlog::api::{Append, Record};
use prometheus::{Histogram, IntCounter};
use tracing::{debug, warn};

use crate::context::{Progress, WorkerContext};
use crate::desks::desk_of;
use crate::lane::snapshot_pace::SnapshotPace;
use crate::lane::snapshot_writer::SnapshotQueue;
use crate::task::{Task, TaskError};

/// Time between two reports of a state's size.
const SIZES_EVERY: Duration = Duration::from_secs(2);

/// Least time between two warnings of one partition that bounds were reached.
const WARNED_EVERY: Duration = Duration::from_secs(60);

/// Time for which a lane writes parts of a snapshot between two batches of records.
const SAVE_FOR: Duration = Duration::from_millis(2);

/// Size of a part that it writes before it looks at the time, bytes.
const SAVE_BYTES: usize = 64 * 1024;

/// Why a record is set aside at which a desk panics.
const PANICS: &str = "the desk stops at it because of an internal error: report it";

pub(crate) struct RunningTask {
    pub(crate) task: Box<dyn Task>,
    pub(crate) progress: Progress,
    /// The number of this task in its lane; a later task of the same partition has another number.
    pub(crate) number: u64,
    /// Answers that were not handed to the log yet.
    pub(crate) answers: Vec<Append>,
    /// The metrics of its desk.
    seconds: Histogram,
    frames: IntCounter,
    last_snapshot: Instant,
    /// Whether a snapshot is due at once: the desk panicked at a record before it, and must not meet that one again.
    is_wanted: bool,
    /// Whether a snapshot was put off, for one debug line.
    is_put_off: bool,
    last_sizes: Option<Instant>,
    /// When bounds were warned about last, and how often each had been reached.
    warned: Option<(Instant, Vec<(&'static str, u64)>)>,
}

impl RunningTask {
    pub(crate) fn new(context: &WorkerContext, task: Box<dyn Task>, number: u64) -> Self {
        let source = task.source();
        let progress = Progress::new(source.topic_partition(), task.settled());
        // At once: the next restore counts it.
        *progress.sizes.lock() = task.sizes();
        let desk = desk_of(source.topic).name;
        // Partitions take turns: two large snapshots at once would keep more processors from everything else.
        let partitions = u32::from(context.meta.partitions.of(source.topic).max(1));
        let early = context.snapshot_policy.interval * u32::from(source.partition) / partitions;
        let now = Instant::now();
        Self {
            task,
            progress,
            number,
            answers: Vec::new(),
            seconds: context.metrics.seconds.with_label_values(&[desk]),
            frames: context.metrics.frames.with_label_values(&[desk]),
            last_snapshot: now.checked_sub(early).unwrap_or(now),
            is_wanted: false,
            is_put_off: false,
            last_sizes: None,
            warned: None,
        }
    }

    /// Takes a record and returns the bytes of its answers.
    pub(crate) fn take(
        &mut self,
        context: &WorkerContext,
        library: &Library,
        record: Record<'_>,
    ) -> Result<usize, TaskError> {
        let timer = self.seconds.start_timer();
        let had = self.answers.len();
        let offset = record.offset;
        // An earlier offset is the record before the snapshot, which is only compared.
        let is_next = offset == self.task.next_offset();
        let admission = if is_next && context.is_set_aside(self.task.source().topic_partition(), offset) {
            self.is_wanted = true;
            self.task.set_aside(record, PANICS, &mut self.answers)?
        } else {
            self.task.take(record, library, &mut self.answers)?
        };
        timer.observe_duration();
        self.frames.inc();
        if admission == Admission::Reject {
            context.metrics.rejected.inc();
            warn!(
                partition = self.progress.partition,
                offset, "a record of scans cannot be applied; it is set aside in rejects, and nothing else is lost"
            );
        }
        Ok(self.answers[had..].iter().map(|answer| answer.record.len()).sum())
    }

    /// Takes the answers that wait for the log.
    pub(crate) fn drain(&mut self) -> Vec<Append> {
        std::mem::take(&mut self.answers)
    }

    pub(crate) fn publish(&self) {
        self.progress.settled.store(self.task.settled(), Ordering::Release);
        self.progress.missing.store(self.task.missing() as u64, Ordering::Release);
    }

    /// Reports what the desk keeps, with a warning once a minute while it reaches bounds.
    fn report_kept(&mut self) {
        let kept = self.task.kept();
        let reached = kept.bounds_reached.clone();
        *self.progress.kept.lock() = kept;
        let grown = |&&(bound, times): &&(&str, u64)| {
            let warned = self.warned.iter().flat_map(|(_, warned)| warned).find(|(name, _)| *name == bound);
            times > warned.map_or(0, |&(_, warned)| warned)
        };
        let grown: Vec<&str> = reached.iter().filter(grown).map(|&(bound, _)| bound).collect();
        if grown.is_empty() || self.warned.as_ref().is_some_and(|(at, _)| at.elapsed() < WARNED_EVERY) {
            return;
        }
        warn!(
            partition = self.progress.partition,
            bounds = grown.join(","),
            "bounds were reached: what goes beyond them is counted in mashang_bounds_reached; \"Bounds\" in docs/operating.md says what is lost"
        );
        self.warned = Some((Instant::now(), reached));
    }

    /// Takes a snapshot if one is due, and hands over the one that may be published, both if the writer has room. A last snapshot
    /// waits for room. Returns whether one was handed over.
    pub(crate) fn snapshots(
        &mut self,
        context: &WorkerContext,
        queue: &SnapshotQueue,
        pace: &mut SnapshotPace,
        is_last: bool,
    ) -> bool {
        if self.last_sizes.is_none_or(|at| at.elapsed() >= SIZES_EVERY) {
            self.last_sizes = Some(Instant::now());
            *self.progress.sizes.lock() = self.task.sizes();
            self.report_kept();
        }
        let now = Instant::now();
        let age = now.saturating_duration_since(self.last_snapshot);
        let is_due = self.is_wanted
            || (pace.is_due(age, context.snapshot_policy.interval, now)
                && self.task.since_snapshot() >= context.snapshot_policy.records)
            || self.task.has_changed_much();
        if is_last {
            // An earlier one first: the last one can only be taken when no other waits.
            self.advance(queue, pace, true);
            if let Some(earlier) = self.task.snapshot() {
                queue.send(earlier, self.progress.clone());
            }
        }
        if is_last || (is_due && queue.has_room() && pace.may_begin(self.task.source().topic_partition())) {
            self.is_put_off = false;
            if self.task.take_snapshot() {
                self.last_snapshot = Instant::now();
                pace.took(self.last_snapshot.saturating_duration_since(now), self.last_snapshot);
                self.is_wanted = false;
            }
        } else if is_due && !std::mem::replace(&mut self.is_put_off, true) {
            debug!(source = %self.task.source(), "a snapshot is put off: earlier ones are not written yet");
        }
        self.advance(queue, pace, is_last);
        if (is_last || queue.has_room())
            && let Some(snapshot) = self.task.snapshot()
        {
            queue.send(snapshot, self.progress.clone());
            return true;
        }
        false
    }

    /// Goes on with a snapshot that is begun, for a short time, or to its end if it is the last. Segments go to the writer as it has
    /// room.
    fn advance(&mut self, queue: &SnapshotQueue, pace: &mut SnapshotPace, is_last: bool) {
        let began = Instant::now();
        loop {
            while (is_last || queue.has_room())
                && let Some(segment) = self.task.segment()
            {
                queue.send_segment(self.task.source(), segment);
            }
            let is_saving = self.task.is_saving(is_last);
            pace.set_saving(self.task.source().topic_partition(), is_saving);
            let has_time = is_last || (began.elapsed() < SAVE_FOR && self.task.segments_ready() == 0);
            if !is_saving || !has_time {
                return;
            }
            self.task.advance_snapshot(SAVE_BYTES);
        }
    }
}
