//! A spool before a log that comes and goes: what was answered is in the log in the end, in the order of the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use domain::frame::{Frame, Kind, seal};
use domain::model::address::{Partitions, Topic};
use edge::spool::{DeferredAppender, Durable, Metrics, OpenedSpool, Spooled};
use eventlog::api::{Append, AppendError, Appender, Done, Health, OnFull};
use eventlog::files::memory::{Loss, Memory};
use eventlog::local::meta::{Clock, Meta};
use eventlog::spool::Sizes;
use parking_lot::{Mutex, MutexGuard};
use prometheus::Registry;

/// Nothing in these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
const SIZES: Sizes = Sizes { bytes_max: 1 << 20, file_bytes: 2_000, block_bytes: 600 };

/// How a log behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// It takes everything at once.
    Takes,
    /// It takes nothing: what may wait waits.
    Away,
    /// It takes nothing and says nothing.
    Silent,
    /// It says that records are too large.
    Choosy,
}

#[derive(Debug)]
struct Fake(Mutex<State>);

struct State {
    mood: Mood,
    waiting: Vec<(Vec<Append>, OnFull, Done)>,
    /// Numbers of the frames that it has, by partition.
    taken: BTreeMap<u16, Vec<i64>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("mood", &self.mood).field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Fake {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { mood, waiting: Vec::new(), taken: BTreeMap::new() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Changes its behaviour. When it takes again, what waited goes first; when it goes away, what may not wait is refused.
    fn set(&self, mood: Mood) {
        let mut done = Vec::new();
        let mut state = self.state();
        state.mood = mood;
        for (records, on_full, tell) in std::mem::take(&mut state.waiting) {
            match mood {
                Mood::Takes => {
                    state.take(&records);
                    done.push((tell, Ok(())));
                }
                Mood::Away if on_full == OnFull::Refuse => done.push((tell, Err(AppendError::Full))),
                _ => state.waiting.push((records, on_full, tell)),
            }
        }
        drop(state);
        done.into_iter().for_each(|(tell, result)| tell(result));
    }

    fn taken(&self, partition: u16) -> Vec<i64> {
        self.state().taken.get(&partition).cloned().unwrap_or_default()
    }
}

impl State {
    fn take(&mut self, records: &[Append]) {
        for Append { partition, record, .. } in records {
            let number = Frame::open(record).expect("a frame").received;
            self.taken.entry(*partition).or_default().push(number);
        }
    }
}

impl Appender for Fake {
    fn append(&self, records: Vec<Append>, on_full: OnFull, done: Done) {
        let mut state = self.state();
        let result = match state.mood {
            Mood::Takes => {
                state.take(&records);
                Ok(())
            }
            Mood::Away if on_full == OnFull::Refuse => Err(AppendError::Full),
            Mood::Choosy => Err(AppendError::TooLarge),
            Mood::Away | Mood::Silent => return state.waiting.push((records, on_full, done)),
        };
        drop(state);
        done(result);
    }

    fn health(&self) -> Health {
        if self.state().mood == Mood::Away { Health::Full } else { Health::Good }
    }

    fn close(&self) {
        let waiting = std::mem::take(&mut self.state().waiting);
        waiting.into_iter().for_each(|(_, _, done)| done(Err(AppendError::Closed)));
    }
}

struct World {
    disk: Memory,
    log: Arc<Fake>,
    registry: Registry,
    spooled: Arc<Spooled>,
}

type Outcome = Receiver<Result<Durable, AppendError>>;

impl World {
    fn start(disk: &Memory, log: &Arc<Fake>, sizes: Sizes) -> Self {
        Self::before(disk, log, Arc::<Fake>::clone(log), sizes)
    }

    /// A world with a spool before another appender instead of the log.
    fn before(disk: &Memory, log: &Arc<Fake>, appender: Arc<dyn Appender>, sizes: Sizes) -> Self {
        let meta = Meta::new(7, Clock::Event, Partitions::all(2));
        let found = OpenedSpool::open(Arc::new(disk.clone()), Path::new("spool"), &meta, sizes).expect("a spool");
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).expect("registered once");
        let spooled = Arc::new(Spooled::start(found, appender, metrics));
        Self { disk: disk.clone(), log: Arc::clone(log), registry, spooled }
    }

    fn new(mood: Mood) -> Self {
        Self::start(&Memory::default(), &Fake::new(mood), SIZES)
    }

    /// Gives a round of one frame with a number.
    fn give(&self, partition: u16, number: i64) -> Outcome {
        self.give_bytes(partition, number, 100)
    }

    fn give_bytes(&self, partition: u16, number: i64, bytes: usize) -> Outcome {
        let (result_tx, result_rx) = sync_channel(1);
        let record = seal(Kind::Events, number, None, 3, &vec![7; bytes]);
        let done = Box::new(move |result| result_tx.try_send(result).expect("the test holds the receiver"));
        self.spooled.append(vec![Append { topic: Topic::Scans, partition, record }], done);
        result_rx
    }

    fn answer(&self, partition: u16, number: i64) -> Result<Durable, AppendError> {
        self.give(partition, number).recv_timeout(PATIENCE).expect("an answer")
    }

    fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect("a metric");
        let metric = &family.get_metric()[0];
        metric.get_gauge().get_value().max(metric.get_counter().get_value())
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < until, "{what}: {:?}", self.log);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn until_drained(&self) {
        self.until("it is drained", |world| world.metric("mashang_spool_bytes") == 0.0);
        assert_eq!(self.disk.paths(), [Path::new("spool/spool.json")]);
        assert_eq!(self.metric("mashang_spool_age_seconds"), 0.0);
    }
}

