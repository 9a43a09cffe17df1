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

use domain::frame::{BUNDLE_BYTES_MAX, bundle, may_share_record};
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
    open: BTreeMap<TopicPartition, OpenBundle>,
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
            if !has_bundles || !may_share_record(&answer.record) {
                self.records.push(answer);
                continue;
            }
            let to = TopicPartition::new(answer.topic, answer.partition);
            let open = self.open.entry(to).or_default();
            if open.bytes + answer.record.len() > BUNDLE_BYTES_MAX && !open.frames.is_empty() {
                self.records.push(record(to, std::mem::take(open)));
            }
            open.bytes += answer.record.len();
            open.frames.push(answer.record);
        }
    }

    fn into_records(mut self) -> Vec<Append> {
        let open = std::mem::take(&mut self.open);
        self.records.extend(open.into_iter().map(|(to, open)| record(to, open)));
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

#[cfg(test)]
mod tests {
    use domain::frame::{Frames, Kind, seal};
    use domain::model::address::{AnswerPos, PartitionId, Provenance, Topic};

    use super::*;

    /// An answer of a partition of a topic to an offset, with a body of some bytes.
    fn answer(kind: Kind, from: (Topic, u16), offset: u64, to: (Topic, u16), bytes: usize) -> Append {
        let source = PartitionId { log: 7 + from.0 as u128, topic: from.0, partition: from.1 };
        let tag = Provenance { source, at: AnswerPos { offset, part: 0 }, prev: None, hash: 0 };
        let record = seal(kind, 5, Some(&tag), 1, &vec![0; bytes]);
        Append { topic: to.0, partition: to.1, record }
    }

    /// Partition and offset of what a frame answers.
    type Source = (Topic, u16, u64);

    /// For each record its partition, and the sources of its frames.
    fn shape(records: &[Append]) -> Vec<(Topic, u16, Vec<Source>)> {
        let sources = |record: &Append| {
            let frames = Frames::open(&record.record).expect("frames");
            let tags = frames.map(|frame| frame.tag.expect("a tag"));
            tags.map(|tag| (tag.source.topic, tag.source.partition, tag.at.offset)).collect()
        };
        records.iter().map(|record| (record.topic, record.partition, sources(record))).collect()
    }

    #[test]
    fn answers_of_all_tasks_for_one_partition_share_a_record() {
        let mut bundles = Bundles::default();
        let of_shopper = |partition, offset| {
            let from = (Topic::Scans, partition);
            vec![
                answer(Kind::CodeScans, from, offset, (Topic::Draws, 0), 9),
                answer(Kind::CodeScans, from, offset, (Topic::Draws, 1), 9),
                answer(Kind::Facts, from, offset, (Topic::Facts, 0), 9),
            ]
        };
        bundles.add(of_shopper(3, 10), true);
        bundles.add(of_shopper(5, 20), true);
        bundles.add(vec![answer(Kind::Facts, (Topic::Draws, 1), 30, (Topic::Facts, 0), 9)], true);
        let reject = answer(Kind::Reject, (Topic::Scans, 3), 11, (Topic::Rejects, 0), 9);
        bundles.add(vec![reject.clone(), reject.clone()], true);
        let mut records = bundles.into_records();
        let rejects: Vec<Append> = records.extract_if(.., |record| record.topic == Topic::Rejects).collect();
        assert_eq!(rejects, [reject.clone(), reject], "each is a record of its own");
        let scans = [(Topic::Scans, 3, 10), (Topic::Scans, 5, 20)];
        assert_eq!(
            shape(&records),
            [
                (Topic::Draws, 0, scans.to_vec()),
                (Topic::Draws, 1, scans.to_vec()),
                (Topic::Facts, 0, [&scans[..], &[(Topic::Draws, 1, 30)]].concat()),
            ]
        );
    }

    #[test]
    fn bundle_has_a_maximum_and_keeps_the_order() {
        let mut bundles = Bundles::default();
        let sizes = [BUNDLE_BYTES_MAX / 2, BUNDLE_BYTES_MAX / 2, 9, BUNDLE_BYTES_MAX * 2, 9, 9];
        let answers = (0..)
            .zip(sizes)
            .map(|(offset, bytes)| answer(Kind::Facts, (Topic::Scans, 0), offset, (Topic::Facts, 0), bytes));
        bundles.add(answers.collect(), true);
        let offsets: Vec<Vec<u64>> = shape(&bundles.into_records())
            .into_iter()
            .map(|(.., frames)| frames.into_iter().map(|(.., offset)| offset).collect())
            .collect();
        assert_eq!(offsets, [vec![0], vec![1, 2], vec![3], vec![4, 5]]);
    }

    #[test]
    fn earlier_behaviour_has_a_record_for_each_frame() {
        let mut bundles = Bundles::default();
        let answers: Vec<Append> =
            (0..3).map(|offset| answer(Kind::Facts, (Topic::Scans, 0), offset, (Topic::Facts, 0), 9)).collect();
        bundles.add(answers.clone(), false);
        assert_eq!(bundles.into_records(), answers);
    }

    #[derive(Debug)]
    struct NoLog;

    impl Appender for NoLog {
        fn append(&self, _: Vec<Append>, _: OnFull, _: eventlog::api::Done) {}

        fn health(&self) -> eventlog::api::Health {
            eventlog::api::Health::Good
        }

        fn close(&self) {}
    }

    #[test]
    fn only_a_lane_that_answers_much_pauses() {
        let longest = Duration::from_millis(10);
        let mut outgoing = Outgoing::new(Arc::new(NoLog), longest);
        let began = Instant::now();
        assert_eq!(outgoing.pace(1 << 30, began), Duration::ZERO, "the first answers wait for nothing");
        outgoing.last = Some((began, Duration::ZERO));
        let after = |ms| began + Duration::from_millis(ms);
        assert_eq!(outgoing.pace(300, after(1000)), Duration::ZERO, "an answer a second");
        assert_eq!(outgoing.pace(10 * 1024, after(10)), longest * 488 / 1000, "1,000 KiB of 2 MiB a second");
        assert_eq!(outgoing.pace(100 * 1024, after(10)), longest);
        assert_eq!(Outgoing::new(Arc::new(NoLog), Duration::ZERO).pace(1 << 30, after(10)), Duration::ZERO);
    }
}
