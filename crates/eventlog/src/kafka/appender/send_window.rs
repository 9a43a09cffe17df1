//! Decides which records are sent next and tracks those in flight. It does no I/O and never waits.
//!
//! A partition with nothing in flight sends one record alone, until it is acknowledged. Only then does the broker certainly
//! remember the producer, so that it cannot mistake a later request for the producer's first one (decision 6).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use domain::model::address::TopicPartition;

use crate::api::{Append, AppendError, Done, OnFull};
use crate::queue_budget::QueueBudget;

/// Maximum number of records in flight to one partition; further records wait.
const IN_FLIGHT_MAX: usize = 256;
/// Maximum size of the records in flight to one partition, bytes; further records wait.
const IN_FLIGHT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The client's answer to a record that was handed to it.
#[derive(Debug)]
pub(super) enum Sent<F> {
    Taken,
    /// The client's queue is full now.
    QueueFull,
    /// The record is too large, so that a retry cannot help.
    TooLarge,
    Failed(F),
}

/// The appends that are not acknowledged yet.
#[derive(Debug)]
pub(super) struct SendWindow {
    /// Appends, the oldest first.
    entries: BTreeMap<u64, Entry>,
    queues: BTreeMap<TopicPartition, Queue>,
    /// The partitions of the records in flight, by record number.
    in_flight: BTreeMap<usize, TopicPartition>,
    next_entry: u64,
    next_record: usize,
    /// Whether records are kept until they are acknowledged, so that they can be sent again.
    keeps_records: bool,
    budget: Arc<QueueBudget>,
}

struct Entry {
    /// The number of records that are not acknowledged.
    left: usize,
    on_full: OnFull,
    since: Instant,
    done: Done,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("left", &self.left).field("on_full", &self.on_full).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Pending>,
    in_flight: VecDeque<Pending>,
    in_flight_bytes: usize,
    /// Whether a record was acknowledged since the partition was last idle.
    is_proven: bool,
}

#[derive(Debug)]
struct Pending {
    number: usize,
    entry: u64,
    since: Instant,
    len: usize,
    record: Vec<u8>,
    /// Whether this record, or one in its batch, was refused as too large; it is then sent alone.
    is_suspect: bool,
}

impl Queue {
    /// Whether the next record may be sent.
    fn is_open(&self) -> bool {
        match (self.waiting.front(), self.in_flight.is_empty()) {
            (None, _) => false,
            (Some(_), true) => true,
            (Some(next), false) => {
                let is_alone = !self.is_proven || self.in_flight.iter().any(|p| p.is_suspect);
                let is_full =
                    self.in_flight.len() >= IN_FLIGHT_MAX || self.in_flight_bytes + next.len > IN_FLIGHT_BYTES_MAX;
                !is_alone && !next.is_suspect && !is_full
            }
        }
    }

    fn oldest(&self) -> Option<Instant> {
        self.in_flight.front().or(self.waiting.front()).map(|pending| pending.since)
    }
}

impl SendWindow {
    pub(super) fn new(keeps_records: bool, budget: Arc<QueueBudget>) -> Self {
        let (entries, queues, in_flight) = Default::default();
        Self { entries, queues, in_flight, next_entry: 0, next_record: 0, keeps_records, budget }
    }

