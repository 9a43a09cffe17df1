//! Frames that wait for the log: in order for each producer; the seed decides the order between producers.

use std::collections::{BTreeMap, VecDeque};

use eventlog::api::Append;

use crate::generate::rng::Rng;

/// Who is notified that a frame is durable.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    /// These attempts of clients.
    Attempts(Vec<u64>),
    /// The task with this producer number.
    Task(u64),
    Untracked,
}

/// A frame in flight.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub append: Append,
    pub owner: Owner,
}

#[derive(Debug, Default)]
pub(crate) struct Queues {
    by_producer: BTreeMap<u64, VecDeque<Item>>,
    next: u64,
}

impl Queues {
    /// A number for a new producer.
    pub(crate) fn producer(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn push(&mut self, producer: u64, item: Item) {
        self.by_producer.entry(producer).or_default().push_back(item);
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_producer.is_empty()
    }

    /// Takes the frames of the next round: a prefix of every producer's queue.
    pub(crate) fn take(&mut self, rng: &mut Rng, most: usize) -> Vec<(u64, Item)> {
        let mut round = Vec::new();
        while round.len() < most && !self.by_producer.is_empty() {
            let at = rng.below(self.by_producer.len());
            let (&producer, queue) = self.by_producer.iter_mut().nth(at).expect("an index below the length");
            let item = queue.pop_front().expect("no queue is empty");
            if queue.is_empty() {
                self.by_producer.remove(&producer);
            }
            round.push((producer, item));
        }
        round
    }

    /// Puts back a round that failed.
    pub(crate) fn give_back(&mut self, round: Vec<(u64, Item)>) {
        for (producer, item) in round.into_iter().rev() {
            self.by_producer.entry(producer).or_default().push_front(item);
        }
    }

    /// Keeps the first `kept` frames of a producer; the others are lost.
    pub(crate) fn truncate(&mut self, producer: u64, kept: usize) {
        if let Some(queue) = self.by_producer.get_mut(&producer) {
            queue.truncate(kept);
        }
        self.by_producer.retain(|_, queue| !queue.is_empty());
    }

    /// Loses one frame of a producer, but not those after it; returns whether there was one.
    pub(crate) fn lose(&mut self, producer: u64, rng: &mut Rng) -> bool {
        let Some(queue) = self.by_producer.get_mut(&producer) else { return false };
        queue.remove(rng.below(queue.len()));
        self.by_producer.retain(|_, queue| !queue.is_empty());
        true
    }

    /// All frames in flight, in order for each producer.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Append> {
        self.by_producer.values().flatten().map(|item| &item.append)
    }

    #[must_use]
    pub(crate) fn waiting(&self, producer: u64) -> usize {
        self.by_producer.get(&producer).map_or(0, VecDeque::len)
    }

    /// Loses everything in flight.
    pub(crate) fn clear(&mut self) {
        self.by_producer.clear();
    }
}
