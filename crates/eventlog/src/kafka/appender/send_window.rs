//! What is to be sent to which partition, and what is under way. It decides; it sends and waits for nothing.
//!
//! A partition with nothing under way sends one record alone, until it is acknowledged: only then does the broker surely
//! remember the producer, and a later request cannot be taken for its first one (decision 6).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use domain::model::address::Topic;

use crate::api::Append;
use crate::api::{AppendError, Done, OnFull};
use crate::kafka::appender::budget::QueueBudget;

/// So much of one partition is under way at most.
const UNDER_WAY_MAX: usize = 256;
const UNDER_WAY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What became of a record that was handed over.
#[derive(Debug)]
pub(super) enum Sent<F> {
    Taken,
    /// There is no room now.
    Later,
    /// It is too large, and always will be.
    TooLarge,
    Failed(F),
}

/// What was given and is not acknowledged.
#[derive(Debug)]
pub(super) struct SendWindow {
    /// By age.
    entries: BTreeMap<u64, Entry>,
    queues: BTreeMap<(Topic, u16), Queue>,
    /// Where the records are that are under way, by number.
    under_way: BTreeMap<usize, (Topic, u16)>,
    next_entry: u64,
    next_record: usize,
    /// Whether records are kept until they are acknowledged, to be sent again.
    keeps: bool,
    room: Arc<QueueBudget>,
}

struct Entry {
    /// Records that are not acknowledged.
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
    under_way: VecDeque<Pending>,
    under_way_bytes: usize,
    /// Whether a record was acknowledged since there was last nothing to do.
    is_proven: bool,
}

#[derive(Debug)]
struct Pending {
    number: usize,
    entry: u64,
    since: Instant,
    len: usize,
    record: Vec<u8>,
    /// It, or one that was sent with it, was refused for good: it is sent with no other.
    is_suspect: bool,
}

impl Queue {
    /// Whether the next one may be sent.
    fn is_open(&self) -> bool {
        match (self.waiting.front(), self.under_way.is_empty()) {
            (None, _) => false,
            (Some(_), true) => true,
            (Some(next), false) => {
                let is_alone = !self.is_proven || self.under_way.iter().any(|p| p.is_suspect);
                let is_full =
                    self.under_way.len() >= UNDER_WAY_MAX || self.under_way_bytes + next.len > UNDER_WAY_BYTES_MAX;
                !is_alone && !next.is_suspect && !is_full
            }
        }
    }

    fn oldest(&self) -> Option<Instant> {
        self.under_way.front().or(self.waiting.front()).map(|pending| pending.since)
    }
}

impl SendWindow {
    pub(super) fn new(keeps: bool, room: Arc<QueueBudget>) -> Self {
        let (entries, queues, under_way) = Default::default();
        Self { entries, queues, under_way, next_entry: 0, next_record: 0, keeps, room }
    }

