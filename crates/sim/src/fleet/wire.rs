//! Records in flight to the shared log, in order for every producer and partition, as an idempotent producer sends them; and
//! the reports to producers, which are not always true.

use std::collections::{BTreeMap, VecDeque};

use domain::model::time::Millis;

use domain::model::address::{Topic, TopicPartition};

use super::log::SharedLog;
use crate::bundles::Bundler;
use crate::generate::rng::Rng;

/// Who is notified of the outcome of a record.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    /// These attempts of clients.
    Attempts(Vec<u64>),
    /// A task's number, and the number of its answer.
    Answer(u64, u64),
    Publisher,
    Untracked,
}

/// A record in flight.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub topic_partition: TopicPartition,
    pub record: Vec<u8>,
    pub owner: Owner,
}

/// The report to a producer about a record.
#[derive(Debug)]
pub(crate) struct Report {
    pub sent: Sent,
    /// `None` if it failed, or is reported delivered without an offset. The log may have it all the same.
    pub offset: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Wire {
    bundler: Bundler,
    queues: BTreeMap<(u64, TopicPartition), VecDeque<Sent>>,
    reports: BTreeMap<u64, VecDeque<Report>>,
    next: u64,
    /// A partition at which requests arrive more rarely than at others.
    pub slow: Option<TopicPartition>,
}

impl Wire {
    /// Without records in flight; frames share records as the bundler decides.
    pub(crate) fn new(bundler: Bundler) -> Self {
        Self { bundler, queues: BTreeMap::new(), reports: BTreeMap::new(), next: 0, slow: None }
    }

    /// A new producer.
    pub(crate) fn producer(&mut self) -> u64 {
        self.next += 1;
        self.reports.insert(self.next, VecDeque::new());
        self.next
    }

    /// Sends a record without a report.
    pub(crate) fn stray(&mut self, topic_partition: TopicPartition, record: Vec<u8>) {
        self.next += 1;
        self.send(self.next, Sent { topic_partition, record, owner: Owner::Untracked });
    }

    pub(crate) fn send(&mut self, producer: u64, sent: Sent) {
        self.queues.entry((producer, sent.topic_partition)).or_default().push_back(sent);
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.reports.values().all(VecDeque::is_empty)
    }

    /// The records in flight to a topic, each with its producer.
    pub(crate) fn to(&self, topic: Topic) -> impl Iterator<Item = (u64, &Sent)> {
        let queues = self.queues.iter().filter(move |((_, to), _)| to.topic == topic);
        queues.flat_map(|((producer, _), queue)| queue.iter().map(|sent| (*producer, sent)))
    }

    fn some(&self, rng: &mut Rng) -> Option<(u64, TopicPartition)> {
        let at = rng.below(self.queues.len().max(1));
        self.queues.keys().nth(at).copied()
    }

    fn take(&mut self, from: (u64, TopicPartition), most: usize) -> Vec<Sent> {
        let Some(queue) = self.queues.get_mut(&from) else { return Vec::new() };
        let taken = queue.drain(..most.min(queue.len())).collect();
        if queue.is_empty() {
            self.queues.remove(&from);
        }
        taken
    }

    /// The next request of some producer arrives; returns its partition and number of records.
    pub(crate) fn deliver(
        &mut self,
        rng: &mut Rng,
        log: &mut SharedLog,
        now: Millis,
    ) -> Option<(TopicPartition, usize)> {
        let mut from = self.some(rng)?;
        if self.slow == Some(from.1) && rng.percent(80) {
            from = self.some(rng)?;
        }
        let most = 1 + rng.below(4);
        let taken = self.take(from, most);
        let count = taken.len();
        let offsets = self.arrive(&taken, log, now);
        for (sent, offset) in taken.into_iter().zip(offsets) {
            self.report(from.0, Report { sent, offset: Some(offset) });
        }
        Some((from.1, count))
    }

    /// The first record in flight of some producer is lost, but not those after it; it is reported delivered without an offset.
    pub(crate) fn lose(&mut self, rng: &mut Rng) -> Option<TopicPartition> {
        let from = self.some(rng)?;
        let lost = self.take(from, 1);
        lost.into_iter().for_each(|sent| self.report(from.0, Report { sent, offset: None }));
        Some(from.1)
    }

    /// The answer to a request is lost: some of its records are in the log, and all are reported as failed.
    pub(crate) fn doubt(&mut self, rng: &mut Rng, log: &mut SharedLog, now: Millis) -> Option<(TopicPartition, usize)> {
        let from = self.some(rng)?;
        let most = 1 + rng.below(4);
        let taken = self.take(from, most);
        let arrive = rng.below(taken.len() + 1);
        self.arrive(&taken[..arrive], log, now);
        taken.into_iter().for_each(|sent| self.report(from.0, Report { sent, offset: None }));
        Some((from.1, arrive))
    }

    /// The log takes records, of which some are put together; returns the offset of each.
    fn arrive(&mut self, taken: &[Sent], log: &mut SharedLog, now: Millis) -> Vec<u64> {
        let frames: Vec<_> = taken.iter().map(|sent| (sent.topic_partition, &*sent.record)).collect();
        let (records, of_frames) = self.bundler.pack(&frames);
        let offsets: Vec<u64> = records.into_iter().map(|(to, record)| log.append(to, record, now)).collect();
        of_frames.into_iter().map(|record| offsets[record]).collect()
    }

    fn report(&mut self, producer: u64, report: Report) {
        if let Some(reports) = self.reports.get_mut(&producer) {
            reports.push_back(report);
        }
    }

    /// The next report to a producer.
    pub(crate) fn hear(&mut self, producer: u64) -> Option<Report> {
        self.reports.get_mut(&producer)?.pop_front()
    }

    /// Ends a producer. The first of its records in flight to each partition may still arrive, without a report. Returns all
    /// records without a positive report, in order for each partition, so that another producer can send them again.
    pub(crate) fn end(&mut self, producer: u64, rng: &mut Rng) -> Vec<Sent> {
        let unheard = self.reports.remove(&producer).unwrap_or_default();
        let mut unheard: Vec<Sent> = unheard.into_iter().filter(|r| r.offset.is_none()).map(|r| r.sent).collect();
        let topic_partitions: Vec<TopicPartition> =
            self.queues.keys().filter(|(p, _)| *p == producer).map(|(_, topic_partition)| *topic_partition).collect();
        self.next += 1;
        let late = self.next;
        for topic_partition in topic_partitions {
            let queue = self.take((producer, topic_partition), usize::MAX);
            let arrive = rng.below(queue.len() + 1);
            for sent in &queue[..arrive] {
                self.send(late, Sent { owner: Owner::Untracked, ..sent.clone() });
            }
            unheard.extend(queue);
        }
        unheard
    }

    /// Loses everything in flight, without reports.
    pub(crate) fn clear(&mut self) {
        self.queues.clear();
        self.reports.values_mut().for_each(VecDeque::clear);
    }
}