    /// Whether all appends are done or refused, and no record is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.in_flight.is_empty()
    }

    /// The time at which the oldest record without an acknowledgement was submitted.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.queues.values().filter_map(Queue::oldest).min()
    }

    /// Adds an append whose bytes are reserved.
    pub(super) fn push(&mut self, records: Vec<Append>, on_full: OnFull, since: Instant, done: Done) {
        if records.is_empty() {
            return done(Ok(()));
        }
        let entry = self.next_entry;
        self.next_entry += 1;
        self.entries.insert(entry, Entry { left: records.len(), on_full, since, done });
        for Append { topic, partition, record } in records {
            let number = self.next_record;
            self.next_record += 1;
            let pending = Pending { number, entry, since, len: record.len(), record, is_suspect: false };
            self.queues.entry(TopicPartition::new(topic, partition)).or_default().waiting.push_back(pending);
        }
    }

    /// Hands every record to the client that may be sent now.
    ///
    /// # Errors
    /// The client failed, or a record is too large and records are not kept.
    pub(super) fn send<F>(
        &mut self,
        mut send: impl FnMut(TopicPartition, &[u8], usize) -> Sent<F>,
    ) -> Result<(), Failure<F>> {
        let mut too_large = Vec::new();
        for (&partition, queue) in &mut self.queues {
            while queue.is_open() {
                let Some(mut next) = queue.waiting.pop_front() else { break };
                match send(partition, &next.record, next.number) {
                    Sent::Taken => {
                        if !self.keeps_records {
                            next.record = Vec::new();
                        }
                        self.in_flight.insert(next.number, partition);
                        queue.in_flight_bytes += next.len;
                        queue.in_flight.push_back(next);
                    }
                    Sent::TooLarge if self.keeps_records => {
                        self.budget.release(next.len);
                        too_large.push(next.entry);
                    }
                    not_taken => {
                        let bytes = next.len;
                        queue.waiting.push_front(next);
                        match not_taken {
                            Sent::TooLarge => return Err(Failure::TooLarge { partition, bytes }),
                            Sent::Failed(failure) => return Err(Failure::Other(failure)),
                            // Sending goes on once reports have freed the client's queue.
                            Sent::Taken | Sent::QueueFull => return Ok(()),
                        }
                    }
                }
            }
        }
        if !too_large.is_empty() {
            too_large.into_iter().for_each(|entry| self.refuse(entry, AppendError::TooLarge));
            self.sweep();
        }
        Ok(())
    }

    /// Notes that the log holds a record. Returns the record's size and, if the record completes its append, the time at which that
    /// was submitted.
    ///
    /// # Errors
    /// Another record is next in this partition: the client has broken the order of its reports.
    pub(super) fn delivered(&mut self, number: usize) -> Result<(usize, Option<Instant>), ()> {
        let partition = self.in_flight.remove(&number).ok_or(())?;
        let queue = self.queues.get_mut(&partition).ok_or(())?;
        let pending = queue.in_flight.pop_front().ok_or(())?;
        if pending.number != number {
            queue.in_flight.push_front(pending);
            return Err(());
        }
        queue.in_flight_bytes -= pending.len;
        queue.is_proven = !(queue.waiting.is_empty() && queue.in_flight.is_empty());
        self.budget.release(pending.len);
        let Some(entry) = self.entries.get_mut(&pending.entry) else { return Ok((pending.len, None)) };
        entry.left -= 1;
        if entry.left > 0 {
            return Ok((pending.len, None));
        }
        let Entry { since, done, .. } = self.entries.remove(&pending.entry).expect("the entry was found above");
        done(Ok(()));
        Ok((pending.len, Some(since)))
    }

    /// Notes that Kafka refuses a record, or its whole batch, as too large. The append is refused once the record was sent alone.
    pub(super) fn too_large(&mut self, number: usize) {
        let Some(partition) = self.in_flight.get(&number) else { return };
        let Some(queue) = self.queues.get_mut(partition) else { return };
        if let [alone] = queue.in_flight.make_contiguous() {
            let entry = alone.entry;
            self.refuse(entry, AppendError::TooLarge);
        } else {
            queue.in_flight.iter_mut().for_each(|pending| pending.is_suspect = true);
        }
    }

    /// Moves the records in flight back to their queues, in order, after the producer has failed.
    pub(super) fn rewind(&mut self) {
        self.in_flight.clear();
        for queue in self.queues.values_mut() {
            queue.is_proven = false;
            queue.in_flight_bytes = 0;
            while let Some(pending) = queue.in_flight.pop_back() {
                queue.waiting.push_front(pending);
            }
        }
        self.sweep();
    }

    /// Refuses appends with `OnFull::Refuse` that were submitted before a time. Their records may still reach the log.
    pub(super) fn expire(&mut self, before: Instant) {
        let is_late = |entry: &Entry| entry.on_full == OnFull::Refuse && entry.since < before;
        let late: Vec<u64> = self.entries.iter().filter(|(_, entry)| is_late(entry)).map(|(&id, _)| id).collect();
        if !late.is_empty() {
            late.into_iter().for_each(|entry| self.refuse(entry, AppendError::Full));
            self.sweep();
        }
    }

    /// Refuses all appends.
    pub(super) fn refuse_all(&mut self, refused: AppendError) {
        for (_, entry) in std::mem::take(&mut self.entries) {
            (entry.done)(Err(refused));
        }
        self.rewind();
    }

    fn refuse(&mut self, entry: u64, refused: AppendError) {
        if let Some(entry) = self.entries.remove(&entry) {
            (entry.done)(Err(refused));
        }
    }

    /// Drops records of refused appends that are not in flight.
    fn sweep(&mut self) {
        let (entries, budget) = (&self.entries, &self.budget);
        for queue in self.queues.values_mut() {
            queue.waiting.retain(|pending| {
                let is_wanted = entries.contains_key(&pending.entry);
                if !is_wanted {
                    budget.release(pending.len);
                }
                is_wanted
            });
        }
    }
}

