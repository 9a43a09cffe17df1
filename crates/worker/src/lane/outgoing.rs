//! A lane's answers on their way to the log: gathered, put into bundles, appended, acknowledged.
//!
//! A record costs the log and its readers as much as some dozens of events, and a turn of a lane, cold caches included, as much as some
//! more. So a lane that has much to answer takes a turn only every few milliseconds: what came meanwhile is answered together, and
//! answers for one partition share records. The pause grows with the bytes that the lane answers a second; a quiet lane has none.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use domain::frame::{BUNDLE_BYTES_MAX, BundleKey, bundle};
use domain::model::address::TopicPartition;
use eventlog::api::{Append, AppendError, Appender, OnFull};

use crate::lane::running_task::RunningTask;

/// Maximum number of a lane's appends in flight; further answers wait in their tasks, and the lane does not read.
const APPENDS_MAX: usize = 1024;
/// Size of the answers from which on they do not gather any longer, bytes.
const GATHERED_BYTES: usize = 1024 * 1024;
/// Bytes of answers a second at which a lane has its longest pause.
const BUSY_BYTES: u128 = 2 * 1024 * 1024;

/// Appends of a lane.
pub(super) struct Outgoing {
    appender: Arc<dyn Appender>,
    /// The longest time between two appends, unless answers are large.
    gather: Duration,
    /// When the last append began, and the least time until the next.
    last: Option<(Instant, Duration)>,
    ack_rx: Receiver<Ack>,
    ack_tx: SyncSender<Ack>,
    /// The number of appends whose acknowledgement is not handled yet; [`APPENDS_MAX`] at most, which is the channel's capacity.
    in_flight: usize,
    /// Size of the answers that wait, bytes.
    waiting: usize,
}

/// Answers of some tasks are durable, or refused.
pub(super) struct Ack {
    pub(super) answers: Vec<AnswersOfTask>,
    pub(super) result: Result<(), AppendError>,
}

/// Answers of one task, by their numbers.
pub(super) struct AnswersOfTask {
    pub(super) partition: TopicPartition,
    /// The task's number in its lane.
    pub(super) task: u64,
    pub(super) numbers: Range<u64>,
}

impl Outgoing {
    pub(super) fn new(appender: Arc<dyn Appender>, gather: Duration) -> Self {
        let (ack_tx, ack_rx) = sync_channel(APPENDS_MAX);
        Self { appender, gather, ack_rx, ack_tx, in_flight: 0, last: None, waiting: 0 }
    }

    /// Whether no further append may be in flight.
    pub(super) fn is_full(&self) -> bool {
        self.in_flight >= APPENDS_MAX
    }

    /// Notes that a task has new answers of this size.
    pub(super) fn add(&mut self, bytes: usize) {
        self.waiting += bytes;
    }

    /// Whether the answers that wait are to be appended now.
    pub(super) fn is_due(&self) -> bool {
        self.waiting > 0 && (self.waiting >= GATHERED_BYTES || self.pause().is_zero())
    }

    /// The time for which the lane does nothing, so that more gathers.
    pub(super) fn pause(&self) -> Duration {
        self.last.map_or(Duration::ZERO, |(at, least)| least.saturating_sub(at.elapsed()))
    }

    /// The least time until the next append, from the bytes of this one and the time since the last one.
    fn pace(&self, bytes: usize, now: Instant) -> Duration {
        let Some((at, _)) = self.last else { return Duration::ZERO };
        let a_second = bytes as u128 * 1_000_000 / now.duration_since(at).as_micros().max(1);
        let share = u32::try_from(a_second.min(BUSY_BYTES) * 1000 / BUSY_BYTES).unwrap_or(1000);
        self.gather * share / 1000
    }

    /// Appends the answers of these tasks, unless too many appends are in flight.
    pub(super) fn append(&mut self, tasks: &mut BTreeMap<TopicPartition, RunningTask>) {
        if self.is_full() || self.waiting == 0 {
            return;
        }
        let (now, bytes) = (Instant::now(), std::mem::take(&mut self.waiting));
        self.last = Some((now, self.pace(bytes, now)));
        let (mut answers, mut records) = (Vec::new(), Bundles::default());
        for (&partition, running) in tasks {
            let drained = running.drain();
            if drained.is_empty() {
                continue;
            }
            let end = running.task.handed_out();
            let numbers = end - drained.len() as u64..end;
            answers.push(AnswersOfTask { partition, task: running.number, numbers });
            records.add(drained, running.task.has_bundles());
        }
        if answers.is_empty() {
            return;
        }
        self.in_flight += 1;
        let ack_tx = self.ack_tx.clone();
        let done = move |result| {
            // There is room for each append in flight, so the log's thread never waits for the lane.
            let _ = ack_tx.try_send(Ack { answers, result });
        };
        self.appender.append(records.into_records(), OnFull::Wait, Box::new(done));
    }

    /// The next acknowledgement, if there is one.
    pub(super) fn ack(&mut self) -> Option<Ack> {
        let ack = self.ack_rx.try_recv().ok()?;
        self.in_flight -= 1;
        Some(ack)
    }
}

/// Puts answers into records. Frames of one source for one partition keep their order.
#[derive(Default)]
struct Bundles {
    records: Vec<Append>,
    open: BTreeMap<(TopicPartition, BundleKey), OpenBundle>,
}

/// Frames that will share a record.
#[derive(Default)]
struct OpenBundle {
    frames: Vec<Vec<u8>>,
    bytes: usize,
}

impl Bundles {
    fn add(&mut self, answers: Vec<Append>, has_bundles: bool) {
        for answer in answers {
            let key = if has_bundles { BundleKey::of(&answer.record) } else { None };
            let Some(key) = key else {
                self.records.push(answer);
                continue;
            };
            let to = TopicPartition::new(answer.topic, answer.partition);
            let open = self.open.entry((to, key)).or_default();
            if open.bytes + answer.record.len() > BUNDLE_BYTES_MAX && !open.frames.is_empty() {
                self.records.push(record(to, std::mem::take(open)));
            }
            open.bytes += answer.record.len();
            open.frames.push(answer.record);
        }
    }

    fn into_records(mut self) -> Vec<Append> {
        let open = std::mem::take(&mut self.open);
        self.records.extend(open.into_iter().map(|((to, _), open)| record(to, open)));
        self.records
    }
}

/// One record for a partition: a bundle, or the only frame as it is.
fn record(TopicPartition { topic, partition }: TopicPartition, mut open: OpenBundle) -> Append {
    let record = match &mut open.frames[..] {
        [only] => std::mem::take(only),
        several => bundle(several.iter().map(Vec::as_slice)),
    };
    Append { topic, partition, record }
}
