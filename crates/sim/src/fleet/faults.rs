//! Faults of a fleet.

use std::path::Path;

use ::eventlog::files::Files;
use ::eventlog::files::memory::Loss;
use domain::model::address::Topic;
use domain::protocol::stage::marker_record;

use super::log::Place;
use super::plan::{Op, Plan};
use super::publishers::lock;
use super::{DESKS, SNAPSHOTS, World};
use crate::alarm::Alarm;

const MANIFEST: &str = ".manifest.json";

impl World {
    pub(super) fn befall(&mut self, fault: Op) -> Result<(), Alarm> {
        match fault {
            Op::Lose => {
                if let Some((topic, partition)) = self.wire.lose(&mut self.rng) {
                    self.trace.note("lost, reported delivered", format_args!("{topic} {partition}"));
                }
                Ok(())
            }
            Op::Doubt => {
                let now = self.log_now();
                let doubt = self.wire.doubt(&mut self.rng, &mut self.log, now);
                let Some((place, arrived)) = doubt else { return Ok(()) };
                self.trace.note("unknown outcome", format_args!("{} {}: {arrived} arrived", place.0, place.1));
                self.arrived(place)
            }
            Op::Slow => {
                let places: Vec<Place> = self.log.meta.all().collect();
                self.wire.slow = self.rng.percent(80).then(|| *self.rng.pick(&places));
                self.trace.note("slow", format_args!("{:?}", self.wire.slow));
                Ok(())
            }
            Op::Rebalance => self.rebalance(),
            Op::Freeze => self.freeze(),
            Op::WorkerCrash => {
                let at = self.rng.below(self.workers.len());
                self.crash_worker(at)
            }
            Op::SnapshotCrash => self.hurt_snapshot(true),
            Op::StoreFull => self.hurt_snapshot(false),
            Op::OldSnapshot => self.old_snapshot(),
            Op::EdgeCrash | Op::EdgeClock | Op::LogClock => {
                self.hurt_edge(fault);
                Ok(())
            }
            Op::LedgerCrash | Op::LedgerFreeze | Op::LedgerRebalance => self.hurt_ledger(fault),
            Op::PublisherCrash => {
                self.crash_publisher();
                Ok(())
            }
            Op::MarkerAgain => {
                self.marker_again();
                Ok(())
            }
            Op::Foreign => {
                self.foreign();
                Ok(())
            }
            Op::Upgrade => self.upgrade(),
            _ => unreachable!("{fault:?} is work"),
        }
    }

    /// A process is gone; another one of the same build, or of a newer one, takes its place.
    fn replace_worker(&mut self, at: usize, is_new: bool) -> Result<(), Alarm> {
        let _ = self.wire.end(self.workers[at].producer, &mut self.rng);
        self.workers[at] = self.new_worker(is_new);
        let own = |(place, owner): (&Place, &usize)| (*owner == at).then_some(*place);
        let places: Vec<Place> = self.owner.iter().filter_map(own).collect();
        places.into_iter().try_for_each(|place| self.open(at, place))
    }

    pub(super) fn crash_worker(&mut self, at: usize) -> Result<(), Alarm> {
        self.trace.note("worker crash", format_args!("{at}"));
        self.replace_worker(at, self.workers[at].build == Plan::build(true))
    }

    /// Workers are replaced one by one; then rules are published that ask for what the new ones know.
    fn upgrade(&mut self) -> Result<(), Alarm> {
        if let Some(at) = self.workers.iter().position(|w| w.build != Plan::build(true)) {
            self.trace.note("worker upgraded", format_args!("{at}"));
            return self.replace_worker(at, true);
        }
        if self.behaviour == 1 {
            self.behaviour = 2;
            let shelf = lock(&self.shelf);
            let last = shelf.registry.published().last().and_then(|version| shelf.text_of(version.order));
            self.to_publish.extend(last);
            self.trace.note("behaviour 2", format_args!("{last:?}"));
        }
        Ok(())
    }

