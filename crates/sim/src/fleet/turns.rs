//! What each process does in its turn, and how the fleet comes to rest.

use std::ops::ControlFlow;

use ::eventlog::error::LogError;
use ::worker::snapshot::{Snapshot, SnapshotError};
use ::worker::task::TaskError;
use domain::model::address::Topic;
use domain::model::time::Millis;
use domain::protocol::error::{DeskError, Unexpected};
use domain::protocol::positions::ProtocolError;
use domain::protocol::stage::Output;

use super::World;
use super::publishers::{SimPublisher, Step};
use super::wire::{Owner, Sent};
use super::worker::Opening;
use crate::alarm::{Alarm, hold};
use domain::model::address::TopicPartition;

/// Maximum number of turns without faults; a run that is not at rest then has failed.
const TURNS_MAX: usize = 600;
/// Number of records that retention removes at a time.
const SEGMENT: u64 = 4;

impl World {
    /// Sends a batch to some edge.
    pub(super) fn send(&mut self, batch: usize) -> Result<(), Alarm> {
        let at = self.rng.below(self.edges.len());
        let attempt = self.clients.begin(batch);
        let lines = self.clients.batch(batch);
        self.now = lines.iter().map(|l| l.at).fold(self.now, Millis::max);
        let (clock, scans) = (self.plan.clock, self.plan.partitions.scans);
        let into = self.edges[at].take(lines, attempt, &self.merchants, clock, self.now, scans);
        self.trace
            .note("send", format_args!("batch {batch} edge {at} attempt {attempt} into {into:?} at {}", self.now));
        self.clients.wait(attempt, into);
        Ok(())
    }

    pub(super) fn flush(&mut self, at: usize, partition: u16) {
        let Some((append, attempts)) = self.edges[at].flush(partition) else { return };
        self.trace.note("flush", format_args!("edge {at} partition {partition}"));
        let topic_partition = TopicPartition::new(append.topic, append.partition);
        let sent = Sent { topic_partition, record: append.record, owner: Owner::Attempts(attempts) };
        self.wire.send(self.edges[at].producer, sent);
    }

    /// An edge reads the reports on its frames. A frame that failed is sent again by a new producer, with all frames after it.
    pub(super) fn hear_edge(&mut self, at: usize) {
        let mut failed = Vec::new();
        while let Some(report) = self.wire.hear(self.edges[at].producer) {
            let (Some(_), Owner::Attempts(attempts)) = (report.offset, &report.sent.owner) else {
                failed.push(report.sent);
                continue;
            };
            for &attempt in attempts {
                if self.rng.percent(self.plan.acks_lost) {
                    self.trace.note("ack lost", format_args!("{attempt}"));
                    self.clients.forget(Some(attempt));
                } else {
                    self.clients.durable(attempt, report.sent.topic_partition.partition);
                }
            }
        }
        if failed.is_empty() {
            return;
        }
        failed.extend(self.wire.end(self.edges[at].producer, &mut self.rng));
        self.trace.note("edge sends again", format_args!("{at}: {}", failed.len()));
        let producer = self.wire.producer();
        self.edges[at].producer = producer;
        failed.into_iter().for_each(|sent| self.wire.send(producer, sent));
    }

    /// A request arrives at the log; returns whether there was one.
    pub(super) fn deliver(&mut self) -> Result<bool, Alarm> {
        let now = self.log_now();
        let Some((topic_partition, count)) = self.wire.deliver(&mut self.rng, &mut self.log, now) else {
            return Ok(false);
        };
        self.trace.note(
            "arrive",
            format_args!("{count} for {} {} at {now}", topic_partition.topic, topic_partition.partition),
        );
        self.arrived(topic_partition)?;
        Ok(true)
    }

    /// Processes a new record in the log.
    pub(super) fn arrived(&mut self, topic_partition: TopicPartition) -> Result<(), Alarm> {
        if let Some(last) = self.log.history(topic_partition).last() {
            self.trace.bytes(&last.bytes);
        }
        if topic_partition.topic == Topic::Rules { self.rules_store.lock().follow(&self.log) } else { Ok(()) }
    }

