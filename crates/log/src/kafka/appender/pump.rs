//! What is to be sent to which partition, and what is under way. It decides; it sends and waits for nothing.
//!
//! A partition with nothing under way sends one record alone, until it is acknowledged: only then does the broker surely
//! remember the producer, and a later request cannot be taken for its first one (decision 6).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use domain::model::place::Topic;

use crate::kafka::appender::room::Room;
use crate::local::{Done, OnFull, Refused};
use crate::store::Append;

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
pub(super) struct Pump {
    /// By age.
    entries: BTreeMap<u64, Entry>,
    queues: BTreeMap<(Topic, u16), Queue>,
    /// Where the records are that are under way, by number.
    under_way: BTreeMap<usize, (Topic, u16)>,
    next_entry: u64,
    next_record: usize,
    /// Whether records are kept until they are acknowledged, to be sent again.
    keeps: bool,
    room: Arc<Room>,
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

impl Pump {
    pub(super) fn new(keeps: bool, room: Arc<Room>) -> Self {
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
                    Sent::TooLarge => return Err(Failure::TooLarge { topic, partition, bytes: next.len }),
                    not_taken => {
                        queue.waiting.push_front(next);
                        match not_taken {
                            Sent::Failed(failure) => return Err(Failure::Other(failure)),
                            // Deliveries will make room.
                            _ => return Ok(()),
                        }
                    }
                }
            }
        }
        if !too_large.is_empty() {
            too_large.into_iter().for_each(|entry| self.refuse(entry, Refused::TooLarge));
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
            self.refuse(entry, Refused::TooLarge);
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
            late.into_iter().for_each(|entry| self.refuse(entry, Refused::Full));
            self.sweep();
        }
    }

    /// Refuses everything.
    pub(super) fn refuse_all(&mut self, refused: Refused) {
        for (_, entry) in std::mem::take(&mut self.entries) {
            (entry.done)(Err(refused));
        }
        self.rewind();
    }

    fn refuse(&mut self, entry: u64, refused: Refused) {
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
