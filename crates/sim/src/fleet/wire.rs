//! What is on its way to the shared log: of every producer and partition in order, as an idempotent producer sends it; and
//! what is reported to producers of it, which is not always the truth.

use std::collections::{BTreeMap, VecDeque};

use domain::model::time::Millis;

use super::log::{Place, SharedLog};
use crate::generate::rng::Rng;

/// Who wants to know what became of a record.
#[derive(Clone, Debug)]
pub enum Owner {
    /// These attempts of clients.
    Attempts(Vec<u64>),
    /// A task, and the number of its answer.
    Answer(u64, u64),
    Publisher,
    None,
}

/// A record on its way.
#[derive(Clone, Debug)]
pub struct Sent {
    pub place: Place,
    pub record: Vec<u8>,
    pub owner: Owner,
}

/// What is reported to a producer of a record.
#[derive(Debug)]
pub struct Report {
    pub sent: Sent,
    /// None: it failed, or is reported as delivered without an offset. It may be in the log all the same.
    pub offset: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Wire {
    queues: BTreeMap<(u64, Place), VecDeque<Sent>>,
    reports: BTreeMap<u64, VecDeque<Report>>,
    next: u64,
    /// Requests to this partition seldom arrive, while others do.
    pub slow: Option<Place>,
}

impl Wire {
    /// A producer.
    pub fn producer(&mut self) -> u64 {
        self.next += 1;
        self.reports.insert(self.next, VecDeque::new());
        self.next
    }

    /// A record that arrives, and is reported to no process.
    pub fn stray(&mut self, place: Place, record: Vec<u8>) {
        self.next += 1;
        self.send(self.next, Sent { place, record, owner: Owner::None });
    }

    pub fn send(&mut self, producer: u64, sent: Sent) {
        self.queues.entry((producer, sent.place)).or_default().push_back(sent);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.reports.values().all(VecDeque::is_empty)
    }

    fn some(&self, rng: &mut Rng) -> Option<(u64, Place)> {
        let at = rng.below(self.queues.len().max(1));
        self.queues.keys().nth(at).copied()
    }

    fn take(&mut self, from: (u64, Place), most: usize) -> Vec<Sent> {
        let Some(queue) = self.queues.get_mut(&from) else { return Vec::new() };
        let taken = queue.drain(..most.min(queue.len())).collect();
        if queue.is_empty() {
            self.queues.remove(&from);
        }
        taken
    }

    /// Some producer's next request arrives; how many records, and where.
    pub fn deliver(&mut self, rng: &mut Rng, log: &mut SharedLog, now: Millis) -> Option<(Place, usize)> {
        let mut from = self.some(rng)?;
        if self.slow == Some(from.1) && rng.percent(80) {
            from = self.some(rng)?;
        }
        let most = 1 + rng.below(4);
        let taken = self.take(from, most);
        let count = taken.len();
        for sent in taken {
            let offset = log.append(sent.place, sent.record.clone(), now);
            self.tell(from.0, Report { sent, offset: Some(offset) });
        }
        Some((from.1, count))
    }

    /// The first record that some producer has on its way is lost, and those behind it are not; it is reported delivered,
    /// without an offset.
    pub fn lose(&mut self, rng: &mut Rng) -> Option<Place> {
        let from = self.some(rng)?;
        let lost = self.take(from, 1);
        lost.into_iter().for_each(|sent| self.tell(from.0, Report { sent, offset: None }));
        Some(from.1)
    }

    /// A request's answer does not come: some of its records are in the log, and all are reported as failed.
    pub fn doubt(&mut self, rng: &mut Rng, log: &mut SharedLog, now: Millis) -> Option<(Place, usize)> {
        let from = self.some(rng)?;
        let most = 1 + rng.below(4);
        let taken = self.take(from, most);
        let arrive = rng.below(taken.len() + 1);
        for (at, sent) in taken.into_iter().enumerate() {
            if at < arrive {
                log.append(sent.place, sent.record.clone(), now);
            }
            self.tell(from.0, Report { sent, offset: None });
        }
        Some((from.1, arrive))
    }

    fn tell(&mut self, producer: u64, report: Report) {
        if let Some(reports) = self.reports.get_mut(&producer) {
            reports.push_back(report);
        }
    }

    /// What a producer hears next.
    pub fn hear(&mut self, producer: u64) -> Option<Report> {
        self.reports.get_mut(&producer)?.pop_front()
    }

    /// A producer is thrown away. Of its records in flight to each partition the first ones may still arrive, which is
    /// reported to no process. Returns all records without a report, in the order of each partition, for the next sender.
    pub fn end(&mut self, producer: u64, rng: &mut Rng) -> Vec<Sent> {
        let unheard = self.reports.remove(&producer).unwrap_or_default();
        let mut unheard: Vec<Sent> = unheard.into_iter().filter(|r| r.offset.is_none()).map(|r| r.sent).collect();
        let places: Vec<Place> = self.queues.keys().filter(|(p, _)| *p == producer).map(|(_, place)| *place).collect();
        self.next += 1;
        let late = self.next;
        for place in places {
            let queue = self.take((producer, place), usize::MAX);
            let arrive = rng.below(queue.len() + 1);
            for sent in &queue[..arrive] {
                self.send(late, Sent { owner: Owner::None, ..sent.clone() });
            }
            unheard.extend(queue);
        }
        unheard
    }

    /// Nothing that is in flight arrives, and nothing is reported of it.
    pub fn clear(&mut self) {
        self.queues.clear();
        self.reports.values_mut().for_each(VecDeque::clear);
    }
}