    /// Opens the task of a partition at a worker.
    pub(super) fn open(&mut self, at: usize, topic_partition: TopicPartition) -> Result<(), Alarm> {
        self.tasks_opened += 1;
        let committed = self.committed.get(&topic_partition).copied();
        let (log, snapshots, without) = (&self.log, &self.snapshots, self.without);
        let opened =
            self.workers[at].open(topic_partition, self.tasks_opened, Opening { log, snapshots, without, committed });
        opened.or_else(|error| {
            self.stopped.insert(topic_partition);
            self.alarm(error.into())
        })
    }

    /// A worker's lane ends, with its producer; another one starts from the latest snapshots.
    pub(super) fn begin_again(&mut self, at: usize) -> Result<(), Alarm> {
        self.trace.note("lane begins again", format_args!("{at}"));
        let _ = self.wire.end(self.workers[at].producer, &mut self.rng);
        let worker = &mut self.workers[at];
        worker.producer = self.wire.producer();
        (0..worker.tasks.len()).rev().for_each(|task| worker.drop_task(task));
        let own = |(topic_partition, owner): (&TopicPartition, &usize)| (*owner == at).then_some(*topic_partition);
        let topic_partitions: Vec<TopicPartition> = self.owner.iter().filter_map(own).collect();
        topic_partitions.into_iter().try_for_each(|topic_partition| self.open(at, topic_partition))
    }

    /// A worker's turn: it reads some delivery reports of its answers, and one of its tasks reads some records.
    pub(super) fn work(&mut self, at: usize, most: usize) -> Result<(), Alarm> {
        if self.workers[at].frozen > 0 {
            self.workers[at].frozen -= 1;
            return Ok(());
        }
        let reports = 1 + self.rng.below(12);
        if self.hear_worker(at, reports)?.is_break() || self.workers[at].tasks.is_empty() {
            return Ok(());
        }
        let task = self.rng.below(self.workers[at].tasks.len());
        self.step(at, task, most).map(drop)
    }

