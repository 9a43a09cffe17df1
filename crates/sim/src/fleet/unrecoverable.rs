//! Faults that a fleet cannot survive by itself: it must detect them, and no part may continue as if nothing had happened.

use ::eventlog::files::memory::Memory;
use ::eventlog::local::meta::Meta;
use domain::model::address::Topic;

use super::ledgers::Ledgers;
use domain::model::address::TopicPartition;

use super::log::{SharedLog, Stored};
use super::plan::Unrecoverable;
use super::{World, store};
use crate::alarm::{Alarm, hold};
use crate::oracle;
use crate::safeguards::Safeguard;

/// Maximum number of times that all events are sent again, so that readers reach offsets beyond the lost ones.
const AGAIN_MAX: usize = 6;
/// The tables that the shopper desk alone decides.
const OF_SCANS: [&str; 4] = ["postings", "orders", "members", "funnels"];

/// Records that a broker has lost, from an offset on.
#[derive(Debug)]
struct Lost {
    topic_partition: TopicPartition,
    from: u64,
    records: Vec<Stored>,
}

impl World {
    /// An unrecoverable fault occurs; returns whether the run ends with it.
    pub(super) fn strike(&mut self, unrecoverable: Unrecoverable) -> Result<bool, Alarm> {
        match unrecoverable {
            Unrecoverable::Recreated => self.recreated().map(|()| false),
            Unrecoverable::Truncated => self.truncated(),
            Unrecoverable::Overtaken => self.overtaken(),
        }
    }

    /// Every topic is recreated, store and ledger stay as they are. No process continues; then an operator starts over.
    fn recreated(&mut self) -> Result<(), Alarm> {
        self.trace.note("recreated", format_args!(""));
        for at in 0..self.ledgers.len() {
            if self.rng.percent(50) {
                self.commit_facts(at)?;
            }
        }
        let before = oracle::tables(|table| self.ledgers.db.export(table))?;
        let scans = self.ledgers.db.scans()?;
        let known = self.log.meta.clone();
        let kept: Vec<TopicPartition> =
            self.snapshots.list()?.iter().map(|l| TopicPartition::new(l.topic, l.partition)).collect();
        self.another_log()?;
        self.traffic(&self.clients.sent().collect::<Vec<_>>())?;
        self.refuse_ledgers(&scans.keys().copied().collect::<Vec<_>>())?;
        let after = oracle::tables(|table| self.ledgers.db.export(table))?;
        hold(before == after, || "the ledger changed with another log".to_owned())?;

        // Lanes whose consumers failed know the old log; processes that restart know the new one.
        for is_new in [false, true] {
            for at in 0..self.workers.len() {
                self.workers[at].tasks.clear();
                self.workers[at].taken.clear();
                self.workers[at].meta = if is_new { self.log.meta.clone() } else { known.clone() };
                self.refuse_tasks(at, &kept, is_new)?;
            }
        }
        self.begin_anew()
    }

    fn another_log(&mut self) -> Result<(), Alarm> {
        self.wire.clear();
        self.clients.forget(None);
        self.publishers.clear();
        // It is created later than any record in the previous log.
        (self.now, self.log_skew) = (self.now + 5_000, 0);
        let another = u128::MAX - u128::from(self.rng.draw());
        let id = if self.without.contains(&Safeguard::LogId) { self.log.meta.id() } else { another };
        let meta = Meta::new(id, self.plan.clock, self.plan.partitions);
        self.log = SharedLog::new(meta, self.log_now());
        self.rules_store.lock().forget();
        self.publish_first()
    }

