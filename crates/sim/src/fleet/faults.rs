//! The faults of a fleet.

use std::collections::BTreeSet;
use std::path::Path;

use ::eventlog::files::Files;
use ::eventlog::files::memory::Loss;
use domain::frame::HEADER_BYTES;
use domain::model::address::Topic;
use domain::protocol::stage::marker_record;

use super::plan::{Op, Plan};
use super::worker::SimTask;
use super::{DESKS, SNAPSHOTS, World};
use crate::alarm::Alarm;
use crate::generate::rng::Rng;
use crate::kills::bounds::tight_case;
use crate::kills::{FrameTracker, KILL_PERCENT, KILLS_MAX, Place, SNAPSHOTS_PERCENT};
use crate::safeguards::Without;
use domain::model::address::TopicPartition;

/// Where the header of a frame has the length of its body, and its checksum.
const LENGTH_AT: usize = 68;
const CRC_AT: usize = 72;
const MANIFEST: &str = ".manifest.json";

impl World {
    pub(super) fn inject(&mut self, fault: Op) -> Result<(), Alarm> {
        match fault {
            Op::Lose => {
                if let Some(TopicPartition { topic, partition }) = self.wire.lose(&mut self.rng) {
                    self.trace.note("lost, reported delivered", format_args!("{topic} {partition}"));
                }
                Ok(())
            }
            Op::Doubt => {
                let now = self.log_now();
                let doubt = self.wire.doubt(&mut self.rng, &mut self.log, now);
                let Some((topic_partition, arrived)) = doubt else { return Ok(()) };
                self.trace.note(
                    "unknown outcome",
                    format_args!("{} {}: {arrived} arrived", topic_partition.topic, topic_partition.partition),
                );
                self.arrived(topic_partition)
            }
            Op::Slow => {
                let topic_partitions: Vec<TopicPartition> = self.log.meta.all().collect();
                self.wire.slow = self.rng.percent(80).then(|| *self.rng.pick(&topic_partitions));
                self.trace.note("slow", format_args!("{:?}", self.wire.slow));
                Ok(())
            }
            Op::Rebalance => self.rebalance(),
            Op::Freeze => self.freeze(),
            Op::WorkerCrash => {
                let at = self.rng.below(self.workers.len());
                self.crash_worker(at)
            }
            Op::SnapshotCrash => self.failed_snapshot(true),
            Op::StoreFull => self.failed_snapshot(false),
            Op::OldSnapshot => self.old_snapshot(),
            Op::EdgeCrash | Op::EdgeClock | Op::LogClock => {
                self.edge_fault(fault);
                Ok(())
            }
            Op::LedgerCrash | Op::LedgerFreeze | Op::LedgerRebalance => self.ledger_fault(fault),
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
            _ => unreachable!("{fault:?} is not a fault"),
        }
    }

    /// The fleet of a seed with tight bounds, of which processes are killed between draws and grants, without other faults.
    ///
    /// # Errors
    /// As [`World::new`].
    pub(crate) fn with_kills(seed: u64, without: Without, keeps_lines: bool) -> Result<Self, Alarm> {
        let mut rng = Rng::new(seed ^ 0x4B12);
        let plan = Plan::draw(&mut rng).with_kills();
        let case = tight_case(seed, plan.events);
        let mut world = Self::of(seed, (case, Vec::new()), (plan, rng), without, keeps_lines)?;
        world.kills_left = KILLS_MAX;
        Ok(world)
    }

