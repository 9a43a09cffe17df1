//! A fleet on a shared log: edges, workers, ledgers and publishers, each a process of its own, which crash, freeze and take
//! each other's work over while the log, the store and the database stand between them.
//!
//! - [`log`], [`wire`]: the log as Kafka behaves, and what is on its way to it
//! - [`worker`], [`ledgers`], [`publishers`]: the processes, with the real tasks, writers and publishers in them
//! - [`plan`]: what a seed chooses
//! - `turns`: what each process does in its turn, and how all comes to rest
//! - `faults`: what can happen to them
//! - `unrecoverable`: what a fleet cannot recover from by itself, and must notice

mod faults;
pub mod ledgers;
pub mod log;
pub mod plan;
pub mod publishers;
mod turns;
mod unrecoverable;
pub mod wire;
pub mod worker;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ::eventlog::files::memory::Memory;
use ::eventlog::local::meta::Meta;
use ::wire::event::Merchants;
use ::worker::snapshot::Snapshots;
use domain::frame::Frame;
use domain::model::address::Topic;
use domain::model::time::Millis;
use domain::protocol::publish::DOWNSTREAM_FIRST;
use domain::protocol::stage::Marker;

use self::ledgers::Ledgers;
use self::log::{Place, Ruled, SharedLog, Stored};
use self::plan::{Op, Plan};
use self::publishers::{RulesStore, Shared, SimPublisher, Step, books, lock};
use self::wire::Wire;
use self::worker::Worker;
use crate::alarm::{Alarm, hold};
use crate::clients::Clients;
use crate::edge::Edge;
use crate::generate::rng::Rng;
use crate::generate::{Case, generate_with_later};
use crate::oracle::{self, Evidence};
use crate::plan::Switches;
use crate::trace::Trace;

/// Maximum number of steps with faults; after them faults end, and the run must come to rest.
const STEPS_MAX: usize = 8_000;
const SNAPSHOTS: &str = "store/snapshots";
/// Topics that desks read.
const DESKS: [Topic; 3] = [Topic::Scans, Topic::Draws, Topic::Awards];

#[derive(Debug)]
pub struct World {
    rng: Rng,
    pub trace: Trace,
    pub plan: Plan,
    switches: Switches,
    case: Case,
    merchants: Merchants,
    now: Millis,
    /// How far the log's clock is off.
    log_skew: Millis,
    log: SharedLog,
    wire: Wire,
    shelf: Shared,
    disk: Memory,
    snapshots: Snapshots,
    edges: Vec<Edge>,
    clients: Clients,
    workers: Vec<Worker>,
    owner: BTreeMap<Place, usize>,
    /// The offsets that are committed to the group.
    committed: BTreeMap<Place, u64>,
    ledgers: Ledgers,
    presses: Vec<SimPublisher>,
    to_publish: VecDeque<usize>,
    /// What publishers ask for.
    behaviour: u32,
    seats: u64,
    /// After an unrecoverable fault alarms are expected: they are collected.
    alarms: Option<Vec<String>>,
    /// Partitions that stand still at an alarm.
    stopped: BTreeSet<Place>,
}

