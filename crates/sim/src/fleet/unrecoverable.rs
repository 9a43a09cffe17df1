//! What a fleet cannot recover from by itself: it must be noticed, and nothing may go on as if nothing had happened.

use ::eventlog::files::memory::Memory;
use ::eventlog::local::meta::Meta;
use domain::model::address::Topic;

use super::ledgers::Ledgers;
use super::log::{Place, SharedLog, Stored};
use super::plan::Unrecoverable;
use super::publishers::lock;
use super::{World, store};
use crate::alarm::{Alarm, hold};
use crate::oracle;

/// Number of times that everything is sent again, so that readers come beyond what was lost.
const AGAIN_MAX: usize = 6;
/// What the shopper desk alone decides.
const OF_SCANS: [&str; 4] = ["postings", "orders", "members", "funnels"];

/// Records that a broker has lost, from an offset on.
#[derive(Debug)]
struct Lost {
    place: Place,
    from: u64,
    records: Vec<Stored>,
}

impl World {
    /// Applies an unrecoverable fault; returns whether the run is over.
    pub(super) fn strike(&mut self, loss: Unrecoverable) -> Result<bool, Alarm> {
        match loss {
            Unrecoverable::Recreated => self.recreated().map(|()| false),
            Unrecoverable::Truncated => self.truncated(),
            Unrecoverable::Overtaken => self.overtaken(),
        }
    }

    /// Every topic is made anew, store and ledger stay as they are. No process goes on; then an operator begins anew.
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
        let kept: Vec<Place> = self.snapshots.list()?.iter().map(|l| (l.topic, l.partition)).collect();
        self.another_log()?;
        self.traffic(&self.clients.sent().collect::<Vec<_>>())?;
        self.refuse_ledgers(&scans.keys().copied().collect::<Vec<_>>())?;
        let after = oracle::tables(|table| self.ledgers.db.export(table))?;
        hold(before == after, || "the ledger changed under another log".to_owned())?;