    /// Kills now and then, if a draw is pending, the process that has it.
    pub(super) fn kill(&mut self) -> Result<(), Alarm> {
        if self.kills_left == 0 || !self.rng.percent(KILL_PERCENT) {
            return Ok(());
        }
        let mut places: Vec<(Place, usize)> = self.places()?.into_iter().collect();
        places.retain(|(place, _)| place.is_due(&Place::FLEET, &self.trace.counts));
        if places.is_empty() {
            return Ok(());
        }
        self.kills_left -= 1;
        let (place, at) = *self.rng.pick(&places);
        self.trace.note(place.as_str(), format_args!("{at}"));
        if place == Place::GrantRead {
            return self.ledgers.crash(at);
        }
        if self.rng.percent(SNAPSHOTS_PERCENT) {
            self.workers[at].tasks.iter_mut().for_each(SimTask::take_snapshot);
            while let Some((from, snapshot)) = self.some_snapshot() {
                self.write_snapshot(from, &snapshot)?;
            }
        }
        let loss = self.some_loss();
        self.disk.crash(loss);
        self.crash_worker(at)
    }

    /// The places at which a draw is, each with its process: a ledger where the grant is read, else a worker.
    fn places(&self) -> Result<BTreeSet<(Place, usize)>, Alarm> {
        let (mut tracker, mut places) = (FrameTracker::default(), BTreeSet::new());
        let awards = TopicPartition::new(Topic::Awards, 0);
        let granting = self.owner[&awards];
        let stored = self.ledgers.db.writer(0..self.plan.partitions.facts, &[])?.inner;
        for facts in stored.partitions() {
            let of = TopicPartition::new(Topic::Facts, facts);
            let (ledger, next) = self.ledgers.reader(facts);
            tracker.applied(of, stored.positions(facts));
            for offset in stored.next_offset(facts)..self.log.bounds(of).end {
                let record = self.log.read(of, offset)?;
                if record.is_some_and(|record| tracker.is_pending(of, offset, &record.bytes)) {
                    let is_read = offset < next;
                    places.insert(if is_read { (Place::GrantRead, ledger) } else { (Place::GrantDurable, granting) });
                }
            }
        }
        self.in_flight(Topic::Facts, Place::GrantSent, &tracker, &mut places);
        let tasks = &self.workers[granting].tasks;
        let task = tasks.iter().find(|task| task.topic_partition == awards && task.left.is_none());
        if let Some((next, positions)) = task.map(SimTask::position) {
            tracker.applied(awards, positions);
            for offset in next..self.log.bounds(awards).end {
                let record = self.log.read(awards, offset)?;
                if record.is_some_and(|record| tracker.is_pending(awards, offset, &record.bytes)) {
                    places.insert((Place::DrawDurable, granting));
                }
            }
        }
        self.in_flight(Topic::Awards, Place::DrawSent, &tracker, &mut places);
        Ok(places)
    }

    /// Records in flight count with the worker that sent them, if it still runs.
    fn in_flight(&self, topic: Topic, place: Place, tracker: &FrameTracker, places: &mut BTreeSet<(Place, usize)>) {
        for (producer, sent) in self.wire.to(topic) {
            let worker = self.workers.iter().position(|worker| worker.producer == producer);
            if tracker.is_pending_in_flight(sent.topic_partition, &sent.record) {
                places.extend(worker.map(|worker| (place, worker)));
            }
        }
    }

    /// A worker ends; another one of the same build, or of a newer one, replaces it.
    fn replace_worker(&mut self, at: usize, is_new: bool) -> Result<(), Alarm> {
        let _ = self.wire.end(self.workers[at].producer, &mut self.rng);
        self.workers[at] = self.new_worker(is_new);
        let own = |(topic_partition, owner): (&TopicPartition, &usize)| (*owner == at).then_some(*topic_partition);
        let topic_partitions: Vec<TopicPartition> = self.owner.iter().filter_map(own).collect();
        topic_partitions.into_iter().try_for_each(|topic_partition| self.open(at, topic_partition))
    }

    pub(super) fn crash_worker(&mut self, at: usize) -> Result<(), Alarm> {
        self.trace.note("worker crash", format_args!("{at}"));
        self.replace_worker(at, self.workers[at].build == Plan::build(true))
    }

