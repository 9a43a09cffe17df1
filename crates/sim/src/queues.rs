//! Frames that wait for the log: in order of each producer, late against each other as the seed says.

use std::collections::{BTreeMap, VecDeque};

use eventlog::api::Append;

use crate::generate::rng::Rng;

/// Who wants to know that a frame is durable.
#[derive(Clone, Debug)]
pub enum Owner {
    /// These attempts of clients.
    Attempts(Vec<u64>),
    /// The task of this incarnation.
    DeskTask(u64),
    None,
}

/// A frame on its way.
#[derive(Clone, Debug)]
pub struct Item {
    pub append: Append,
    pub owner: Owner,
}

#[derive(Debug, Default)]
pub struct Queues {
    by_producer: BTreeMap<u64, VecDeque<Item>>,
    next: u64,
}

impl Queues {
    /// A number for a new producer.
    pub fn producer(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn push(&mut self, producer: u64, item: Item) {
        self.by_producer.entry(producer).or_default().push_back(item);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_producer.is_empty()
    }

    /// What goes into the next round: of every producer a prefix.
    pub fn take(&mut self, rng: &mut Rng, most: usize) -> Vec<(u64, Item)> {
        let mut round = Vec::new();
        while round.len() < most && !self.by_producer.is_empty() {
            let at = rng.below(self.by_producer.len());
            let (&producer, queue) = self.by_producer.iter_mut().nth(at).expect("the index is below their number");
            let item = queue.pop_front().expect("no queue is empty");
            if queue.is_empty() {
                self.by_producer.remove(&producer);
            }
            round.push((producer, item));
        }
        round
    }

    /// A round that came to nothing is still to be done.
    pub fn give_back(&mut self, round: Vec<(u64, Item)>) {
        for (producer, item) in round.into_iter().rev() {
            self.by_producer.entry(producer).or_default().push_front(item);
        }
    }

    /// Of what a producer sent only the first ones arrive.
    pub fn truncate(&mut self, producer: u64, kept: usize) {
        if let Some(queue) = self.by_producer.get_mut(&producer) {
            queue.truncate(kept);
        }
        self.by_producer.retain(|_, queue| !queue.is_empty());
    }

    /// One of what a producer sent gets lost, and the ones behind it do not; says whether there was one.
    pub fn lose(&mut self, producer: u64, rng: &mut Rng) -> bool {
        let Some(queue) = self.by_producer.get_mut(&producer) else { return false };
        queue.remove(rng.below(queue.len()));
        self.by_producer.retain(|_, queue| !queue.is_empty());
        true
    }

    #[must_use]
    pub fn waiting(&self, producer: u64) -> usize {
        self.by_producer.get(&producer).map_or(0, VecDeque::len)
    }

    /// Nothing that is on its way arrives.
    pub fn clear(&mut self) {
        self.by_producer.clear();
    }
}