/// Each number at its first place: a block that is sent again is there twice.
fn first(numbers: &[i64]) -> Vec<i64> {
    let mut seen = BTreeSet::new();
    numbers.iter().copied().filter(|number| seen.insert(*number)).collect()
}

#[test]
fn a_log_that_answers_needs_no_spool() {
    let world = World::new(Mood::Takes);
    let syncs = world.disk.syncs();
    assert!((0..100).all(|number| world.answer(0, number) == Ok(Durable::Log)));
    assert_eq!(world.log.taken(0), (0..100).collect::<Vec<_>>());
    assert_eq!(world.disk.syncs(), syncs, "nothing is written");
}

#[test]
fn what_a_log_does_not_take_is_spooled_and_drained_in_order() {
    let world = World::new(Mood::Takes);
    assert_eq!(world.answer(0, 0), Ok(Durable::Log));
    world.log.set(Mood::Away);
    for number in 1..50 {
        assert_eq!(world.answer(0, number), Ok(Durable::Spool));
        assert_eq!(world.answer(1, number), Ok(Durable::Spool));
    }
    assert_eq!(world.log.taken(0), [0]);
    assert!(world.metric("mashang_spool_bytes") > 98.0 * 100.0);
    assert_eq!(world.metric("mashang_spool_events_total"), 98.0 * 3.0);
    assert_eq!(world.spooled.health(), Health::Good, "a 202 would be given now");
    world.log.set(Mood::Takes);
    world.until_drained();
    assert_eq!(world.log.taken(0), (0..50).collect::<Vec<_>>());
    assert_eq!(world.log.taken(1), (1..50).collect::<Vec<_>>());
    assert_eq!(world.metric("mashang_spool_drained_events_total"), 98.0 * 3.0);
    assert_eq!(world.answer(0, 50), Ok(Durable::Log), "and the log is used again");
}

#[test]
fn a_round_that_the_log_gives_up_late_is_spooled_with_all_behind_it() {
    let world = World::new(Mood::Silent);
    let silent: Vec<Outcome> = (0..5).map(|number| world.give(0, number)).collect();
    world.log.set(Mood::Away);
    assert!(silent.iter().all(|told| told.recv_timeout(PATIENCE) == Ok(Ok(Durable::Spool))));
    assert_eq!(world.answer(0, 5), Ok(Durable::Spool));
    world.log.set(Mood::Takes);
    world.until_drained();
    assert_eq!(first(&world.log.taken(0)), (0..6).collect::<Vec<_>>());
}

#[test]
fn rounds_that_come_together_share_a_sync() {
    let world = World::new(Mood::Silent);
    let told: Vec<Outcome> = (0..50).map(|number| world.give(0, number)).collect();
    {
        // While this is locked the log gets nothing: the spool's thread stops there after what it took first.
        let mut state = world.log.state();
        state.mood = Mood::Away;
        let waiting = std::mem::take(&mut state.waiting);
        waiting.into_iter().for_each(|(_, _, done)| done(Err(AppendError::Full)));
    }
    assert!(told.iter().all(|told| told.recv_timeout(PATIENCE) == Ok(Ok(Durable::Spool))));
    assert_eq!(world.metric("mashang_spool_events_total"), 150.0);
    assert!(world.metric("mashang_spool_rounds_total") <= 2.0);
}

