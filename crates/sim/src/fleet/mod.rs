//! A fleet on a shared log: edges, workers, ledgers and publishers, each a process of its own. They crash, freeze and take over
//! each other's work; they share only the log, the snapshot store and the database.
//!
//! - [`log`], [`wire`]: a log that behaves like Kafka, and the records in flight to it
//! - [`worker`], [`ledgers`], [`publishers`]: the processes, with real tasks, writers and publishers
//! - [`plan`]: what a seed chooses
//! - `turns`: what each process does in its turn, and how the fleet comes to rest
//! - `faults`: faults that a fleet survives
//! - `unrecoverable`: faults that a fleet cannot survive by itself, and must detect

mod faults;
pub(crate) mod ledgers;
pub(crate) mod log;
pub(crate) mod plan;
pub(crate) mod publishers;
mod turns;
mod unrecoverable;
pub(crate) mod wire;
pub(crate) mod worker;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::eventlog::files::memory::Memory;
use ::eventlog::local::meta::Meta;
use ::wire::event::Merchants;
use ::worker::snapshot::Snapshots;
use domain::frame::Frame;
use domain::model::address::Topic;
use domain::model::rules::RulesSeq;
use domain::model::time::Millis;
use domain::protocol::publish::DOWNSTREAM_FIRST;
use domain::protocol::stage::Marker;
use parking_lot::Mutex;

use self::ledgers::Ledgers;
use domain::model::address::TopicPartition;

use self::log::{Ruled, SharedLog, Stored};
use self::plan::{Op, Plan};
use self::publishers::{RulesStore, Shared, SimPublisher, Step, rules_cache};
use self::wire::Wire;
use self::worker::Worker;
use crate::SEGMENT_SIZES;
use crate::alarm::{Alarm, hold};
use crate::bundles::Bundler;
use crate::clients::Clients;
use crate::edge::Edge;
use crate::generate::rng::Rng;
use crate::generate::{Case, generate_with_later};
use crate::oracle::{self, Evidence};
use crate::safeguards::Without;
use crate::safeguards::records::are_rewritten;
use crate::safeguards::unsynced_states::snapshot_files;
use crate::trace::Trace;

/// Maximum number of steps before a run must come to rest; after it the faults end.
const STEPS_MAX: usize = 8_000;
const SNAPSHOTS: &str = "store/snapshots";
/// Topics that desks read.
const DESKS: [Topic; 3] = [Topic::Scans, Topic::Draws, Topic::Awards];

#[derive(Debug)]
pub(crate) struct World {
    rng: Rng,
    pub trace: Trace,
    pub plan: Plan,
    without: Without,
    case: Case,
    merchants: Merchants,
    now: Millis,
    /// Error of the log's clock, ms.
    log_skew: Millis,
    log: SharedLog,
    wire: Wire,
    rules_store: Shared,
    disk: Memory,
    snapshots: Snapshots,
    edges: Vec<Edge>,
    clients: Clients,
    workers: Vec<Worker>,
    owner: BTreeMap<TopicPartition, usize>,
    /// The offsets that the group has committed.
    committed: BTreeMap<TopicPartition, u64>,
    ledgers: Ledgers,
    publishers: Vec<SimPublisher>,
    to_publish: VecDeque<usize>,
    /// The behaviour that publishers ask for.
    behaviour: u32,
    tasks_opened: u64,
    /// The alarms since an unrecoverable fault, which must raise some; `None` before it.
    alarms: Option<Vec<String>>,
    /// Partitions that are stopped by an alarm.
    stopped: BTreeSet<TopicPartition>,
    /// Number of kills between a draw and its grant that may still come.
    kills_left: usize,
}

impl World {
    /// The fleet of a seed, with its first rules published and no events.
    ///
    /// # Errors
    /// The ledger cannot be created.
    pub(crate) fn new(seed: u64, without: Without, keeps_lines: bool) -> Result<Self, Alarm> {
        let mut rng = Rng::new(seed ^ 0xF1EE7);
        let plan = Plan::draw(&mut rng);
        let case = generate_with_later(seed, plan.events, plan.later);
        Self::of(seed, case, (plan, rng), without, keeps_lines)
    }