    /// A partition is another worker's; the one that had it goes on for a while.
    fn rebalance(&mut self) -> Result<(), Alarm> {
        let places: Vec<Place> = self.owner.keys().copied().collect();
        let (place, to) = (*self.rng.pick(&places), self.rng.below(self.workers.len()));
        self.hand_over(place, to)
    }

    fn hand_over(&mut self, place: Place, to: usize) -> Result<(), Alarm> {
        let from = self.owner[&place];
        if from == to || self.workers[to].frozen > 0 {
            return Ok(());
        }
        self.trace.note("rebalance", format_args!("{} {} from {from} to {to}", place.0, place.1));
        self.owner.insert(place, to);
        let left = if self.rng.percent(30) { 0 } else { 1 + self.rng.below(20) };
        let seats = &mut self.workers[from].seats;
        seats.iter_mut().filter(|s| s.place == place && s.left.is_none()).for_each(|seat| seat.left = Some(left));
        seats.retain(|seat| seat.left != Some(0));
        self.workers[from].taken.remove(&place);
        self.open(to, place)
    }

    /// A worker stands still until its group gives its partitions away; then it goes on without knowing it.
    fn freeze(&mut self) -> Result<(), Alarm> {
        let at = self.rng.below(self.workers.len());
        let to = (at + 1) % self.workers.len();
        if self.workers[to].frozen > 0 {
            return Ok(());
        }
        self.workers[at].frozen = 3 + self.rng.below(15);
        self.trace.note("worker frozen", format_args!("{at} for {}", self.workers[at].frozen));
        let own = |(place, owner): (&Place, &usize)| (*owner == at).then_some(*place);
        let places: Vec<Place> = self.owner.iter().filter_map(own).collect();
        places.into_iter().try_for_each(|place| self.hand_over(place, to))
    }

    /// Some task of a worker that is awake.
    pub(super) fn some_seat(&mut self) -> Option<(usize, usize)> {
        let at = self.rng.below(self.workers.len());
        let worker = &self.workers[at];
        (worker.frozen == 0 && !worker.seats.is_empty()).then(|| (at, self.rng.below(worker.seats.len())))
    }

    /// The store is full in the middle of a snapshot, and perhaps the process is gone.
    fn hurt_snapshot(&mut self, crashes: bool) -> Result<(), Alarm> {
        if let Some((at, seat)) = self.some_seat() {
            self.workers[at].seats[seat].take_snapshot();
        }
        let Some((at, snapshot)) = self.some_snapshot() else { return Ok(()) };
        let room = self.rng.draw() % (snapshot.state.len() as u64 + 400);
        self.trace.note("hurt snapshot", format_args!("{} room {room} crashes {crashes}", snapshot.source));
        self.disk.set_room(Some(room));
        let _ = self.snapshots.write(&snapshot);
        self.disk.set_room(None);
        if !crashes {
            return Ok(());
        }
        let loss = match self.rng.below(4) {
            0 => Loss::Nothing,
            1 => Loss::Everything,
            _ => Loss::Torn(self.rng.draw()),
        };
        self.disk.crash(loss);
        self.crash_worker(at)
    }

    /// The newest snapshots of a partition are gone, and its task has to begin from an older one.
    fn old_snapshot(&mut self) -> Result<(), Alarm> {
        let places: Vec<Place> = self.owner.keys().copied().collect();
        let place = *self.rng.pick(&places);
        let dir = Path::new(SNAPSHOTS).join(format!("{}-{}", place.0, place.1));
        let names = self.disk.list(&dir).unwrap_or_default();
        let manifests: Vec<&String> = names.iter().filter(|name| name.ends_with(MANIFEST)).collect();
        if manifests.len() < 2 {
            return Ok(());
        }
        let kept = 1 + self.rng.below(manifests.len() - 1);
        for name in &manifests[kept..] {
            self.disk.remove(&dir.join(name)).expect("it was listed");
        }
        self.disk.sync_dir(&dir).expect("a disk in memory");
        self.trace.note("old snapshot", format_args!("{}: {kept} kept", dir.display()));
        self.crash_worker(self.owner[&place])
    }