    /// Clients send some batches; some may be retries.
    fn traffic(&mut self, batches: &[usize]) -> Result<(), Alarm> {
        for &batch in batches {
            if self.rng.percent(80) {
                self.send(batch)?;
            }
            if self.rng.percent(50) {
                for at in 0..self.edges.len() {
                    self.edges[at].open().into_iter().for_each(|partition| self.flush(at, partition));
                }
            }
        }
        for at in 0..self.edges.len() {
            self.edges[at].open().into_iter().for_each(|partition| self.flush(at, partition));
        }
        while self.deliver()? {}
        (0..self.edges.len()).for_each(|at| self.hear_edge(at));
        Ok(())
    }

    /// No task continues with a state of another log. A task without a state starts as in a new process.
    fn refuse_tasks(&mut self, at: usize, kept: &[TopicPartition], is_new: bool) -> Result<(), Alarm> {
        let own = |(topic_partition, owner): (&TopicPartition, &usize)| (*owner == at).then_some(*topic_partition);
        let topic_partitions: Vec<TopicPartition> = self.owner.iter().filter_map(own).collect();
        for topic_partition in topic_partitions {
            self.alarms = Some(Vec::new());
            self.open(at, topic_partition)?;
            if let Some(task) = self.workers[at].tasks.iter().position(|task| task.topic_partition == topic_partition) {
                let done = self.workers[at].step(task, &self.log, usize::MAX);
                done.map(drop).or_else(|error| self.alarm(error.into()))?;
            }
            self.workers[at].tasks.clear();
            let is_refused = self.alarms.take().is_some_and(|alarms| !alarms.is_empty());
            let has_nothing = is_new && !kept.contains(&topic_partition);
            let TopicPartition { topic, partition } = topic_partition;
            hold(is_refused || has_nothing, || format!("{topic} {partition} goes on in another log"))?;
            hold(!(is_refused && has_nothing), || format!("{topic} {partition} begins with nothing, and is refused"))?;
            self.stopped.clear();
        }
        Ok(())
    }

    /// Neither does the ledger, even if the tasks do because their store was emptied: it compares logs when it starts.
    fn refuse_ledgers(&mut self, scans: &[u16]) -> Result<(), Alarm> {
        let is_refused = self.ledgers.check_log(&self.log.meta).is_err();
        if !self.without.contains(&Safeguard::LogId) {
            // Answers to markers alone make it one of the log before, too.
            let has_positions = self.ledgers.db.has_positions()?;
            hold(is_refused == has_positions, || format!("the ledger of another log is refused: {is_refused}"))?;
        }
        let kept = (self.disk.clone(), self.snapshots.clone());
        self.disk = Memory::default();
        self.snapshots = store(&self.disk, self.without);
        self.committed.clear();
        (0..self.workers.len()).try_for_each(|at| self.crash_worker(at))?;
        self.alarms = Some(Vec::new());
        self.heal()?;
        for _ in 0..self.plan.partitions.facts {
            self.drain()?;
        }
        self.alarms = None;
        (self.disk, self.snapshots) = kept;
        // Without the comparison, the first frame of a known topic shows it.
        for (facts, next) in self.ledgers.db.progress()? {
            let holds_something = scans.iter().any(|scans| scans % self.plan.partitions.facts == facts);
            let is_read = self.log.bounds(TopicPartition::new(Topic::Facts, facts)).end != next;
            hold(is_refused || !holds_something || !is_read || self.ledgers.stopped.contains(&facts), || {
                format!("facts {facts} are read on at {next} in another log")
            })?;
        }
        Ok(())
    }

    /// An operator empties store and ledger, and all processes start with the present log.
    fn begin_anew(&mut self) -> Result<(), Alarm> {
        self.trace.note("started over", format_args!(""));
        self.disk = Memory::default();
        self.snapshots = store(&self.disk, self.without);
        self.ledgers = Ledgers::new(self.plan.ledgers, self.plan.partitions.facts, self.without)?;
        self.committed.clear();
        self.clients.begin_again();
        (0..self.workers.len()).try_for_each(|at| self.crash_worker(at))
    }