/// Why sending stops.
#[derive(Debug)]
pub(super) enum Failure<F> {
    TooLarge { partition: TopicPartition, bytes: usize },
    Other(F),
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use domain::model::address::Topic;
    use prometheus::IntGauge;

    use super::*;

    /// A send window whose records go to a list.
    struct TestWindow {
        window: SendWindow,
        budget: Arc<QueueBudget>,
        now: Instant,
    }

    type Outcome = Receiver<Result<(), AppendError>>;

    impl TestWindow {
        fn new(keeps_records: bool) -> Self {
            let gauge = IntGauge::new("bytes", "bytes").expect("a gauge");
            let budget = Arc::new(QueueBudget::new(1 << 20, gauge));
            Self { window: SendWindow::new(keeps_records, Arc::clone(&budget)), budget, now: Instant::now() }
        }

        /// Submits one append with a record of one byte for each partition.
        fn give(&mut self, partitions: &[u16], on_full: OnFull) -> Outcome {
            let (result_tx, result_rx) = channel();
            let append = |partition: &u16| Append { topic: Topic::Scans, partition: *partition, record: vec![1] };
            self.budget.reserve(partitions.len());
            let done = move |result| result_tx.send(result).expect("the test holds the receiver");
            self.window.push(partitions.iter().map(append).collect(), on_full, self.now, Box::new(done));
            result_rx
        }

        /// Sends what may be sent now; returns the numbers of the records.
        fn send(&mut self) -> Vec<usize> {
            let mut sent = Vec::new();
            let result = self.window.send::<()>(|_, record, number| {
                assert_eq!(record, [1], "a record that is sent again is whole");
                sent.push(number);
                Sent::Taken
            });
            assert!(result.is_ok());
            sent
        }

        fn ack(&mut self, numbers: impl IntoIterator<Item = usize>) {
            numbers.into_iter().for_each(|number| assert!(self.window.delivered(number).is_ok()));
        }
    }

    #[test]
    fn first_record_is_sent_alone_after_every_idle_time() {
        let mut world = TestWindow::new(false);
        let _result_rx: Vec<_> = (0..4).map(|_| world.give(&[0], OnFull::Wait)).collect();
        assert_eq!(world.send(), [0]);
        assert_eq!(world.send(), [0; 0]);
        world.ack([0]);
        assert_eq!(world.send(), [1, 2, 3]);
        world.ack([1, 2]);
        let _result_rx = world.give(&[0], OnFull::Wait);
        assert_eq!(world.send(), [4], "records are in flight: the partition was never idle");
        world.ack([3, 4]);
        let _result_rx = [world.give(&[0], OnFull::Wait), world.give(&[0, 1, 1], OnFull::Wait)];
        assert_eq!(world.send(), [5, 7], "each partition by itself");
        world.ack([7, 5]);
        assert_eq!(world.send(), [6, 8]);
    }

    #[test]
    fn append_is_done_once_all_its_records_are_acknowledged() {
        let mut world = TestWindow::new(false);
        let result_rx = world.give(&[0, 1], OnFull::Wait);
        assert_eq!(world.send(), [0, 1]);
        world.ack([1]);
        assert!(result_rx.try_recv().is_err());
        world.ack([0]);
        assert_eq!(result_rx.try_recv(), Ok(Ok(())));
        assert!(world.window.is_empty() && world.budget.held() == 0);
        assert_eq!(world.give(&[], OnFull::Wait).try_recv(), Ok(Ok(())));
    }

    #[test]
    fn failure_sends_records_again_in_order_first_alone() {
        let mut world = TestWindow::new(true);
        let result_rx: Vec<_> = (0..5).map(|_| world.give(&[0], OnFull::Refuse)).collect();
        let first = world.send();
        world.ack(first);
        assert_eq!(world.send(), [1, 2, 3, 4]);
        world.ack([1]);
        world.window.rewind();
        assert_eq!(world.send(), [2]);
        world.ack([2]);
        assert_eq!(world.send(), [3, 4]);
        world.ack([3, 4]);
        assert!(result_rx.iter().all(|result_rx| result_rx.try_recv() == Ok(Ok(()))));
        assert_eq!(world.budget.held(), 0);
    }