    fn of(
        seed: u64,
        (case, later): (Case, Vec<String>),
        (plan, mut rng): (Plan, Rng),
        without: Without,
        keeps_lines: bool,
    ) -> Result<Self, Alarm> {
        let rules_store = RulesStore::new(&case.files, &[case.rules_files.clone(), later].concat());
        let merchants =
            Merchants::new(rules_store.texts.iter().map(|t| (t.rules.merchant.clone(), t.rules.currency.clone())));
        // Lines mark the scans that are keyless.
        let merchants = merchants.with_dump_lines();
        let clients = Clients::new(&case.lines, &merchants, &mut rng);
        let now = clients.lines().first().map_or(0, |l| l.at);
        let disk = Memory::default();
        let (first, texts) = (case.rules_files.len(), rules_store.texts.len());
        let mut world = Self {
            trace: Trace::new(keeps_lines),
            log: SharedLog::new(Meta::new(u128::from(seed) << 1 | 1, plan.clock, plan.partitions), now),
            snapshots: store(&disk, without),
            ledgers: Ledgers::new(plan.ledgers, plan.partitions.facts, without)?,
            merchants,
            now,
            log_skew: 0,
            wire: Wire::new(Bundler::new(seed, are_rewritten(without))),
            rules_store: Arc::new(Mutex::new(rules_store)),
            disk,
            edges: Vec::new(),
            clients,
            workers: Vec::new(),
            owner: BTreeMap::new(),
            committed: BTreeMap::new(),
            publishers: Vec::new(),
            to_publish: (first..texts).collect(),
            behaviour: 1,
            tasks_opened: 0,
            alarms: None,
            stopped: BTreeSet::new(),
            kills_left: 0,
            without,
            case,
            plan,
            rng,
        };
        world.trace.note("fleet", format_args!("{:?}", world.plan));
        world.publish_first()?;
        world.begin()?;
        Ok(world)
    }

    /// Publishes the first rules, before any process starts.
    fn publish_first(&mut self) -> Result<(), Alarm> {
        for text in 0..self.case.rules_files.len() {
            let mut publisher = SimPublisher::new(0, text, self.behaviour, &self.rules_store.lock());
            loop {
                let step = publisher.step(&self.log, &self.rules_store.lock())?;
                let Step::Send(records) = step else { break };
                let now = self.log_now();
                for (topic_partition, record) in records {
                    self.log.append(topic_partition, record, now);
                }
                publisher.waits = 0;
            }
        }
        self.rules_store.lock().follow(&self.log)
    }

    fn begin(&mut self) -> Result<(), Alarm> {
        let last = self.event_clock();
        for _ in 0..self.plan.edges {
            let mut edge = Edge::new(self.wire.producer(), last);
            edge.skew = self.some_skew();
            self.edges.push(edge);
        }
        for _ in 0..self.plan.workers {
            let worker = self.new_worker(false);
            self.workers.push(worker);
        }
        let partitions = self.plan.partitions;
        let topic_partitions =
            DESKS.into_iter().flat_map(|topic| (0..partitions.of(topic)).map(move |p| TopicPartition::new(topic, p)));
        for (topic_partition, at) in topic_partitions.zip((0..self.plan.workers).cycle()) {
            self.owner.insert(topic_partition, at);
            self.open(at, topic_partition)?;
        }
        Ok(())
    }

    fn new_worker(&mut self, is_new: bool) -> Worker {
        let rules_cache = rules_cache(&self.rules_store);
        Worker {
            producer: self.wire.producer(),
            build: Plan::build(is_new),
            meta: self.log.meta.clone(),
            library: rules_cache.now(),
            rules_cache,
            tasks: Vec::new(),
            taken: BTreeMap::new(),
            frozen: 0,
            to_commit: Vec::new(),
        }
    }