    fn hurt_edge(&mut self, how: Op) {
        let at = self.rng.below(self.edges.len());
        match how {
            Op::EdgeCrash => {
                self.trace.note("edge crash", format_args!("{at}"));
                let last = self.event_clock();
                let _ = self.wire.end(self.edges[at].producer, &mut self.rng);
                let producer = self.wire.producer();
                self.edges[at].restart(producer, last);
                // No client that waits for an answer gets one, whatever its edge: it asks again, which is always allowed.
                self.clients.forget(None);
            }
            Op::EdgeClock => {
                self.edges[at].skew = self.some_skew();
                self.trace.note("edge clock", format_args!("{at}: {}", self.edges[at].skew));
            }
            _ => {
                let most = self.plan.skew_ms.min(2_000);
                self.log_skew = self.rng.range(-most, most + 1);
                self.trace.note("log clock", format_args!("{}", self.log_skew));
            }
        }
    }

    fn hurt_ledger(&mut self, how: Op) -> Result<(), Alarm> {
        let at = self.rng.below(self.ledgers.len());
        match how {
            Op::LedgerCrash => {
                self.trace.note("ledger crash", format_args!("{at}"));
                self.ledgers.crash(at)
            }
            Op::LedgerFreeze => {
                let (turns, late) = (2 + self.rng.below(8), 1 + self.rng.below(6));
                self.trace.note("ledger frozen", format_args!("{at} for {turns}"));
                self.ledgers.freeze(at, turns, late)
            }
            _ => {
                let facts = u16::try_from(self.rng.below(usize::from(self.plan.partitions.facts))).expect("few");
                let late = 1 + self.rng.below(6);
                self.trace.note("ledger rebalance", format_args!("facts {facts} to {at}"));
                self.ledgers.hand_over(facts, at, late)
            }
        }
    }

    /// A publisher is gone. Its rules are perhaps published again, or never.
    fn crash_publisher(&mut self) {
        if self.presses.is_empty() {
            return;
        }
        let at = self.rng.below(self.presses.len());
        let press = self.presses.remove(at);
        let _ = self.wire.end(press.producer, &mut self.rng);
        self.trace.note("publisher crash", format_args!("of {}", press.text));
        if self.rng.percent(50) {
            self.to_publish.push_front(press.text);
        }
    }

    /// A marker that stands everywhere comes a second time.
    fn marker_again(&mut self) {
        let shelf = lock(&self.shelf);
        let placed = shelf.registry.published().iter().filter(|v| shelf.registry.is_placed(v.order));
        let records: Vec<Vec<u8>> = placed.map(|version| marker_record(&version.marker())).collect();
        drop(shelf);
        if records.is_empty() {
            return;
        }
        let (record, topic) = (self.rng.pick(&records).clone(), *self.rng.pick(&DESKS));
        let partition = self.rng.below(usize::from(self.plan.partitions.of(topic)));
        let place = (topic, u16::try_from(partition).expect("few"));
        self.trace.note("marker again", format_args!("{topic} {partition}"));
        self.wire.stray(place, record);
    }

    /// A stranger writes into `scans` what is no frame, or a frame is damaged before it arrives.
    fn foreign(&mut self) {
        let partition = self.rng.below(usize::from(self.plan.partitions.scans));
        let place = (Topic::Scans, u16::try_from(partition).expect("few"));
        let history = self.log.history(place);
        let mut record = history[self.rng.below(history.len())].bytes.clone();
        match self.rng.below(3) {
            0 => record = (0..self.rng.below(200)).map(|_| self.rng.draw().to_le_bytes()[0]).collect(),
            1 => record.truncate(self.rng.below(record.len().max(1))),
            _ if !record.is_empty() => {
                let at = self.rng.below(record.len());
                record[at] ^= 1 << self.rng.below(8);
            }
            _ => {}
        }
        if domain::frame::Frame::open(&record).is_err() {
            self.trace.note("no frame", format_args!("{} bytes for scans {partition}", record.len()));
            self.wire.stray(place, record);
        }
    }
}