    /// A worker reads the reports on its answers. An answer without an offset ends its lane.
    pub(super) fn hear_worker(&mut self, at: usize, most: usize) -> Result<ControlFlow<()>, Alarm> {
        for _ in 0..most {
            let Some(report) = self.wire.hear(self.workers[at].producer) else { break };
            match (report.offset, report.sent.owner) {
                (None, _) => return self.begin_again(at).map(ControlFlow::Break),
                (Some(_), Owner::Answer(task, answer)) => self.workers[at].durable(task, answer),
                (Some(_), _) => {}
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A task reads some records; returns how many.
    pub(super) fn step(&mut self, at: usize, task: usize, most: usize) -> Result<usize, Alarm> {
        let (topic_partition, left) = (self.workers[at].tasks[task].topic_partition, self.workers[at].tasks[task].left);
        let (taken, answers) = match self.workers[at].step(task, &self.log, most.min(left.unwrap_or(most))) {
            Ok(done) => done,
            Err(error) => {
                self.workers[at].drop_task(task);
                return self.task_stops(topic_partition, left.is_some(), error).map(|()| 0);
            }
        };
        let kind = if left.is_some() { "zombie" } else { "step" };
        self.trace.note(
            kind,
            format_args!("worker {at} {} {} takes {taken}", topic_partition.topic, topic_partition.partition),
        );
        let Self { workers, wire, .. } = self;
        let producer = workers[at].producer;
        let tasks = &mut workers[at].tasks;
        let first = tasks[task].handed_out() - answers.len() as u64;
        for (answer, Output { topic, partition, record }) in (first..).zip(answers) {
            let owner = Owner::Answer(tasks[task].number, answer);
            wire.send(producer, Sent { topic_partition: TopicPartition::new(topic, partition), record, owner });
        }
        tasks[task].left = left.map(|left| left - taken.max(1).min(left));
        if tasks[task].left == Some(0) {
            tasks.remove(task);
        }
        Ok(taken)
    }

    /// A zombie that stops raises no alarm, if it is overtaken: by retention, or by a marker whose behaviour its build does
    /// not know.
    fn task_stops(&mut self, topic_partition: TopicPartition, is_zombie: bool, error: TaskError) -> Result<(), Alarm> {
        let is_overtaken = match &error {
            TaskError::Log(LogError::Retired { .. }) => true,
            TaskError::Protocol(ProtocolError::Unexpected { what, .. }) => {
                matches!(**what, Unexpected::Desk(DeskError::Behaviour(_)))
            }
            _ => false,
        };
        if is_zombie && is_overtaken {
            self.trace.note(
                "zombie overtaken",
                format_args!("{} {}: {error}", topic_partition.topic, topic_partition.partition),
            );
            return Ok(());
        }
        if !is_zombie {
            self.stopped.insert(topic_partition);
        }
        self.alarm(error.into())
    }

    /// A snapshot that may be written, of some task of a worker that is not frozen.
    pub(super) fn some_snapshot(&mut self) -> Option<(usize, Snapshot)> {
        let (count, from) = (self.workers.len(), self.rng.below(self.workers.len()));
        (0..count).map(|i| (from + i) % count).find_map(|at| {
            let worker = &mut self.workers[at];
            let mut tasks = worker.tasks.iter_mut().filter(|_| worker.frozen == 0);
            tasks.find_map(|task| task.snapshot()).map(|snapshot| (at, snapshot))
        })
    }

    pub(super) fn write_snapshot(&mut self, at: usize, snapshot: &Snapshot) -> Result<(), Alarm> {
        let Snapshot { source, offset, state, .. } = snapshot;
        match self.snapshots.write(snapshot) {
            // Another process has removed segments of its chain: its next snapshot begins with a base.
            Err(SnapshotError::Incomplete(_)) => {
                self.trace.note("snapshot refused", format_args!("{source} at {offset}, by worker {at}"));
                return Ok(());
            }
            written => written?,
        };
        self.workers[at].to_commit.push((source.topic_partition(), *offset));
        self.trace.note("snapshot", format_args!("{source} at {offset}, {} bytes, by worker {at}", state.len()));
        Ok(())
    }

    /// A ledger process reads some records; returns how many.
    pub(super) fn read_facts(&mut self, at: usize, most: usize) -> Result<usize, Alarm> {
        match self.ledgers.read(at, &self.log, most) {
            Ok(taken) => {
                self.trace.note("read facts", format_args!("{at}: {taken}"));
                Ok(taken)
            }
            Err((facts, error)) => {
                // A late process has continued meanwhile, and the log has removed records that the ledger already has.
                let committed = self.ledgers.db.progress()?.get(&facts).copied().unwrap_or(0);
                let start = self.log.bounds(TopicPartition::new(Topic::Facts, facts)).start;
                if matches!(*error, Alarm::Log(LogError::Retired { .. })) && committed >= start {
                    self.trace.note("ledger overtaken", format_args!("facts {facts}"));
                    self.ledgers.crash(at)?;
                    return Ok(0);
                }
                self.alarm(*error)?;
                self.ledgers.stop(facts)?;
                Ok(0)
            }
        }
    }

    pub(super) fn commit_facts(&mut self, at: usize) -> Result<(), Alarm> {
        let outcome = self.ledgers.commit(at)?;
        self.trace.note(outcome, format_args!("{at}"));
        Ok(())
    }

    /// A publisher starts, or has its turn.
    pub(super) fn publish(&mut self) -> Result<(), Alarm> {
        if self.publishers.len() < 2
            && let Some(text) = self.to_publish.pop_front()
        {
            let producer = self.wire.producer();
            self.publishers.push(SimPublisher::new(producer, text, self.behaviour, &self.rules_store.lock()));
            self.trace.note("publisher", format_args!("of {text}"));
            return Ok(());
        }
        let at = self.rng.below(self.publishers.len().max(1));
        let Some(publisher) = self.publishers.get_mut(at) else { return Ok(()) };
        while let Some(report) = self.wire.hear(publisher.producer) {
            if report.offset.is_none() {
                self.trace.note("publisher begins again", format_args!("{}", publisher.text));
                let _ = self.wire.end(publisher.producer, &mut self.rng);
                publisher.begin_again(self.wire.producer(), &self.rules_store.lock());
                return Ok(());
            }
            publisher.waits -= 1;
        }
        if publisher.waits > 0 {
            return Ok(());
        }
        let step = publisher.step(&self.log, &self.rules_store.lock())?;
        match step {
            Step::Send(records) => {
                for (topic_partition, record) in records {
                    self.wire.send(publisher.producer, Sent { topic_partition, record, owner: Owner::Publisher });
                }
            }
            Step::Over(how) => {
                self.trace.note(how, format_args!("{}", publisher.text));
                let publisher = self.publishers.remove(at);
                if how == "outdated" {
                    self.to_publish.push_back(publisher.text);
                }
            }
        }
        Ok(())
    }

    /// Retention removes records that no reader needs.
    pub(super) fn retain(&mut self) -> Result<(), Alarm> {
        let mut topic_partitions: Vec<TopicPartition> = self.owner.keys().copied().collect();
        topic_partitions.extend((0..self.plan.partitions.facts).map(|f| TopicPartition::new(Topic::Facts, f)));
        let topic_partition = *self.rng.pick(&topic_partitions);
        let needed = if topic_partition.topic == Topic::Facts {
            self.ledgers.db.progress()?.get(&topic_partition.partition).copied().unwrap_or(0)
        } else {
            let listed = self.snapshots.list()?;
            let first = listed
                .iter()
                .find(|l| TopicPartition::new(l.topic, l.partition) == topic_partition)
                .map_or(0, |l| l.offset);
            let tasks = self
                .workers
                .iter()
                .flat_map(|w| &w.tasks)
                .filter(|s| s.topic_partition == topic_partition && s.left.is_none());
            tasks.map(|task| task.reads_at()).fold(first, u64::min)
        };
        if self.log.retire(topic_partition, needed / SEGMENT * SEGMENT) {
            self.trace.note(
                "retained",
                format_args!("{} {} from {needed}", topic_partition.topic, topic_partition.partition),
            );
        }
        Ok(())
    }

    /// Ends all faults: everything that is sent arrives and is processed.
    pub(super) fn settle(&mut self) -> Result<(), Alarm> {
        self.heal()?;
        for _ in 0..TURNS_MAX {
            while let Some(batch) = self.clients.unsent() {
                self.send(batch)?;
            }
            for batch in self.clients.open() {
                self.send(batch)?;
            }
            if self.turn()? && self.clients.is_done() && self.is_published() {
                return self.rest();
            }
        }
        hold(false, || "it does not come to rest".to_owned())
    }

    /// Ends all freezes, and all late tasks and ledger processes.
    pub(super) fn heal(&mut self) -> Result<(), Alarm> {
        self.trace.note("settle", format_args!(""));
        self.plan.acks_lost = 0;
        for worker in &mut self.workers {
            worker.frozen = 0;
            worker.tasks.retain(|task| task.left.is_none());
        }
        self.ledgers.heal()
    }

    /// Whether everything is published. Another publisher completes a version that one has left unfinished.
    fn is_published(&mut self) -> bool {
        if !(self.publishers.is_empty() && self.to_publish.is_empty()) {
            return false;
        }
        let rules_store = self.rules_store.lock();
        let unplaced = rules_store.registry.unplaced().last().and_then(|version| rules_store.text_of(version.seq));
        self.to_publish.extend(unplaced);
        unplaced.is_none()
    }

    /// Gives every process a turn; returns whether there was nothing to do.
    pub(super) fn turn(&mut self) -> Result<bool, Alarm> {
        let mut idle = self.wire.is_empty();
        for at in 0..self.edges.len() {
            self.edges[at].open().into_iter().for_each(|partition| self.flush(at, partition));
        }
        while self.deliver()? {}
        (0..self.edges.len()).for_each(|at| self.hear_edge(at));
        self.publish()?;
        for at in 0..self.workers.len() {
            if self.hear_worker(at, usize::MAX)?.is_break() {
                idle = false;
            }
            for task in (0..self.workers[at].tasks.len()).rev() {
                idle &= self.step(at, task, usize::MAX)? == 0;
            }
        }
        Ok(idle && self.wire.is_empty())
    }

    pub(super) fn rest(&mut self) -> Result<(), Alarm> {
        let tasks = self.workers.iter().flat_map(|worker| &worker.tasks);
        let alarms: Vec<Alarm> = tasks.filter_map(|task| task.check_at_rest().err()).collect();
        alarms.into_iter().try_for_each(|alarm| self.alarm(alarm))?;
        // Another writer may have moved on; then this one reads again from there.
        for _ in 0..3 {
            for at in 0..self.ledgers.len() {
                self.read_facts(at, usize::MAX)?;
            }
            if let Err(missing) = self.ledgers.check_nothing_is_missing() {
                self.alarm(missing.into())?;
            }
            (0..self.ledgers.len()).try_for_each(|at| self.commit_facts(at))?;
        }
        Ok(())
    }
}