    /// Workers are replaced one by one; then rules are published that ask for the new behaviour.
    fn upgrade(&mut self) -> Result<(), Alarm> {
        if let Some(at) = self.workers.iter().position(|w| w.build != Plan::build(true)) {
            self.trace.note("worker upgraded", format_args!("{at}"));
            return self.replace_worker(at, true);
        }
        if self.behaviour == 1 {
            self.behaviour = 2;
            let rules_store = self.rules_store.lock();
            let last = rules_store.registry.published().last().and_then(|version| rules_store.text_of(version.seq));
            self.to_publish.extend(last);
            self.trace.note("behaviour 2", format_args!("{last:?}"));
        }
        Ok(())
    }

    /// Another worker gets a partition; the previous owner continues for a while.
    fn rebalance(&mut self) -> Result<(), Alarm> {
        let topic_partitions: Vec<TopicPartition> = self.owner.keys().copied().collect();
        let (topic_partition, to) = (*self.rng.pick(&topic_partitions), self.rng.below(self.workers.len()));
        self.hand_over(topic_partition, to)
    }

    fn hand_over(&mut self, topic_partition: TopicPartition, to: usize) -> Result<(), Alarm> {
        let from = self.owner[&topic_partition];
        if from == to || self.workers[to].frozen > 0 {
            return Ok(());
        }
        self.trace.note(
            "rebalance",
            format_args!("{} {} from {from} to {to}", topic_partition.topic, topic_partition.partition),
        );
        self.owner.insert(topic_partition, to);
        let left = if self.rng.percent(30) { 0 } else { 1 + self.rng.below(20) };
        let tasks = &mut self.workers[from].tasks;
        tasks
            .iter_mut()
            .filter(|s| s.topic_partition == topic_partition && s.left.is_none())
            .for_each(|task| task.left = Some(left));
        tasks.retain(|task| task.left != Some(0));
        self.workers[from].taken.remove(&topic_partition);
        self.open(to, topic_partition)
    }

    /// A worker freezes until its group has reassigned its partitions; then it continues without knowing it.
    fn freeze(&mut self) -> Result<(), Alarm> {
        let at = self.rng.below(self.workers.len());
        let to = (at + 1) % self.workers.len();
        if self.workers[to].frozen > 0 {
            return Ok(());
        }
        self.workers[at].frozen = 3 + self.rng.below(15);
        self.trace.note("worker frozen", format_args!("{at} for {}", self.workers[at].frozen));
        let own = |(topic_partition, owner): (&TopicPartition, &usize)| (*owner == at).then_some(*topic_partition);
        let topic_partitions: Vec<TopicPartition> = self.owner.iter().filter_map(own).collect();
        topic_partitions.into_iter().try_for_each(|topic_partition| self.hand_over(topic_partition, to))
    }

    /// Some task of a worker that is not frozen.
    pub(super) fn some_task(&mut self) -> Option<(usize, usize)> {
        let at = self.rng.below(self.workers.len());
        let worker = &self.workers[at];
        (worker.frozen == 0 && !worker.tasks.is_empty()).then(|| (at, self.rng.below(worker.tasks.len())))
    }

    /// The store is full in the middle of a snapshot; the process may crash, too.
    fn failed_snapshot(&mut self, crashes: bool) -> Result<(), Alarm> {
        if let Some((at, task)) = self.some_task() {
            self.workers[at].tasks[task].take_snapshot();
        }
        let Some((at, snapshot)) = self.some_snapshot() else { return Ok(()) };
        let space = self.rng.draw() % (snapshot.state.len() as u64 + 400);
        self.trace.note("failed snapshot", format_args!("{} space {space} crashes {crashes}", snapshot.source));
        self.disk.set_room(Some(space));
        let _ = self.snapshots.write(&snapshot);
        self.disk.set_room(None);
        if !crashes {
            return Ok(());
        }
        let loss = self.some_loss();
        self.disk.crash(loss);
        self.crash_worker(at)
    }