        // Lanes whose consumers failed know the old log; processes that begin anew, the new one.
        for is_new in [false, true] {
            for at in 0..self.workers.len() {
                self.workers[at].seats.clear();
                self.workers[at].taken.clear();
                self.workers[at].meta = if is_new { self.log.meta.clone() } else { known.clone() };
                self.refuse_stations(at, &kept, is_new)?;
            }
        }
        self.begin_anew()
    }

    fn another_log(&mut self) -> Result<(), Alarm> {
        self.wire.clear();
        self.clients.forget(None);
        self.presses.clear();
        // It is made later than anything in the one before.
        (self.now, self.log_skew) = (self.now + 5_000, 0);
        let meta = Meta::new(u128::MAX - u128::from(self.rng.draw()), self.plan.clock, self.plan.partitions);
        self.log = SharedLog::new(meta, self.log_now());
        lock(&self.shelf).forget();
        self.publish_first()
    }

    /// Clients send some batches, perhaps not for the first time.
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

    /// No task goes on from what is another log's. One that has nothing begins where a new process would.
    fn refuse_stations(&mut self, at: usize, kept: &[Place], is_new: bool) -> Result<(), Alarm> {
        let own = |(place, owner): (&Place, &usize)| (*owner == at).then_some(*place);
        let places: Vec<Place> = self.owner.iter().filter_map(own).collect();
        for place in places {
            self.alarms = Some(Vec::new());
            self.open(at, place)?;
            if let Some(seat) = self.workers[at].seats.iter().position(|seat| seat.place == place) {
                let done = self.workers[at].step(seat, &self.log, usize::MAX);
                done.map(drop).or_else(|error| self.alarm(error.into()))?;
            }
            self.workers[at].seats.clear();
            let is_refused = self.alarms.take().is_some_and(|alarms| !alarms.is_empty());
            let has_nothing = is_new && !kept.contains(&place);
            let (topic, partition) = place;
            hold(is_refused || has_nothing, || format!("{topic} {partition} goes on in another log"))?;
            hold(!(is_refused && has_nothing), || format!("{topic} {partition} begins with nothing, and is refused"))?;
            self.stopped.clear();
        }
        Ok(())
    }

    /// Neither does the ledger, even where the tasks do because their store was emptied: it asks when it begins.
    fn refuse_ledgers(&mut self, scans: &[u16]) -> Result<(), Alarm> {
        let asks = self.ledgers.check_log(&self.log.meta).is_err();
        if self.switches.guards.log_id {
            hold(asks != scans.is_empty(), || format!("the ledger of another log is refused: {asks}"))?;
        }
        let kept = (self.disk.clone(), self.snapshots.clone());
        self.disk = Memory::default();
        self.snapshots = store(&self.disk, self.switches);
        self.committed.clear();
        (0..self.workers.len()).try_for_each(|at| self.crash_worker(at))?;
        self.alarms = Some(Vec::new());
        self.heal()?;
        for _ in 0..self.plan.partitions.facts {
            self.works_off()?;
        }
        self.alarms = None;
        (self.disk, self.snapshots) = kept;
        // Where it does not ask, the first frame of a topic that it knows still shows it.
        for (facts, next) in self.ledgers.db.progress()? {
            let holds_something = scans.iter().any(|scans| scans % self.plan.partitions.facts == facts);
            let is_read = self.log.bounds((Topic::Facts, facts)).end != next;
            hold(asks || !holds_something || !is_read || self.ledgers.stopped.contains(&facts), || {
                format!("facts {facts} are read on at {next} in another log")
            })?;
        }
        Ok(())
    }

    /// An operator empties store and ledger, and every process begins with the log that there is.
    fn begin_anew(&mut self) -> Result<(), Alarm> {
        self.trace.note("begun anew", format_args!(""));
        self.disk = Memory::default();
        self.snapshots = store(&self.disk, self.switches);
        self.ledgers = Ledgers::new(self.plan.ledgers, self.plan.partitions.facts, self.switches)?;
        self.committed.clear();
        self.clients.begin_again();
        (0..self.workers.len()).try_for_each(|at| self.crash_worker(at))
    }

    /// A broker loses acknowledged records and takes others in their place. What was read of it and left its traces does not
    /// fit what follows.
    fn truncated(&mut self) -> Result<bool, Alarm> {
        let is_quiet = self.some_quiet()?;
        let Some((place, known)) = self.some_known()? else { return Ok(false) };
        let from = 1 + self.rng.draw() % (known - 1);
        let end = self.log.bounds(place).end;
        self.trace.note("truncated", format_args!("{} {} from {from}, {known} of {end} known", place.0, place.1));
        let lost = Lost { place, from, records: self.log.cut(place, from) };
        self.alarms = Some(Vec::new());
        self.heal()?;
        // Its readers hear of it (KIP-320), before or after others have come in the place of what was lost.
        if self.rng.percent(50) {
            self.traffic(&self.clients.sent().collect::<Vec<_>>())?;
        }
        self.fail_feed(place)?;
        for _ in 0..AGAIN_MAX {
            self.traffic(&self.clients.sent().collect::<Vec<_>>())?;
            self.works_off()?;
            if self.log.bounds(place).end > end + 1 {
                break;
            }
        }
        self.fail_feed(place)?;
        self.traffic(&self.clients.sent().collect::<Vec<_>>())?;
        self.works_off()?;
        self.rest()?;
        if self.alarms.as_ref().is_some_and(Vec::is_empty) {
            // No reader has missed it so far; a reader that misses it later is in time, since nothing depended on it before.
            self.settle()?;
        }
        let alarms = self.alarms.take().unwrap_or_default();
        if alarms.is_empty() {
            self.trace.note("not missed", format_args!("{} {}", place.0, place.1));
            self.check_tables()?;
            return Ok(true);
        }
        let is_noticed = alarms.iter().any(|a| NOTICED.iter().any(|n| a.contains(n)));
        hold(is_noticed, || format!("lost records were not noticed: {alarms:?}"))?;
        if is_quiet { self.as_of(&lost).map(|()| true) } else { Ok(true) }
    }

    /// A partition that is known up to an offset: everything before it has left its traces behind it.
    fn some_known(&mut self) -> Result<Option<(Place, u64)>, Alarm> {
        let mut known = Vec::new();
        for seat in self.workers.iter().flat_map(|w| &w.seats).filter(|seat| seat.left.is_none()) {
            // No reader misses a lost last frame before the next one comes: only what is known to the end counts.
            let is_whole = seat.place.0 == Topic::Scans || seat.settled() == self.log.bounds(seat.place).end;
            known.extend(is_whole.then_some((seat.place, seat.settled())));
        }
        for (facts, next) in self.ledgers.db.progress()? {
            let place = (Topic::Facts, facts);
            known.extend((next == self.log.bounds(place).end).then_some((place, next)));
        }
        known.retain(|(place, known)| *known >= 3 && self.log.bounds(*place).start == 0);
        Ok((!known.is_empty()).then(|| *self.rng.pick(&known)))
    }

    /// A reader of a partition learns from its consumer that something is wrong, and begins again.
    fn fail_feed(&mut self, place: Place) -> Result<(), Alarm> {
        if place.0 == Topic::Facts { self.ledgers.heal() } else { self.begin_again(self.owner[&place]) }
    }

    /// Every process that is not stopped works until nothing is to be done.
    fn works_off(&mut self) -> Result<(), Alarm> {
        for _ in 0..50 {
            if self.turn()? {
                break;
            }
        }
        (0..self.ledgers.len()).try_for_each(|at| self.read_facts(at, usize::MAX).map(drop))
    }

    /// Perhaps nothing is in flight when the fault happens. Then no answer is there in part, and the ledger can be compared
    /// with the log as far as it goes.
    fn some_quiet(&mut self) -> Result<bool, Alarm> {
        let is_quiet = self.rng.percent(60);
        if is_quiet {
            self.heal()?;
            self.works_off()?;
            (0..self.ledgers.len()).try_for_each(|at| self.commit_facts(at))?;
        }
        Ok(is_quiet)
    }

    /// The log lets go of what a reader still needs.
    fn overtaken(&mut self) -> Result<bool, Alarm> {
        let is_quiet = self.some_quiet()?;
        let mut needed: Vec<(Place, u64)> = self.owner.keys().map(|place| (*place, 0)).collect();
        for listed in self.snapshots.list()? {
            let place = (listed.topic, listed.partition);
            needed.iter_mut().filter(|(p, _)| *p == place).for_each(|(_, offset)| *offset = listed.offset);
        }
        let progress = self.ledgers.db.progress()?;
        needed.extend(progress.iter().map(|(&facts, &next)| ((Topic::Facts, facts), next)));
        needed.retain(|(place, offset)| *offset < self.log.bounds(*place).end);
        if needed.is_empty() {
            return Ok(false);
        }
        let (place, offset) = *self.rng.pick(&needed);
        let end = self.log.bounds(place).end;
        let start = offset + 1 + self.rng.draw() % (end - offset);
        self.trace.note("overtaken", format_args!("{} {}: {offset} needed, {start} is there", place.0, place.1));
        self.log.retire(place, start);
        self.alarms = Some(Vec::new());
        self.heal()?;
        self.fail_feed(place)?;
        self.works_off()?;
        self.rest()?;
        let alarms = self.alarms.take().unwrap_or_default();
        let start = self.log.bounds(place).start;
        let named =
            format!("{} partition {}: offset {offset} was asked for, the log begins at {start}", place.0, place.1);
        hold(alarms.iter().any(|a| a.contains(&named)), || format!("not {named}: {alarms:?}"))?;
        let lost = Lost { place, from: end, records: Vec::new() };
        if is_quiet { self.as_of(&lost).map(|()| true) } else { Ok(true) }
    }

    /// The ledger is right as far as it goes: it holds what the log said up to the frames that it stopped at.
    fn as_of(&mut self, lost: &Lost) -> Result<(), Alarm> {
        let positions = self.ledgers.db.scans()?;
        let up_to = |partition: u16| positions.get(&partition).map_or(0, |at| usize::try_from(at + 1).expect("small"));
        let records: Vec<Vec<Stored>> = (0..self.plan.partitions.scans)
            .map(|partition| {
                let place = (Topic::Scans, partition);
                let mut records = self.log.history(place).to_vec();
                let at = usize::try_from(lost.from).expect("small");
                if place == lost.place && !records[at..].starts_with(&lost.records) {
                    records.splice(at.., lost.records.iter().cloned());
                }
                records.truncate(up_to(partition));
                records
            })
            .collect();
        let events = self.log.events(|partition| &records[usize::from(partition)]);
        self.evidence(&events)?.compare(&OF_SCANS)?;
        self.trace.note("as of its positions", format_args!("{} events", events.len()));
        Ok(())
    }
}

/// What alarms say of a log that was cut.
const NOTICED: [&str; 7] = [
    "holds another record than the one that was taken",
    "it is shorter than what was read of it before",
    "a frame is lost",
    "two desks gave different answers",
    "its writer knows nothing of that one",
    "the log has a hole or was rewound",
    // The rules' markers are among what was lost.
    "were published before its events",
];