impl World {
    /// The world of a seed, before anything happens but that its first rules are published.
    ///
    /// # Errors
    /// The ledger cannot be made.
    pub fn new(seed: u64, switches: Switches, keeps_lines: bool) -> Result<Self, Alarm> {
        let mut rng = Rng::new(seed ^ 0xF1EE7);
        let plan = Plan::draw(&mut rng);
        let (case, later) = generate_with_later(seed, plan.events, plan.later);
        let shelf = RulesStore::new(&case.files, &[case.rules_files.clone(), later].concat());
        let merchants =
            Merchants::new(shelf.texts.iter().map(|t| (t.rules.merchant.clone(), t.rules.currency.clone())));
        // Lines say of themselves which scans had no key.
        let merchants = merchants.with_dump_lines();
        let clients = Clients::new(&case.lines, &merchants, &mut rng);
        let now = clients.lines().first().map_or(0, |l| l.at);
        let disk = Memory::default();
        let (first, texts) = (case.rules_files.len(), shelf.texts.len());
        let mut world = Self {
            trace: Trace::new(keeps_lines),
            log: SharedLog::new(Meta::new(u128::from(seed) << 1 | 1, plan.clock, plan.partitions), now),
            snapshots: store(&disk, switches),
            ledgers: Ledgers::new(plan.ledgers, plan.partitions.facts, switches)?,
            merchants,
            now,
            log_skew: 0,
            wire: Wire::default(),
            shelf: Arc::new(Mutex::new(shelf)),
            disk,
            edges: Vec::new(),
            clients,
            workers: Vec::new(),
            owner: BTreeMap::new(),
            committed: BTreeMap::new(),
            presses: Vec::new(),
            to_publish: (first..texts).collect(),
            behaviour: 1,
            seats: 0,
            alarms: None,
            stopped: BTreeSet::new(),
            switches,
            case,
            plan,
            rng,
        };
        world.trace.note("fleet", format_args!("{:?}", world.plan));
        world.publish_first()?;
        world.begin()?;
        Ok(world)
    }

    /// The rules that are there before any process begins.
    fn publish_first(&mut self) -> Result<(), Alarm> {
        for text in 0..self.case.rules_files.len() {
            let mut press = SimPublisher::new(0, text, self.behaviour, &lock(&self.shelf));
            loop {
                let step = press.step(&self.log, &lock(&self.shelf))?;
                let Step::Send(records) = step else { break };
                let now = self.log_now();
                for (place, record) in records {
                    self.log.append(place, record, now);
                }
                press.waits = 0;
            }
        }
        lock(&self.shelf).follow(&self.log)
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
        let places = DESKS.into_iter().flat_map(|topic| (0..partitions.of(topic)).map(move |p| (topic, p)));
        for (place, at) in places.zip((0..self.plan.workers).cycle()) {
            self.owner.insert(place, at);
            self.open(at, place)?;
        }
        Ok(())
    }

    fn new_worker(&mut self, is_new: bool) -> Worker {
        let books = books(&self.shelf);
        Worker {
            producer: self.wire.producer(),
            build: Plan::build(is_new),
            meta: self.log.meta.clone(),
            library: books.now(),
            books,
            seats: Vec::new(),
            taken: BTreeMap::new(),
            frozen: 0,
            to_commit: Vec::new(),
        }
    }

