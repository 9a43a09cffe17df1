//! Clients: they send events in batches, and retry without an acknowledgement, perhaps through another edge.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use domain::model::time::Millis;
use serde_json::{Value, json};
use wire::event::{Merchants, read};

use crate::generate::rng::Rng;

/// Texts that are not events: an edge refuses them.
const BAD: [&str; 3] = ["no JSON", "{\"id\":\"x\"}", "{\"id\":\"y\",\"action\":\"dance\",\"shopper\":\"u1\"}"];
/// Maximum number of batches in flight; further ones wait.
const OPEN_MAX: usize = 6;

/// One event, or a text that is not an event.
#[derive(Debug)]
pub struct Line {
    /// The line, as it is sent.
    pub text: String,
    /// When it is sent without delays.
    pub at: Millis,
    /// `None` if edges refuse it.
    pub key: Option<u128>,
}

#[derive(Debug)]
struct Batch {
    lines: Range<usize>,
    is_acked: bool,
}

#[derive(Debug)]
struct Attempt {
    batch: usize,
    /// Partitions whose frame is not yet durable.
    waits: BTreeSet<u16>,
}

/// Clients that send events until each is accepted or refused.
#[derive(Debug, Default)]
pub struct Clients {
    lines: Vec<Line>,
    batches: Vec<Batch>,
    /// The first batch that was never sent.
    next: usize,
    attempts: BTreeMap<u64, Attempt>,
    begun: u64,
}

impl Clients {
    /// Clients with a case's events, in its order.
    ///
    /// # Panics
    /// If a line of a case is not an event.
    #[must_use]
    pub fn new(case: &[String], merchants: &Merchants, rng: &mut Rng) -> Self {
        let mut clients = Self::default();
        let mut at = 0;
        for text in case {
            let arena = bumpalo::Bump::new();
            let accepted = read(text.as_bytes(), merchants, &arena).expect("the generator makes acceptable events");
            at = accepted.received.or(accepted.event.time).unwrap_or(0).max(at);
            let mut object: Value = serde_json::from_str(text).expect("JSON");
            object.as_object_mut().expect("an object").remove("received");
            clients.lines.push(Line { text: object.to_string(), at, key: Some(accepted.event.key) });
            if rng.percent(3) {
                clients.lines.push(Line { text: (*rng.pick(&BAD)).to_owned(), at, key: None });
            }
        }
        let mut from = 0;
        while from < clients.lines.len() {
            let to = (from + 1 + rng.below(6)).min(clients.lines.len());
            clients.batches.push(Batch { lines: from..to, is_acked: false });
            from = to;
        }
        clients
    }

    /// All lines, in the order of their first sending.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The lines of a batch.
    #[must_use]
    pub fn batch(&self, batch: usize) -> &[Line] {
        &self.lines[self.batches[batch].lines.clone()]
    }

    /// The next batch, unless too many are in flight.
    pub fn unsent(&mut self) -> Option<usize> {
        let open = self.batches[..self.next].iter().filter(|b| !b.is_acked).count();
        (open < OPEN_MAX && self.next < self.batches.len()).then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    /// Batches that were sent and are not acknowledged.
    #[must_use]
    pub fn open(&self) -> Vec<usize> {
        (0..self.next).filter(|&b| !self.batches[b].is_acked).collect()
    }

    /// Whether every event is accepted or refused.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.next == self.batches.len() && self.batches.iter().all(|b| b.is_acked)
    }

    #[must_use]
    pub(crate) fn are_half_sent(&self) -> bool {
        2 * self.next >= self.batches.len()
    }

    /// All batches that were sent.
    #[must_use]
    pub fn sent(&self) -> Range<usize> {
        0..self.next
    }

    /// Sends everything again: the log that acknowledged it no longer exists.
    pub(crate) fn begin_again(&mut self) {
        self.attempts.clear();
        self.batches.iter_mut().for_each(|batch| batch.is_acked = false);
        self.next = 0;
    }

    /// Starts an attempt to send a batch; returns the attempt's number.
    pub fn begin(&mut self, batch: usize) -> u64 {
        self.begun += 1;
        self.attempts.insert(self.begun, Attempt { batch, waits: BTreeSet::new() });
        self.begun
    }

    /// Acknowledges the attempt once these partitions have its events; immediately if there are none.
    pub fn wait(&mut self, attempt: u64, partitions: BTreeSet<u16>) {
        let Some(found) = self.attempts.get_mut(&attempt) else { return };
        found.waits = partitions;
        self.settle(attempt);
    }

    /// A partition has all of an attempt's events.
    pub fn durable(&mut self, attempt: u64, partition: u16) {
        if let Some(found) = self.attempts.get_mut(&attempt) {
            found.waits.remove(&partition);
            self.settle(attempt);
        }
    }

    fn settle(&mut self, attempt: u64) {
        if self.attempts[&attempt].waits.is_empty() {
            let Attempt { batch, .. } = self.attempts.remove(&attempt).expect("it is there");
            self.batches[batch].is_acked = true;
        }
    }

    /// Drops the answer to one attempt, or to all.
    pub fn forget(&mut self, attempt: Option<u64>) {
        self.attempts.retain(|&a, _| attempt.is_some_and(|lost| a != lost));
    }

    /// Keys of acknowledged events.
    pub(crate) fn acked(&self) -> impl Iterator<Item = u128> {
        let batches = self.batches.iter().filter(|b| b.is_acked);
        batches.flat_map(|b| self.lines[b.lines.clone()].iter().filter_map(|l| l.key))
    }

    /// An event as it was sent, as a line of a log dump.
    ///
    /// # Panics
    /// If the line is not an event.
    #[must_use]
    pub(crate) fn dumped(&self, line: usize, received: Millis, partition: u16, offset: u64) -> String {
        let mut object: Value = serde_json::from_str(&self.lines[line].text).expect("JSON");
        object["received"] = json!(received);
        object["partition"] = json!(partition);
        object["offset"] = json!(offset);
        object.to_string()
    }
}