    /// Whether everything that was given is done or refused, and nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.under_way.is_empty()
    }

    /// When the oldest record that is not acknowledged was given.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.queues.values().filter_map(Queue::oldest).min()
    }

    /// Takes records, for which there is room.
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
            self.queues.entry((topic, partition)).or_default().waiting.push_back(pending);
        }
    }

    /// Hands over what may be sent now.
    ///
    /// # Errors
    /// Handing over failed; with the number of the record, if it is too large and records are not kept.
    pub(super) fn send<F>(
        &mut self,
        mut send: impl FnMut(Topic, u16, &[u8], usize) -> Sent<F>,
    ) -> Result<(), Failure<F>> {
        let mut too_large = Vec::new();
        for (&(topic, partition), queue) in &mut self.queues {
            while queue.is_open() {
                let Some(mut next) = queue.waiting.pop_front() else { break };
                match send(topic, partition, &next.record, next.number) {
                    Sent::Taken => {
                        if !self.keeps {
                            next.record = Vec::new();
                        }
                        self.under_way.insert(next.number, (topic, partition));
                        queue.under_way_bytes += next.len;
                        queue.under_way.push_back(next);
                    }
                    Sent::TooLarge if self.keeps => {
                        self.room.give_back(next.len);
                        too_large.push(next.entry);
                    }
                    not_taken => {
                        let bytes = next.len;
                        queue.waiting.push_front(next);
                        match not_taken {
                            Sent::TooLarge => return Err(Failure::TooLarge { topic, partition, bytes }),
                            Sent::Failed(failure) => return Err(Failure::Other(failure)),
                            // Reports will make room.
                            Sent::Taken | Sent::Later => return Ok(()),
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

    /// A record is in the log. Says how many bytes it has and, if it was the last one of an entry, when that was given.
    ///
    /// # Errors
    /// It is not the one that must come next in its partition: an invariant of the client's is broken.
    pub(super) fn delivered(&mut self, number: usize) -> Result<(usize, Option<Instant>), ()> {
        let place = self.under_way.remove(&number).ok_or(())?;
        let queue = self.queues.get_mut(&place).ok_or(())?;
        let pending = queue.under_way.pop_front().ok_or(())?;
        if pending.number != number {
            queue.under_way.push_front(pending);
            return Err(());
        }
        queue.under_way_bytes -= pending.len;
        queue.is_proven = !(queue.waiting.is_empty() && queue.under_way.is_empty());
        self.room.give_back(pending.len);
        let Some(entry) = self.entries.get_mut(&pending.entry) else { return Ok((pending.len, None)) };
        entry.left -= 1;
        if entry.left > 0 {
            return Ok((pending.len, None));
        }
        let Entry { since, done, .. } = self.entries.remove(&pending.entry).expect("it was there");
        done(Ok(()));
        Ok((pending.len, Some(since)))
    }

    /// A record, or the batch that it was sent in, is refused for good. Whoever gave it is told, once it was sent alone.
    pub(super) fn too_large(&mut self, number: usize) {
        let Some(place) = self.under_way.get(&number) else { return };
        let Some(queue) = self.queues.get_mut(place) else { return };
        if let [alone] = queue.under_way.make_contiguous() {
            let entry = alone.entry;
            self.refuse(entry, AppendError::TooLarge);
        } else {
            queue.under_way.iter_mut().for_each(|pending| pending.is_suspect = true);
        }
    }

    /// The client is gone: what was under way is to be sent again, in its order.
    pub(super) fn rewind(&mut self) {
        self.under_way.clear();
        for queue in self.queues.values_mut() {
            queue.is_proven = false;
            queue.under_way_bytes = 0;
            while let Some(pending) = queue.under_way.pop_back() {
                queue.waiting.push_front(pending);
            }
        }
        self.sweep();
    }

    /// Refuses what may be refused and was given before a moment. It may still arrive.
    pub(super) fn expire(&mut self, before: Instant) {
        let is_late = |entry: &Entry| entry.on_full == OnFull::Refuse && entry.since < before;
        let late: Vec<u64> = self.entries.iter().filter(|(_, entry)| is_late(entry)).map(|(&id, _)| id).collect();
        if !late.is_empty() {
            late.into_iter().for_each(|entry| self.refuse(entry, AppendError::Full));
            self.sweep();
        }
    }

    /// Refuses everything.
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

    /// Lets go of records that nobody waits for and that were not sent.
    fn sweep(&mut self) {
        let (entries, room) = (&self.entries, &self.room);
        for queue in self.queues.values_mut() {
            queue.waiting.retain(|pending| {
                let is_wanted = entries.contains_key(&pending.entry);
                if !is_wanted {
                    room.give_back(pending.len);
                }
                is_wanted
            });
        }
    }
}

/// Why sending stops.
#[derive(Debug)]
pub(super) enum Failure<F> {
    TooLarge { topic: Topic, partition: u16, bytes: usize },
    Other(F),
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use prometheus::IntGauge;

    use super::*;

    /// A pump whose records are handed over to a list, and what became of its entries.
    struct World {
        pump: SendWindow,
        room: Arc<QueueBudget>,
        now: Instant,
    }

    type Outcome = Receiver<Result<(), AppendError>>;

    impl World {
        fn new(keeps: bool) -> Self {
            let gauge = IntGauge::new("bytes", "bytes").expect("a gauge");
            let room = Arc::new(QueueBudget::new(1 << 20, gauge));
            Self { pump: SendWindow::new(keeps, Arc::clone(&room)), room, now: Instant::now() }
        }

        /// Gives one entry; its records are one byte each, by partition.
        fn give(&mut self, partitions: &[u16], on_full: OnFull) -> Outcome {
            let (tell, told) = channel();
            let append = |partition: &u16| Append { topic: Topic::Scans, partition: *partition, record: vec![1] };
            self.room.take(partitions.len());
            let done = move |result| tell.send(result).expect("somebody listens");
            self.pump.push(partitions.iter().map(append).collect(), on_full, self.now, Box::new(done));
            told
        }

        /// The numbers of what is sent now.
        fn send(&mut self) -> Vec<usize> {
            let mut sent = Vec::new();
            let result = self.pump.send::<()>(|_, _, record, number| {
                assert_eq!(record, [1], "what is sent again is whole");
                sent.push(number);
                Sent::Taken
            });
            assert!(result.is_ok());
            sent
        }

        fn ack(&mut self, numbers: impl IntoIterator<Item = usize>) {
            numbers.into_iter().for_each(|number| assert!(self.pump.delivered(number).is_ok()));
        }
    }

    #[test]
    fn the_first_one_goes_alone_at_the_start_and_after_every_idle_time() {
        let mut world = World::new(false);
        let _told: Vec<_> = (0..4).map(|_| world.give(&[0], OnFull::Wait)).collect();
        assert_eq!(world.send(), [0]);
        assert_eq!(world.send(), [0; 0]);
        world.ack([0]);
        assert_eq!(world.send(), [1, 2, 3]);
        world.ack([1, 2]);
        let _told = world.give(&[0], OnFull::Wait);
        assert_eq!(world.send(), [4], "something is under way: it was never idle");
        world.ack([3, 4]);
        let _told = [world.give(&[0], OnFull::Wait), world.give(&[0, 1, 1], OnFull::Wait)];
        assert_eq!(world.send(), [5, 7], "each partition for itself");
        world.ack([7, 5]);
        assert_eq!(world.send(), [6, 8]);
    }

    #[test]
    fn an_entry_is_done_once_all_of_it_is_there() {
        let mut world = World::new(false);
        let told = world.give(&[0, 1], OnFull::Wait);
        assert_eq!(world.send(), [0, 1]);
        world.ack([1]);
        assert!(told.try_recv().is_err());
        world.ack([0]);
        assert_eq!(told.try_recv(), Ok(Ok(())));
        assert!(world.pump.is_empty() && world.room.held() == 0);
        assert_eq!(world.give(&[], OnFull::Wait).try_recv(), Ok(Ok(())));
    }

    #[test]
    fn after_a_failure_everything_is_sent_again_in_its_order_and_alone_first() {
        let mut world = World::new(true);
        let told: Vec<_> = (0..5).map(|_| world.give(&[0], OnFull::Refuse)).collect();
        let first = world.send();
        world.ack(first);
        assert_eq!(world.send(), [1, 2, 3, 4]);
        world.ack([1]);
        world.pump.rewind();
        assert_eq!(world.send(), [2]);
        world.ack([2]);
        assert_eq!(world.send(), [3, 4]);
        world.ack([3, 4]);
        assert!(told.iter().all(|told| told.try_recv() == Ok(Ok(()))));
        assert_eq!(world.room.held(), 0);
    }

    #[test]
    fn a_report_out_of_order_is_noticed() {
        let mut world = World::new(true);
        let _told: Vec<_> = (0..3).map(|_| world.give(&[0], OnFull::Refuse)).collect();
        let first = world.send();
        world.ack(first);
        world.send();
        assert_eq!(world.pump.delivered(2), Err(()));
        assert_eq!(world.pump.delivered(9), Err(()));
    }

    #[test]
    fn what_is_late_is_refused_and_only_what_is_under_way_keeps_its_room() {
        let mut world = World::new(true);
        let late = [world.give(&[0, 1], OnFull::Refuse), world.give(&[0], OnFull::Refuse)];
        let waits = world.give(&[0], OnFull::Wait);
        assert_eq!(world.send(), [0, 1]);
        world.now += Duration::from_secs(1);
        let fresh = world.give(&[0], OnFull::Refuse);
        world.pump.expire(world.now);
        assert!(late.iter().all(|told| told.try_recv() == Ok(Err(AppendError::Full))));
        assert!(waits.try_recv().is_err() && fresh.try_recv().is_err());
        assert_eq!(world.room.held(), 2 + 2, "what is under way, and what is still wanted");
        world.ack([0, 1]);
        assert_eq!(world.send(), [3, 4]);
        world.ack([3, 4]);
        assert_eq!((waits.try_recv(), fresh.try_recv()), (Ok(Ok(())), Ok(Ok(()))));
        assert!(world.pump.is_empty() && world.room.held() == 0 && world.pump.oldest().is_none());
    }

    #[test]
    fn of_a_batch_that_is_too_large_only_the_one_to_blame_is_refused() {
        let mut world = World::new(true);
        let told: Vec<_> = (0..4).map(|_| world.give(&[0], OnFull::Refuse)).collect();
        let first = world.send();
        world.ack(first);
        assert_eq!(world.send(), [1, 2, 3]);
        world.pump.too_large(1);
        world.pump.rewind();
        assert_eq!(world.send(), [1]);
        world.ack([1]);
        assert_eq!(world.send(), [2], "one that may be to blame goes with no other");
        world.pump.too_large(2);
        world.pump.rewind();
        assert_eq!(world.send(), [3]);
        world.ack([3]);
        let results: Vec<_> = told.iter().map(|told| told.try_recv().expect("an outcome")).collect();
        assert_eq!(results, [Ok(()), Ok(()), Err(AppendError::TooLarge), Ok(())]);
        assert_eq!(world.room.held(), 0);
    }

    #[test]
    fn what_the_client_finds_too_large_is_refused_or_ends_a_lane() {
        let mut world = World::new(true);
        let told = [world.give(&[0, 1], OnFull::Refuse), world.give(&[0], OnFull::Refuse)];
        let sent = world.pump.send::<()>(|_, _, _, number| if number == 0 { Sent::TooLarge } else { Sent::Taken });
        assert!(sent.is_ok());
        assert_eq!(told[0].try_recv(), Ok(Err(AppendError::TooLarge)));
        world.ack([2, 1]);
        assert_eq!(told[1].try_recv(), Ok(Ok(())));
        assert_eq!(world.room.held(), 0);
        let mut lane = World::new(false);
        let told = lane.give(&[0, 1], OnFull::Wait);
        assert!(matches!(lane.pump.send::<()>(|_, _, _, _| Sent::TooLarge), Err(Failure::TooLarge { bytes: 1, .. })));
        lane.pump.refuse_all(AppendError::Failed);
        assert_eq!(told.try_recv(), Ok(Err(AppendError::Failed)));
        assert_eq!(lane.room.held(), 0);
    }

    #[test]
    fn what_there_is_no_room_for_waits_in_its_place() {
        let mut world = World::new(true);
        let _told: Vec<_> = (0..3).map(|_| world.give(&[0], OnFull::Refuse)).collect();
        let first = world.send();
        world.ack(first);
        assert!(world.pump.send::<()>(|_, _, _, number| if number == 2 { Sent::Later } else { Sent::Taken }).is_ok());
        assert_eq!(world.send(), [2]);
    }
}