    /// Runs the steps of the seed until every client has its acknowledgement; then ends all faults and comes to rest.
    ///
    /// # Errors
    /// A process raises an alarm, or fails to raise one after an unrecoverable fault.
    pub(crate) fn run(&mut self) -> Result<(), Alarm> {
        for _ in 0..STEPS_MAX {
            if self.clients.is_done() && self.to_publish.is_empty() {
                break;
            }
            if let Some(unrecoverable) = self.plan.unrecoverable.filter(|_| self.clients.are_half_sent()) {
                self.plan.unrecoverable = None;
                if self.strike(unrecoverable)? {
                    return Ok(());
                }
            }
            let op = self.plan.next(&mut self.rng);
            self.now += if self.rng.percent(10) { self.rng.range(0, 40) } else { 0 };
            self.act(op)?;
            self.kill()?;
        }
        self.settle()?;
        self.check()
    }

    fn act(&mut self, op: Op) -> Result<(), Alarm> {
        match op {
            Op::Send => self.clients.unsent().map_or(Ok(()), |batch| self.send(batch)),
            Op::Retry => {
                let open = self.clients.open();
                let batch = (!open.is_empty()).then(|| *self.rng.pick(&open));
                batch.map_or(Ok(()), |batch| self.send(batch))
            }
            Op::Flush => {
                let at = self.rng.below(self.edges.len());
                let open = self.edges[at].open();
                let partition = (!open.is_empty()).then(|| *self.rng.pick(&open));
                partition.into_iter().for_each(|partition| self.flush(at, partition));
                Ok(())
            }
            Op::Hear => {
                let at = self.rng.below(self.edges.len());
                self.hear_edge(at);
                Ok(())
            }
            Op::Deliver => self.deliver().map(drop),
            Op::Work => {
                let (at, most) = (self.rng.below(self.workers.len()), 1 + self.rng.below(12));
                self.work(at, most)
            }
            Op::TakeSnapshot => {
                if let Some((at, task)) = self.some_task() {
                    self.workers[at].tasks[task].take_snapshot();
                }
                Ok(())
            }
            Op::WriteSnapshot => self.some_snapshot().map_or(Ok(()), |(at, s)| self.write_snapshot(at, &s)),
            Op::CommitOffsets => {
                let at = self.rng.below(self.workers.len());
                if self.workers[at].frozen == 0 {
                    self.committed.extend(self.workers[at].to_commit.drain(..));
                }
                Ok(())
            }
            Op::ReadFacts => {
                let (at, most) = (self.rng.below(self.ledgers.len()), 1 + self.rng.below(20));
                if self.ledgers.turn(at) { self.read_facts(at, most).map(drop) } else { Ok(()) }
            }
            Op::CommitFacts => {
                let at = self.rng.below(self.ledgers.len());
                if self.ledgers.turn(at) { self.commit_facts(at) } else { Ok(()) }
            }
            Op::Publish => self.publish(),
            Op::Retain => self.retain(),
            fault => self.inject(fault),
        }
    }

    fn log_now(&self) -> Millis {
        (self.now + self.log_skew).max(0)
    }

    fn some_skew(&mut self) -> i64 {
        let most = self.plan.skew_ms;
        if self.rng.percent(30) { 0 } else { self.rng.range(-most, most + 1) }
    }

    /// The event clock according to the log; before the first event in it, the time of the first line.
    fn event_clock(&self) -> Millis {
        let logged = self
            .log
            .events(|p| self.log.history(TopicPartition::new(Topic::Scans, p)))
            .last()
            .map_or(0, |e| e.logged.received);
        self.clients.lines().first().map_or(0, |l| l.at).max(logged)
    }

    /// A process detects an inconsistency. That is an error, except after an unrecoverable fault.
    fn alarm(&mut self, alarm: Alarm) -> Result<(), Alarm> {
        let Some(alarms) = &mut self.alarms else { return Err(alarm) };
        let text = alarm.to_string();
        self.trace.note("alarm", format_args!("{text}"));
        alarms.push(text);
        Ok(())
    }