/// More than may be in flight: a round must not overtake what the log has not got yet.
#[test]
fn a_round_goes_behind_what_still_lies_in_the_spool() {
    let sizes = Sizes { bytes_max: 1 << 30, file_bytes: 1 << 20, block_bytes: 1 << 18 };
    let world = World::start(&Memory::default(), &Fake::new(Mood::Away), sizes);
    for number in 0..100 {
        let told = world.give_bytes(0, number, 100_000);
        assert_eq!(told.recv_timeout(PATIENCE), Ok(Ok(Durable::Spool)));
    }
    world.log.set(Mood::Takes);
    let durable: Vec<_> = (100..2_000).map(|number| world.answer(0, number).expect("it is taken")).collect();
    world.until_drained();
    assert_eq!(world.log.taken(0), (0..2_000).collect::<Vec<_>>());
    assert_eq!(
        durable.last(),
        Some(&Durable::Log),
        "once it has caught up the log is used again, in the middle of the load"
    );
}

#[test]
fn a_record_that_is_too_large_is_refused_and_not_spooled() {
    let world = World::new(Mood::Choosy);
    assert_eq!(world.answer(0, 0), Err(AppendError::TooLarge));
    assert_eq!(world.metric("mashang_spool_bytes"), 0.0);
}

/// Several senders, each waiting for its answer before it goes on, while the log comes and goes: the events of a sender keep
/// their order, none is lost, and none is invented.
#[test]
fn the_order_of_the_answers_is_the_order_of_the_log() {
    const SENDERS: i64 = 4;
    const EACH: i64 = 400;
    let world = World::new(Mood::Takes);
    let kinds: Vec<[usize; 2]> = std::thread::scope(|scope| {
        let world = &world;
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                scope.spawn(move || {
                    let mut kinds = [0; 2];
                    for number in 0..EACH {
                        if number % 100 == 50 {
                            world.log.set(Mood::Away);
                        }
                        let durable = world.answer(0, sender * EACH + number).expect("it is always taken");
                        kinds[usize::from(durable == Durable::Spool)] += 1;
                    }
                    kinds
                })
            })
            .collect();
        let mut turn = 0;
        while senders.iter().any(|sender| !sender.is_finished()) {
            world.log.set([Mood::Away, Mood::Takes, Mood::Silent, Mood::Away, Mood::Takes][turn % 5]);
            turn += 1;
            std::thread::sleep(Duration::from_millis(3));
        }
        world.log.set(Mood::Away);
        senders.into_iter().map(|sender| sender.join().expect("all are answered")).collect()
    });
    world.log.set(Mood::Takes);
    world.until_drained();
    let taken = first(&world.log.taken(0));
    assert_eq!(taken.len(), usize::try_from(SENDERS * EACH).expect("small"));
    for sender in 0..SENDERS {
        let own: Vec<i64> = taken.iter().copied().filter(|number| number / EACH == sender).collect();
        assert_eq!(own, (sender * EACH..(sender + 1) * EACH).collect::<Vec<_>>());
    }
    let all = kinds.iter().fold([0, 0], |all, kinds| [all[0] + kinds[0], all[1] + kinds[1]]);
    assert!(all[0] > 0 && all[1] > 0, "both were used: {all:?}");
}