    /// A broker loses acknowledged records, and others take their offsets. What was read of the lost records does not match
    /// what follows.
    fn truncated(&mut self) -> Result<bool, Alarm> {
        let is_quiet = self.some_quiet()?;
        let Some((topic_partition, known)) = self.some_known()? else { return Ok(false) };
        let from = 1 + self.rng.draw() % (known - 1);
        let end = self.log.bounds(topic_partition).end;
        self.trace.note(
            "truncated",
            format_args!("{} {} from {from}, {known} of {end} known", topic_partition.topic, topic_partition.partition),
        );
        let lost = Lost { topic_partition, from, records: self.log.cut(topic_partition, from) };
        self.alarms = Some(Vec::new());
        self.heal()?;
        // Its readers get an error (KIP-320), before or after other records have taken the offsets of the lost ones.
        if self.rng.percent(50) {
            self.traffic(&self.clients.sent().collect::<Vec<_>>())?;
        }
        self.fail_consumer(topic_partition)?;
        for _ in 0..AGAIN_MAX {
            self.traffic(&self.clients.sent().collect::<Vec<_>>())?;
            self.drain()?;
            if self.log.bounds(topic_partition).end > end + 1 {
                break;
            }
        }
        self.fail_consumer(topic_partition)?;
        self.traffic(&self.clients.sent().collect::<Vec<_>>())?;
        self.drain()?;
        self.rest()?;
        if self.alarms.as_ref().is_some_and(Vec::is_empty) {
            // No reader has detected the loss so far; a later alarm is in time, because no result depends on the loss yet.
            self.settle()?;
        }
        let alarms = self.alarms.take().unwrap_or_default();
        if alarms.is_empty() {
            self.trace
                .note("loss without effect", format_args!("{} {}", topic_partition.topic, topic_partition.partition));
            self.check_tables()?;
            return Ok(true);
        }
        let is_detected = alarms.iter().any(|a| DETECTED.iter().any(|text| a.contains(text)));
        hold(is_detected, || format!("the loss of records was not detected: {alarms:?}"))?;
        if is_quiet { self.as_of(&lost).map(|()| true) } else { Ok(true) }
    }

    /// A partition, and an offset up to which its records have been read and answered.
    fn some_known(&mut self) -> Result<Option<(TopicPartition, u64)>, Alarm> {
        let mut known = Vec::new();
        for task in self.workers.iter().flat_map(|w| &w.tasks).filter(|task| task.left.is_none()) {
            // Readers detect the loss of a last frame only at the next one, so the partition must be read to the end.
            let is_whole = task.topic_partition.topic == Topic::Scans
                || task.settled() == self.log.bounds(task.topic_partition).end;
            known.extend(is_whole.then_some((task.topic_partition, task.settled())));
        }
        for (facts, next) in self.ledgers.db.progress()? {
            let topic_partition = TopicPartition::new(Topic::Facts, facts);
            known.extend((next == self.log.bounds(topic_partition).end).then_some((topic_partition, next)));
        }
        known.retain(|(topic_partition, known)| *known >= 3 && self.log.bounds(*topic_partition).start == 0);
        Ok((!known.is_empty()).then(|| *self.rng.pick(&known)))
    }

    /// The consumer of a partition reports an error to its reader, which starts again.
    fn fail_consumer(&mut self, topic_partition: TopicPartition) -> Result<(), Alarm> {
        if topic_partition.topic == Topic::Facts {
            self.ledgers.heal()
        } else {
            self.begin_again(self.owner[&topic_partition])
        }
    }

    /// All processes that are not stopped work until nothing is left to do.
    fn drain(&mut self) -> Result<(), Alarm> {
        for _ in 0..50 {
            if self.turn()? {
                break;
            }
        }
        (0..self.ledgers.len()).try_for_each(|at| self.read_facts(at, usize::MAX).map(drop))
    }