    /// Lets happen what the seed says until every client has its acknowledgement; then heals all and comes to rest.
    ///
    /// # Errors
    /// A process raises an alarm, or raises none where it should.
    pub fn run(&mut self) -> Result<(), Alarm> {
        for _ in 0..STEPS_MAX {
            if self.clients.is_done() && self.to_publish.is_empty() {
                break;
            }
            if let Some(loss) = self.plan.loss.filter(|_| self.clients.are_half_sent()) {
                self.plan.loss = None;
                if self.strike(loss)? {
                    return Ok(());
                }
            }
            let op = self.plan.next(&mut self.rng);
            self.now += if self.rng.percent(10) { self.rng.range(0, 40) } else { 0 };
            self.act(op)?;
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
                if let Some((at, seat)) = self.some_seat() {
                    self.workers[at].seats[seat].take_snapshot();
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
            fault => self.befall(fault),
        }
    }

    fn log_now(&self) -> Millis {
        (self.now + self.log_skew).max(0)
    }

    fn some_skew(&mut self) -> i64 {
        let most = self.plan.skew_ms;
        if self.rng.percent(30) { 0 } else { self.rng.range(-most, most + 1) }
    }

    /// The time of the event clock, as the log shows it; at the beginning, the first event's time.
    fn event_clock(&self) -> Millis {
        let logged = self.log.events(|p| self.log.history((Topic::Scans, p))).last().map_or(0, |e| e.logged.received);
        self.clients.lines().first().map_or(0, |l| l.at).max(logged)
    }

    /// A process notices something impossible. That is wrong, unless there was an unrecoverable fault.
    fn alarm(&mut self, alarm: Alarm) -> Result<(), Alarm> {
        let Some(alarms) = &mut self.alarms else { return Err(alarm) };
        let text = alarm.to_string();
        self.trace.note("alarm", format_args!("{text}"));
        alarms.push(text);
        Ok(())
    }

    /// Holds what the run left behind against the model.
    fn check(&mut self) -> Result<(), Alarm> {
        self.check_rejects()?;
        self.check_markers()?;
        self.check_tables()
    }

    fn check_tables(&mut self) -> Result<(), Alarm> {
        let events = self.log.events(|p| self.log.history((Topic::Scans, p)));
        let evidence = self.evidence(&events)?;
        oracle::check(&evidence)?;
        let tables = evidence.tables;
        tables.values().for_each(|table| self.trace.bytes(table.as_bytes()));
        Ok(())
    }

    fn evidence(&self, events: &[Ruled]) -> Result<Evidence<'_>, Alarm> {
        let shelf = lock(&self.shelf);
        let book = |(order, book): (&u32, &Arc<_>)| {
            let file = shelf.text_of(*order).map(|text| PathBuf::from(&shelf.texts[text].file));
            (*order, (Arc::clone(book), file.expect("a text of the shelf")))
        };
        Ok(Evidence {
            case: &self.case,
            clients: &self.clients,
            edges: self.edges.iter().collect(),
            partitions: self.plan.partitions,
            events: events.iter().map(|e| (e.logged, e.order)).collect(),
            books: shelf.library().iter().map(book).collect(),
            tables: oracle::tables(|table| self.ledgers.db.export(table))?,
        })
    }

    /// Every record of `scans` that is no frame is set aside, and nothing else.
    fn check_rejects(&self) -> Result<(), Alarm> {
        let place = |stored: &Stored| {
            let tag = Frame::open(&stored.bytes).ok()?.tag?;
            Some((tag.source.partition, tag.at.offset))
        };
        let aside: BTreeSet<(u16, u64)> = self.log.history((Topic::Rejects, 0)).iter().filter_map(place).collect();
        let foreign: BTreeSet<(u16, u64)> = self.log.foreign().into_iter().collect();
        hold(aside == foreign, || format!("{foreign:?} are no frames, {aside:?} were set aside"))
    }

    /// Every partition's last markers are what `rules` says.
    fn check_markers(&self) -> Result<(), Alarm> {
        let shelf = lock(&self.shelf);
        for topic in DOWNSTREAM_FIRST {
            for partition in 0..self.plan.partitions.of(topic) {
                let mut last: BTreeMap<&str, u32> = BTreeMap::new();
                for stored in self.log.history((topic, partition)) {
                    let Ok(frame) = Frame::open(&stored.bytes) else { continue };
                    let marker =
                        (frame.kind == domain::frame::Kind::Marker).then(|| frame.items::<Marker<'_>>().next());
                    if let Some(Some(Ok(marker))) = marker {
                        let order = last.entry(marker.merchant).or_default();
                        *order = marker.order.max(*order);
                    }
                }
                for text in &shelf.texts[..self.case.rules_files.len()] {
                    let merchant = &*text.rules.merchant;
                    let (wanted, found) = (shelf.registry.last(merchant).map(|v| v.order), last.get(merchant).copied());
                    hold(wanted == found, || {
                        format!("{topic} {partition} works by rules {found:?} of {merchant}, published are {wanted:?}")
                    })?;
                }
            }
        }
        Ok(())
    }
}

fn store(disk: &Memory, switches: Switches) -> Snapshots {
    let mut snapshots = Snapshots::new(Arc::new(disk.clone()), Path::new(SNAPSHOTS));
    snapshots.safeguards = switches.snapshots;
    snapshots
}