    fn some_loss(&mut self) -> Loss {
        match self.rng.below(4) {
            0 => Loss::Nothing,
            1 => Loss::Everything,
            _ => Loss::Torn(self.rng.draw()),
        }
    }

    /// The newest snapshots of a partition are lost, and its task must start from an older one.
    fn old_snapshot(&mut self) -> Result<(), Alarm> {
        let topic_partitions: Vec<TopicPartition> = self.owner.keys().copied().collect();
        let topic_partition = *self.rng.pick(&topic_partitions);
        let dir = Path::new(SNAPSHOTS).join(format!("{}-{}", topic_partition.topic, topic_partition.partition));
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
        self.crash_worker(self.owner[&topic_partition])
    }

    fn edge_fault(&mut self, how: Op) {
        let at = self.rng.below(self.edges.len());
        match how {
            Op::EdgeCrash => {
                self.trace.note("edge crash", format_args!("{at}"));
                let last = self.event_clock();
                let _ = self.wire.end(self.edges[at].producer, &mut self.rng);
                let producer = self.wire.producer();
                self.edges[at].restart(producer, last);
                // No client gets an answer that it waits for, from any edge: clients may always retry.
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

    fn ledger_fault(&mut self, how: Op) -> Result<(), Alarm> {
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

    /// A publisher crashes. Another one may publish its rules, or none does.
    fn crash_publisher(&mut self) {
        if self.publishers.is_empty() {
            return;
        }
        let at = self.rng.below(self.publishers.len());
        let publisher = self.publishers.remove(at);
        let _ = self.wire.end(publisher.producer, &mut self.rng);
        self.trace.note("publisher crash", format_args!("of {}", publisher.text));
        if self.rng.percent(50) {
            self.to_publish.push_front(publisher.text);
        }
    }

    /// A marker that every partition has comes a second time.
    fn marker_again(&mut self) {
        let rules_store = self.rules_store.lock();
        let placed = rules_store.registry.published().iter().filter(|v| rules_store.registry.is_placed(v.seq));
        let records: Vec<Vec<u8>> = placed.map(|version| marker_record(&version.marker())).collect();
        drop(rules_store);
        if records.is_empty() {
            return;
        }
        let (record, topic) = (self.rng.pick(&records).clone(), *self.rng.pick(&DESKS));
        let partition = self.rng.below(usize::from(self.plan.partitions.of(topic)));
        let topic_partition = TopicPartition::new(topic, u16::try_from(partition).expect("few"));
        self.trace.note("marker again", format_args!("{topic} {partition}"));
        self.wire.stray(topic_partition, record);
    }

    /// A record of `scans` is not a frame, or a frame is damaged before it arrives.
    fn foreign(&mut self) {
        let partition = self.rng.below(usize::from(self.plan.partitions.scans));
        let topic_partition = TopicPartition::new(Topic::Scans, u16::try_from(partition).expect("few"));
        let history = self.log.history(topic_partition);
        let mut record = history[self.rng.below(history.len())].bytes.clone();
        match self.rng.below(3) {
            0 => record = (0..self.rng.below(200)).map(|_| self.rng.draw().to_le_bytes()[0]).collect(),
            1 => record.truncate(self.rng.below(record.len().max(1))),
            _ if !record.is_empty() => {
                let at = self.rng.below(record.len());
                let bit = 1 << self.rng.below(8);
                if record.len() >= HEADER_BYTES && (LENGTH_AT..CRC_AT).contains(&at) {
                    // Wrong, and its checksum is right.
                    record[LENGTH_AT] ^= bit;
                    let crc = crc32c::crc32c_append(crc32c::crc32c(&record[..CRC_AT]), &record[CRC_AT + 4..]);
                    record[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
                } else {
                    record[at] ^= bit;
                }
            }
            _ => {}
        }
        if domain::frame::Frame::open(&record).is_err() {
            self.trace.note("no frame", format_args!("{} bytes for scans {partition}", record.len()));
            self.wire.stray(topic_partition, record);
        }
    }
}