    /// Sometimes nothing is in flight when the fault occurs. Then no answer is incomplete, and the ledger can be compared with
    /// the log as far as it has read.
    fn some_quiet(&mut self) -> Result<bool, Alarm> {
        let is_quiet = self.rng.percent(60);
        if is_quiet {
            self.heal()?;
            self.drain()?;
            (0..self.ledgers.len()).try_for_each(|at| self.commit_facts(at))?;
        }
        Ok(is_quiet)
    }

    /// The log removes records that a reader still needs.
    fn overtaken(&mut self) -> Result<bool, Alarm> {
        let is_quiet = self.some_quiet()?;
        let mut needed: Vec<(TopicPartition, u64)> =
            self.owner.keys().map(|topic_partition| (*topic_partition, 0)).collect();
        for listed in self.snapshots.list()? {
            let topic_partition = TopicPartition::new(listed.topic, listed.partition);
            needed.iter_mut().filter(|(p, _)| *p == topic_partition).for_each(|(_, offset)| *offset = listed.offset);
        }
        let progress = self.ledgers.db.progress()?;
        needed.extend(progress.iter().map(|(&facts, &next)| (TopicPartition::new(Topic::Facts, facts), next)));
        needed.retain(|(topic_partition, offset)| *offset < self.log.bounds(*topic_partition).end);
        if needed.is_empty() {
            return Ok(false);
        }
        let (topic_partition, offset) = *self.rng.pick(&needed);
        let end = self.log.bounds(topic_partition).end;
        let start = offset + 1 + self.rng.draw() % (end - offset);
        self.trace.note(
            "overtaken",
            format_args!("{} {}: {offset} needed, {start} is there", topic_partition.topic, topic_partition.partition),
        );
        self.log.retire(topic_partition, start);
        self.alarms = Some(Vec::new());
        self.heal()?;
        self.fail_consumer(topic_partition)?;
        self.drain()?;
        self.rest()?;
        let alarms = self.alarms.take().unwrap_or_default();
        let start = self.log.bounds(topic_partition).start;
        let named = format!(
            "{} partition {}: offset {offset} was asked for, the log begins at {start}",
            topic_partition.topic, topic_partition.partition
        );
        hold(alarms.iter().any(|a| a.contains(&named)), || format!("not {named}: {alarms:?}"))?;
        let lost = Lost { topic_partition, from: end, records: Vec::new() };
        if is_quiet { self.as_of(&lost).map(|()| true) } else { Ok(true) }
    }

    /// The ledger is correct as far as it has read: it has the results of the log up to the frames at which it stopped.
    fn as_of(&mut self, lost: &Lost) -> Result<(), Alarm> {
        let positions = self.ledgers.db.scans()?;
        let up_to = |partition: u16| positions.get(&partition).map_or(0, |at| usize::try_from(at + 1).expect("small"));
        let records: Vec<Vec<Stored>> = (0..self.plan.partitions.scans)
            .map(|partition| {
                let topic_partition = TopicPartition::new(Topic::Scans, partition);
                let mut records = self.log.history(topic_partition).to_vec();
                let at = usize::try_from(lost.from).expect("small");
                if topic_partition == lost.topic_partition && !records[at..].starts_with(&lost.records) {
                    records.splice(at.., lost.records.iter().cloned());
                }
                records.truncate(up_to(partition));
                records
            })
            .collect();
        let events = self.log.events(|partition| &records[usize::from(partition)]);
        drop(self.evidence(&events)?.compare(&OF_SCANS)?);
        self.trace.note("as of its positions", format_args!("{} events", events.len()));
        Ok(())
    }
}

/// Parts of the alarms about a truncated log.
const DETECTED: [&str; 7] = [
    "holds another record than the one that was taken",
    "it is shorter than what was read of it before",
    "a frame is lost",
    "two desks gave different answers",
    "its writer knows nothing of that one",
    "the log has a hole or was rewound",
    // The lost records include the markers of the rules.
    "were published before its events",
];
