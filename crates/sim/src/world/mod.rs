//! The whole system without threads and real disks: clients, edges, the log, a task for every partition, snapshots, the
//! ledger. The seed chooses one step at a time.
//!
//! - [`plan`]: what a seed chooses before the run
//! - [`logs`], [`task`], [`ledgers`]: the real log, tasks and ledger, which can crash
//! - [`queues`]: frames in flight to the log
//! - `start`, `faults`, `kills`: how a world begins, and what happens to it

mod faults;
mod kills;
pub(crate) mod ledgers;
pub(crate) mod logs;
pub(crate) mod plan;
pub(crate) mod queues;
pub(crate) mod start;
pub(crate) mod task;

use std::path::PathBuf;
use std::sync::Arc;

use domain::model::address::{Topic, TopicPartition};
use domain::model::rules::RulesSeq;
use domain::model::rules::rulebook::Library;
use domain::model::time::Millis;
use domain::protocol::stage::Output;
use eventlog::api::Append;
use eventlog::error::LogError;
use eventlog::files::memory::Loss;
use wire::event::Merchants;
use worker::snapshot::{Snapshot, SnapshotError, Snapshots};
use worker::task::TaskError;

use self::ledgers::Ledgers;
use self::logs::Logs;
use self::plan::{Op, Plan};
use self::queues::{Item, Owner, Queues};
use self::task::{Opening, SimTask};
use crate::alarm::{Alarm, hold};
use crate::bundles::Bundler;
use crate::clients::Clients;
use crate::edge::Edge;
use crate::generate::Case;
use crate::generate::rng::Rng;
use crate::oracle::{self, Evidence};
use crate::safeguards::Without;
use crate::trace::Trace;

/// Maximum number of steps before a run must come to rest; after it the faults end.
const STEPS_MAX: usize = 6_000;
/// Maximum number of turns without faults; a run that is not at rest then has failed.
const TURNS_MAX: usize = 2_000;

#[derive(Debug)]
pub(crate) struct World {
    rng: Rng,
    pub trace: Trace,
    pub plan: Plan,
    without: Without,
    pub library: Library,
    merchants: Merchants,
    now: Millis,
    /// Error of the log's clock, ms.
    log_skew: Millis,
    pub logs: Logs,
    snapshots: Snapshots,
    queues: Queues,
    bundler: Bundler,
    pub edges: Vec<Edge>,
    pub clients: Clients,
    tasks: Vec<SimTask>,
    zombies: Vec<SimTask>,
    pub ledgers: Ledgers,
    /// Number of kills between a draw and its grant that may still come.
    kills_left: usize,
    /// Number of segments that the log has removed.
    pub retired: u64,
}

impl World {
    /// Runs the steps of the seed until every client has its acknowledgement; then ends all faults and comes to rest.
    ///
    /// # Errors
    /// A part raises an alarm.
    pub(crate) fn run(&mut self) -> Result<(), Alarm> {
        for _ in 0..STEPS_MAX {
            if self.clients.is_done() {
                break;
            }
            let op = self.plan.next(&mut self.rng);
            self.now += if self.rng.percent(10) { self.rng.range(0, 40) } else { 0 };
            self.act(op)?;
            self.kill()?;
        }
        self.settle()
    }

    /// Compares the result with the model.
    ///
    /// # Errors
    /// The first check that fails.
    pub(crate) fn check(&mut self, case: &Case) -> Result<(), Alarm> {
        let evidence = self.evidence(case)?;
        let compared = oracle::check(&evidence);
        let tables = evidence.tables;
        tables.values().for_each(|table| self.trace.bytes(table.as_bytes()));
        self.trace.count(compared?);
        Ok(())
    }