    #[test]
    fn report_out_of_order_is_an_error() {
        let mut world = TestWindow::new(true);
        let _result_rx: Vec<_> = (0..3).map(|_| world.give(&[0], OnFull::Refuse)).collect();
        let first = world.send();
        world.ack(first);
        world.send();
        assert_eq!(world.window.delivered(2), Err(()));
        assert_eq!(world.window.delivered(9), Err(()));
    }

    #[test]
    fn late_append_is_refused_and_releases_unsent_bytes() {
        let mut world = TestWindow::new(true);
        let late = [world.give(&[0, 1], OnFull::Refuse), world.give(&[0], OnFull::Refuse)];
        let waits = world.give(&[0], OnFull::Wait);
        assert_eq!(world.send(), [0, 1]);
        world.now += Duration::from_secs(1);
        let fresh = world.give(&[0], OnFull::Refuse);
        world.window.expire(world.now);
        assert!(late.iter().all(|result_rx| result_rx.try_recv() == Ok(Err(AppendError::Full))));
        assert!(waits.try_recv().is_err() && fresh.try_recv().is_err());
        assert_eq!(world.budget.held(), 2 + 2, "the records in flight, and those still wanted");
        world.ack([0, 1]);
        assert_eq!(world.send(), [3, 4]);
        world.ack([3, 4]);
        assert_eq!((waits.try_recv(), fresh.try_recv()), (Ok(Ok(())), Ok(Ok(()))));
        assert!(world.window.is_empty() && world.budget.held() == 0 && world.window.oldest().is_none());
    }

    #[test]
    fn batch_too_large_refuses_only_the_record_to_blame() {
        let mut world = TestWindow::new(true);
        let result_rx: Vec<_> = (0..4).map(|_| world.give(&[0], OnFull::Refuse)).collect();
        let first = world.send();
        world.ack(first);
        assert_eq!(world.send(), [1, 2, 3]);
        world.window.too_large(1);
        world.window.rewind();
        assert_eq!(world.send(), [1]);
        world.ack([1]);
        assert_eq!(world.send(), [2], "a suspect record is sent alone");
        world.window.too_large(2);
        world.window.rewind();
        assert_eq!(world.send(), [3]);
        world.ack([3]);
        let results: Vec<_> = result_rx.iter().map(|result_rx| result_rx.try_recv().expect("an outcome")).collect();
        assert_eq!(results, [Ok(()), Ok(()), Err(AppendError::TooLarge), Ok(())]);
        assert_eq!(world.budget.held(), 0);
    }

    #[test]
    fn record_too_large_is_refused_or_ends_a_lane() {
        let mut world = TestWindow::new(true);
        let result_rx = [world.give(&[0, 1], OnFull::Refuse), world.give(&[0], OnFull::Refuse)];
        let sent = world.window.send::<()>(|_, _, number| if number == 0 { Sent::TooLarge } else { Sent::Taken });
        assert!(sent.is_ok());
        assert_eq!(result_rx[0].try_recv(), Ok(Err(AppendError::TooLarge)));
        world.ack([2, 1]);
        assert_eq!(result_rx[1].try_recv(), Ok(Ok(())));
        assert_eq!(world.budget.held(), 0);
        let mut lane = TestWindow::new(false);
        let result_rx = lane.give(&[0, 1], OnFull::Wait);
        assert!(matches!(lane.window.send::<()>(|_, _, _| Sent::TooLarge), Err(Failure::TooLarge { bytes: 1, .. })));
        lane.window.refuse_all(AppendError::Failed);
        assert_eq!(result_rx.try_recv(), Ok(Err(AppendError::Failed)));
        assert_eq!(lane.budget.held(), 0);
    }

    #[test]
    fn full_client_queue_keeps_the_order() {
        let mut world = TestWindow::new(true);
        let _result_rx: Vec<_> = (0..3).map(|_| world.give(&[0], OnFull::Refuse)).collect();
        let first = world.send();
        world.ack(first);
        assert!(
            world.window.send::<()>(|_, _, number| if number == 2 { Sent::QueueFull } else { Sent::Taken }).is_ok()
        );
        assert_eq!(world.send(), [2]);
    }
}