#[test]
fn what_was_answered_is_drained_after_every_crash() {
    for seed in 0..40 {
        let disk = Memory::default();
        let mut number = 0;
        let log = Fake::new(Mood::Away);
        for life in 0..4 {
            let world = World::start(&disk, &log, SIZES);
            for _ in 0..(seed + life) % 7 + 1 {
                assert_eq!(world.answer(0, number), Ok(Durable::Spool));
                number += 1;
            }
            disk.crash(if seed % 3 == 0 { Loss::Everything } else { Loss::Torn(seed * 10 + life) });
            // What the log had not acknowledged is lost with it.
            log.state().waiting.clear();
        }
        let meta = Meta::new(7, Clock::Event, Partitions::all(2));
        let found = OpenedSpool::open(Arc::new(disk.clone()), Path::new("spool"), &meta, SIZES).expect("a spool");
        assert_eq!((found.last, found.events), (Some(number - 1), 3 * u64::try_from(number).expect("positive")));
        drop(found);
        let world = World::start(&disk, &log, SIZES);
        log.set(Mood::Takes);
        world.until_drained();
        assert_eq!(first(&log.taken(0)), (0..number).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_spool_that_is_full_refuses_and_heals() {
    let world = World::start(&Memory::default(), &Fake::new(Mood::Away), Sizes { bytes_max: 100_000, ..SIZES });
    let answers: Vec<_> = (0..1_000).map(|number| (number, world.answer(0, number))).collect();
    let taken: Vec<i64> = answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(number, _)| *number).collect();
    assert!(taken.len() > 100 && taken.len() < 900, "{}", taken.len());
    assert!(answers.iter().all(|(_, answer)| matches!(answer, Ok(Durable::Spool) | Err(AppendError::Full))));
    assert_eq!(world.spooled.health(), Health::Full);
    assert!(world.metric("mashang_spool_bytes") <= 100_000.0);
    world.log.set(Mood::Takes);
    world.until_drained();
    world.until("it is ready", |world| world.spooled.health() == Health::Good);
    assert_eq!(world.log.taken(0), taken, "what was refused is not there");
}

#[test]
fn a_full_disk_refuses_and_heals() {
    let world = World::new(Mood::Away);
    assert_eq!(world.answer(0, 0), Ok(Durable::Spool));
    world.disk.set_room(Some(50));
    assert_eq!(world.answer(0, 1), Err(AppendError::Full));
    world.until("it says so", |world| world.spooled.health() == Health::Full);
    world.disk.set_room(None);
    assert_eq!(world.answer(0, 2), Ok(Durable::Spool));
    world.log.set(Mood::Takes);
    world.until_drained();
    assert_eq!(world.log.taken(0), [0, 2]);
}

#[test]
fn a_disk_that_fails_stops_the_spool_and_nothing_more_is_promised() {
    let world = World::new(Mood::Away);
    assert_eq!(world.answer(0, 0), Ok(Durable::Spool));
    world.disk.crash(Loss::Everything);
    assert_eq!(world.answer(0, 1), Err(AppendError::Failed));
    assert_eq!(world.spooled.health(), Health::Failed);
    assert_eq!(world.answer(0, 2), Err(AppendError::Failed));
}

#[test]
fn a_stop_spools_what_the_log_has_not_taken_and_the_next_start_drains_it() {
    let world = World::new(Mood::Silent);
    let under_way: Vec<Outcome> = (0..20).map(|number| world.give(0, number)).collect();
    world.spooled.close();
    assert!(under_way.iter().all(|told| told.try_recv() == Ok(Ok(Durable::Spool))));
    assert_eq!(world.answer(0, 20), Err(AppendError::Closed));
    let World { disk, log, .. } = world;
    log.set(Mood::Takes);
    let world = World::start(&disk, &log, SIZES);
    world.until_drained();
    assert_eq!(log.taken(0), (0..20).collect::<Vec<_>>());
    world.spooled.close();
}

#[test]
fn a_log_may_come_later() {
    let sizes = Sizes { bytes_max: 1 << 30, file_bytes: 1 << 20, block_bytes: 1 << 18 };
    let (disk, log) = (Memory::default(), Fake::new(Mood::Takes));
    let begin = || {
        let later = Arc::new(DeferredAppender::default());
        let world = World::before(&disk, &log, Arc::<DeferredAppender>::clone(&later), sizes);
        assert_eq!(world.spooled.health(), Health::Good, "a 202 would be given now");
        (world, later)
    };
    // More than may be in flight; and an end before the log is connected.
    let (world, _later) = begin();
    for number in 0..100 {
        assert_eq!(world.give_bytes(0, number, 100_000).recv_timeout(PATIENCE), Ok(Ok(Durable::Spool)));
    }
    world.spooled.close();
    drop(world);
    let (world, later) = begin();
    for number in 100..150 {
        assert_eq!(world.answer(0, number), Ok(Durable::Spool));
    }
    assert_eq!(log.taken(0), [0; 0]);
    later.set(Arc::<Fake>::clone(&log));
    world.until_drained();
    assert_eq!(log.taken(0), (0..150).collect::<Vec<_>>());
    world.until("the log is used again", |world| world.answer(0, 150) == Ok(Durable::Log));
    world.spooled.close();
    assert_eq!(world.answer(0, 151), Err(AppendError::Closed));
}