    /// What the run leaves for the checks.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn evidence<'a>(&'a self, case: &'a Case) -> Result<Evidence<'a>, Alarm> {
        let files = case.rules_files.iter().map(PathBuf::from);
        let rulebooks = self.library.iter().zip(files).map(|((seq, book), file)| (*seq, (Arc::clone(book), file)));
        // Every merchant has one version, so events need no version number.
        let events = self.logs.events().into_iter().map(|event| (event, RulesSeq::default())).collect();
        Ok(Evidence {
            case,
            clients: &self.clients,
            edges: self.edges.iter().collect(),
            partitions: self.plan.partitions,
            events,
            rulebooks: rulebooks.collect(),
            tables: oracle::tables(|table| self.ledgers.db.export(table))?,
            database: &self.ledgers.db,
            facts: self.logs.facts().collect(),
        })
    }

    fn act(&mut self, op: Op) -> Result<(), Alarm> {
        match op {
            Op::Send => {
                let batch = self.clients.unsent();
                batch.map_or(Ok(()), |batch| self.send(batch))
            }
            Op::Retry => self.retry(),
            Op::Flush => self.flush(),
            Op::Round => {
                let most = 1 + self.rng.below(12);
                self.round(most)
            }
            Op::Step => {
                let (tasks, all) = (self.tasks.len(), self.tasks.len() + self.zombies.len());
                let (at, most) = (self.rng.below(all), 1 + self.rng.below(12));
                if at < tasks { self.step(at, most).map(drop) } else { self.step_zombie(at - tasks, most) }
            }
            Op::TakeSnapshot => {
                let at = self.rng.below(self.tasks.len());
                self.tasks[at].take_snapshot();
                Ok(())
            }
            Op::WriteSnapshot => self.some_snapshot().map_or(Ok(()), |snapshot| self.write_snapshot(&snapshot)),
            Op::Read => {
                let most = 1 + self.rng.below(20);
                let taken = self.ledgers.read(most)?;
                self.trace.note("ledger", format_args!("reads {taken}"));
                Ok(())
            }
            Op::Commit => {
                let outcome = self.ledgers.commit(&mut self.logs)?;
                self.trace.note(outcome, format_args!(""));
                Ok(())
            }
            Op::Maintain => {
                let is_due = self.rng.percent(30);
                let done = self.logs.maintain(is_due)?;
                self.trace.note("log", format_args!("{done}"));
                Ok(())
            }
            fault => self.inject(fault),
        }
    }

    /// Sends a batch to some edge.
    fn send(&mut self, batch: usize) -> Result<(), Alarm> {
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

    fn retry(&mut self) -> Result<(), Alarm> {
        let open = self.clients.open();
        if open.is_empty() {
            return Ok(());
        }
        let batch = *self.rng.pick(&open);
        self.trace.note("retry", format_args!("{batch}"));
        self.send(batch)
    }

    fn flush(&mut self) -> Result<(), Alarm> {
        let at = self.rng.below(self.edges.len());
        let open = self.edges[at].open();
        if !open.is_empty() {
            let partition = *self.rng.pick(&open);
            self.trace.note("flush", format_args!("edge {at} partition {partition}"));
            self.flush_partition(at, partition);
        }
        Ok(())
    }

    fn flush_partition(&mut self, at: usize, partition: u16) {
        if let Some((append, attempts)) = self.edges[at].flush(partition) {
            self.queues.push(self.edges[at].producer, Item { append, owner: Owner::Attempts(attempts) });
        }
    }

    fn log_now(&self) -> Millis {
        (self.now + self.log_skew).max(0)
    }

    /// Appends a round without faults.
    fn round(&mut self, most: usize) -> Result<(), Alarm> {
        let round = self.queues.take(&mut self.rng, most);
        if round.is_empty() {
            return Ok(());
        }
        self.append(&round)?;
        for (_, item) in round {
            self.durable(&item);
        }
        Ok(())
    }

    fn append(&mut self, round: &[(u64, Item)]) -> Result<(), Alarm> {
        let frame = |append: &'_ Append| TopicPartition::new(append.topic, append.partition);
        let frames: Vec<_> = round.iter().map(|(_, item)| (frame(&item.append), &*item.append.record)).collect();
        let (packed, _) = self.bundler.pack(&frames);
        let append = |(to, record): (TopicPartition, _)| Append { topic: to.topic, partition: to.partition, record };
        let records: Vec<Append> = packed.into_iter().map(append).collect();
        let now = self.log_now();
        let result = self.logs.append(&records, now);
        self.trace.note("round", format_args!("{} at {now}: {}", records.len(), result.is_ok()));
        result?;
        for record in &records {
            self.trace.bytes(&record.record);
        }
        self.logs.copy()
    }

    /// Notifies the owner of a frame that it is durable.
    fn durable(&mut self, item: &Item) {
        match &item.owner {
            Owner::Attempts(attempts) => {
                for &attempt in attempts {
                    if self.rng.percent(self.plan.acks_lost) {
                        self.trace.note("ack lost", format_args!("{attempt}"));
                        self.clients.forget(Some(attempt));
                    } else {
                        self.clients.durable(attempt, item.append.partition);
                    }
                }
            }
            Owner::Task(producer) => {
                let mut all = self.tasks.iter_mut().chain(&mut self.zombies);
                if let Some(task) = all.find(|task| task.producer == *producer) {
                    task.durable();
                }
            }
            Owner::Untracked => {}
        }
    }

    /// A task reads some records; returns how many.
    fn step(&mut self, at: usize, most: usize) -> Result<usize, Alarm> {
        let task = &mut self.tasks[at];
        let (topic, partition) = (task.topic, task.partition);
        let (taken, answers) = match task.step(&self.library, most) {
            // A zombie's snapshot is ahead of the task, and the log has removed the records before it: the task restarts there.
            Err(TaskError::Log(LogError::Retired { wanted, .. })) => {
                self.trace.note("overtaken", format_args!("{topic} {partition} at {wanted}"));
                self.tasks[at] = self.open_task(topic, partition)?;
                return Ok(1);
            }
            done => done?,
        };
        let task = &self.tasks[at];
        self.trace.note("step", format_args!("{} {} takes {taken}", task.topic, task.partition));
        let producer = task.producer;
        self.post(producer, answers);
        Ok(taken)
    }

    fn post(&mut self, producer: u64, answers: Vec<Output>) {
        for Output { topic, partition, record } in answers {
            let append = Append { topic, partition, record };
            self.queues.push(producer, Item { append, owner: Owner::Task(producer) });
        }
    }

    /// A snapshot that may be written, of some task or zombie that has one.
    fn some_snapshot(&mut self) -> Option<Snapshot> {
        let count = self.tasks.len() + self.zombies.len();
        let from = self.rng.below(count);
        let mut all: Vec<&mut SimTask> = self.tasks.iter_mut().chain(&mut self.zombies).collect();
        (0..count).find_map(|i| all[(from + i) % count].snapshot())
    }

    fn write_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Alarm> {
        let Snapshot { source, offset, state, .. } = snapshot;
        let needed = match self.snapshots.write(snapshot) {
            // Another task has removed segments of its chain: its next snapshot begins with a base.
            Err(SnapshotError::Incomplete(_)) => {
                self.trace.note("snapshot refused", format_args!("{source} at {offset}"));
                return Ok(());
            }
            written => written?,
        };
        let retired = self.logs.retire(source.topic, source.partition, needed)?;
        self.retired += retired;
        self.trace.note(
            "snapshot",
            format_args!("{} {} at {offset}, {} bytes, {retired} retired", source.topic, source.partition, state.len()),
        );
        Ok(())
    }

    fn opening(&self) -> Opening<'_> {
        Opening { meta: self.logs.meta(), snapshots: &self.snapshots, library: &self.library, without: self.without }
    }

    /// A new incarnation of a partition's task.
    fn open_task(&mut self, topic: Topic, partition: u16) -> Result<SimTask, Alarm> {
        let producer = self.queues.producer();
        Ok(self.opening().task(&self.logs.partition(topic, partition), producer)?)
    }

    /// The whole process crashes and restarts.
    fn crash(&mut self, loss: Loss) -> Result<(), Alarm> {
        self.trace.note("crash", format_args!("{loss:?}"));
        if !self.plan.frames_outlive || self.rng.percent(50) {
            self.queues.clear();
        }
        self.zombies.clear();
        self.clients.forget(None);
        self.logs.crash(loss)?;
        let last = self.event_clock();
        for edge in &mut self.edges {
            edge.restart(self.queues.producer(), last);
        }
        for at in 0..self.tasks.len() {
            self.tasks[at] = self.open_task(self.tasks[at].topic, self.tasks[at].partition)?;
        }
        self.ledgers.end_zombie();
        self.ledgers.reopen(&self.logs)
    }

    /// The event clock according to the log; before the first event in it, the time of the first line.
    fn event_clock(&self) -> Millis {
        let logged = self.logs.events().last().map_or(0, |e| e.received);
        self.clients.lines().first().map_or(0, |l| l.at).max(logged)
    }

    /// Ends all faults: everything that is sent arrives and is processed.
    fn settle(&mut self) -> Result<(), Alarm> {
        self.trace.note("settle", format_args!(""));
        self.plan.acks_lost = 0;
        self.zombies.clear();
        for _ in 0..TURNS_MAX {
            let mut idle = self.queues.is_empty();
            for batch in self.clients.open() {
                self.send(batch)?;
            }
            while let Some(batch) = self.clients.unsent() {
                self.send(batch)?;
            }
            for at in 0..self.edges.len() {
                self.edges[at].open().into_iter().for_each(|partition| self.flush_partition(at, partition));
            }
            while !self.queues.is_empty() {
                self.round(64)?;
            }
            for at in 0..self.tasks.len() {
                idle &= self.step(at, usize::MAX)? == 0;
            }
            if idle && self.clients.is_done() && self.queues.is_empty() {
                return self.rest();
            }
        }
        hold(false, || "it does not come to rest".to_owned())
    }

    fn rest(&mut self) -> Result<(), Alarm> {
        for task in &self.tasks {
            task.check_at_rest()?;
        }
        // Another writer may have moved on; then this one reads again from there.
        for _ in 0..3 {
            self.ledgers.read(usize::MAX)?;
            self.ledgers.check_nothing_is_missing()?;
            self.ledgers.commit(&mut self.logs)?;
        }
        Ok(())
    }
}