    /// Compares the result of the run with the model.
    fn check(&mut self) -> Result<(), Alarm> {
        self.check_rejects()?;
        self.check_markers()?;
        self.check_tables()
    }

    fn check_tables(&mut self) -> Result<(), Alarm> {
        let events = self.log.events(|p| self.log.history(TopicPartition::new(Topic::Scans, p)));
        let evidence = self.evidence(&events)?;
        let compared = oracle::check(&evidence)?;
        let tables = evidence.tables;
        self.trace.count(compared);
        tables.values().for_each(|table| self.trace.bytes(table.as_bytes()));
        Ok(())
    }

    fn evidence(&self, events: &[Ruled]) -> Result<Evidence<'_>, Alarm> {
        let rules_store = self.rules_store.lock();
        let book = |(seq, book): (&RulesSeq, &Arc<_>)| {
            let file = rules_store.text_of(*seq).map(|text| PathBuf::from(&rules_store.texts[text].file));
            (*seq, (Arc::clone(book), file.expect("a text of the store")))
        };
        let facts = (0..self.plan.partitions.facts).map(|p| TopicPartition::new(Topic::Facts, p));
        Ok(Evidence {
            case: &self.case,
            clients: &self.clients,
            edges: self.edges.iter().collect(),
            partitions: self.plan.partitions,
            events: events.iter().map(|e| (e.logged, e.rules)).collect(),
            rulebooks: rules_store.library().iter().map(book).collect(),
            tables: oracle::tables(|table| self.ledgers.db.export(table))?,
            database: &self.ledgers.db,
            facts: facts.flat_map(|p| self.log.history(p)).map(|stored| &*stored.bytes).collect(),
        })
    }

    /// `rejects` has a copy of every record of `scans` that is not a frame, and nothing else.
    fn check_rejects(&self) -> Result<(), Alarm> {
        let source = |stored: &Stored| {
            let tag = Frame::open(&stored.bytes).ok()?.tag?;
            Some((tag.source.partition, tag.at.offset))
        };
        let rejected: BTreeSet<(u16, u64)> =
            self.log.history(TopicPartition::new(Topic::Rejects, 0)).iter().filter_map(source).collect();
        let foreign: BTreeSet<(u16, u64)> = self.log.foreign().into_iter().collect();
        hold(rejected == foreign, || format!("{foreign:?} are not frames, {rejected:?} are in rejects"))
    }

    /// The last markers of every partition are the last versions in `rules`.
    fn check_markers(&self) -> Result<(), Alarm> {
        let rules_store = self.rules_store.lock();
        for topic in DOWNSTREAM_FIRST {
            for partition in 0..self.plan.partitions.of(topic) {
                let mut last: BTreeMap<&str, RulesSeq> = BTreeMap::new();
                for stored in self.log.history(TopicPartition::new(topic, partition)) {
                    let Ok(frame) = Frame::open(&stored.bytes) else { continue };
                    let marker =
                        (frame.kind == domain::frame::Kind::Marker).then(|| frame.items::<Marker<'_>>().next());
                    if let Some(Some(Ok(marker))) = marker {
                        let known = last.entry(marker.merchant).or_default();
                        *known = marker.seq.max(*known);
                    }
                }
                for text in &rules_store.texts[..self.case.rules_files.len()] {
                    let merchant = &*text.rules.merchant;
                    let (wanted, found) =
                        (rules_store.registry.last(merchant).map(|v| v.seq), last.get(merchant).copied());
                    hold(wanted == found, || {
                        format!(
                            "{topic} {partition} has rules {found:?} of {merchant} in force, published are {wanted:?}"
                        )
                    })?;
                }
            }
        }
        Ok(())
    }
}

fn store(disk: &Memory, without: Without) -> Snapshots {
    Snapshots::new(snapshot_files(without, disk), Path::new(SNAPSHOTS)).with_sizes(SEGMENT_SIZES)
}
