//! A full queue holds up neither its reader nor, beyond its bound, its writer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::model::address::{Partitions, Topic, TopicPartition};
use eventlog::api::Append;
use eventlog::files::memory::Memory;
use eventlog::files::{File, Files};
use eventlog::local::log::Log;
use eventlog::local::meta::{Clock, Meta};
use eventlog::local::store::Sizes;
use parking_lot::RwLock;
use prometheus::Registry;
use worker::context::{Progress, RunMode, SnapshotPolicy, WorkerContext};
use worker::rules_cache::RulesCache;
use worker::snapshot::Snapshots;
use worker::supervisor::{Connect, LaneSupervisor};

use crate::acks::{library, marker};
use crate::again::{CurrentLog, PATIENCE, SCANS, append, events, log, meta};

/// A store that does not answer while a test holds `gate`; it counts the states that are written.
#[derive(Debug, Default)]
struct SlowStore {
    files: Memory,
    gate: RwLock<()>,
    /// Time that each state takes.
    delay: Duration,
    states: AtomicUsize,
    /// The directory that cannot be read.
    unreadable: RwLock<Option<PathBuf>>,
}

impl Files for SlowStore {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        if self.unreadable.read().as_deref() == Some(dir) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.files.list(dir)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        if path.extension().is_some_and(|extension| extension == "state") {
            self.states.fetch_add(1, Ordering::AcqRel);
            std::thread::sleep(self.delay);
        }
        let _open = self.gate.read();
        self.files.open(path, create)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.link(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.sync_dir(dir)
    }
}

fn context(meta: Meta, store: Arc<dyn Files>, snapshot_policy: SnapshotPolicy) -> Arc<WorkerContext> {
    let snapshots = Snapshots::new(store, Path::new("snapshots"));
    let (rules, published) = (RulesCache::fixed(library()), Box::new(|_, _, _| ()));
    let (run_mode, registry) = (RunMode::Fleet, Registry::new());
    Arc::new(WorkerContext::new(meta, rules, snapshots, snapshot_policy, run_mode, published, &registry))
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let timeout = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < timeout, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Each snapshot is a whole state: a store that does not answer must neither stop the lane nor fill the memory.
#[test]
fn slow_store_stops_no_lane_and_puts_snapshots_off() {
    const RECORDS: u64 = 20;
    let store = Arc::<SlowStore>::default();
    let policy = SnapshotPolicy { interval: Duration::ZERO, records: 1 };
    let context = context(meta(), Arc::clone(&store) as Arc<dyn Files>, policy);
    let current = Arc::new(CurrentLog::new(log(&[5])));
    let supervisor = LaneSupervisor::start(&context, &(Arc::clone(&current) as Arc<dyn Connect>), 1);
    let settled = || context.progress().first().map_or(0, |progress| progress.settled.load(Ordering::Acquire));
    let gate = store.gate.write();
    supervisor.own(SCANS);
    for next in 2..RECORDS {
        until("the lane reads on", || settled() == next);
        append(&current.log(), events(5));
    }
    until("the lane reads on", || settled() == RECORDS);
    assert_eq!(context.snapshots.list().expect("a store"), []);
    drop(gate);
    let at = || context.progress()[0].snapshot_offset.load(Ordering::Acquire);
    until("the last state is written", || at() == RECORDS);
    let states = store.states.load(Ordering::Acquire);
    assert!(states <= 4, "{states} states were written: those that waited, and one of the end");
    supervisor.stop();
}

/// Tasks whose snapshots are due again at once must not take every turn of a store that is slow.
#[test]
fn slow_store_gives_each_task_its_turn() {
    const PARTITIONS: u16 = 6;
    let partitions = Partitions { scans: PARTITIONS, ..Partitions::all(1) };
    let meta = Meta::new(1, Clock::Event, partitions);
    let files = Arc::new(Memory::default());
    let log = Log::open(files, Path::new("log"), &meta, Sizes::default(), &Registry::new()).expect("a log");
    let log = Arc::new(log);
    let to_all = |record: &[u8]| {
        let to = |partition| Append { topic: Topic::Scans, partition, record: record.to_vec() };
        log.append_and_wait((0..PARTITIONS).map(to).collect()).expect("durable");
    };
    to_all(&marker());
    let store = Arc::new(SlowStore { delay: Duration::from_millis(20), ..SlowStore::default() });
    let policy = SnapshotPolicy { interval: Duration::ZERO, records: 1 };
    let context = context(meta, Arc::clone(&store) as Arc<dyn Files>, policy);
    let current: Arc<dyn Connect> = Arc::new(CurrentLog::new(Arc::clone(&log)));
    let supervisor = LaneSupervisor::start(&context, &current, 1);
    (0..PARTITIONS).for_each(|partition| supervisor.own(TopicPartition::new(Topic::Scans, partition)));
    until("every partition has a snapshot, while each has new records all the time", || {
        to_all(&events(5));
        let progress = context.progress();
        let written = progress.iter().filter(|p| p.snapshot_offset.load(Ordering::Acquire) > 0).count();
        written == usize::from(PARTITIONS)
    });
    let states = store.states.load(Ordering::Acquire);
    assert!(states <= 5 * usize::from(PARTITIONS), "{states} states were written before each task had its turn");
    supervisor.stop();
}

#[test]
fn lane_restores_more_partitions_than_queues_hold() {
    let meta = Meta::new(1, Clock::Event, Partitions { scans: 200, draws: 1, awards: 1, facts: 1 });
    let files = Arc::new(Memory::default());
    let log = Log::open(files, Path::new("log"), &meta, Sizes::default(), &Registry::new()).expect("a log");
    let current: Arc<dyn Connect> = Arc::new(CurrentLog::new(Arc::new(log)));
    let context = context(meta, Arc::new(Memory::default()), SnapshotPolicy::default());
    let supervisor = LaneSupervisor::start(&context, &current, 1);
    (0..200).for_each(|partition| supervisor.own(TopicPartition::new(Topic::Scans, partition)));
    until("all partitions are restored", || context.progress().len() == 200);
    supervisor.stop();
}

/// A partition that cannot be restored is tried again; the others are at work meanwhile, and it can be given away.
#[test]
fn unreadable_snapshot_holds_up_no_other_partition() {
    const PARTITIONS: u16 = 6;
    let partitions = Partitions { scans: PARTITIONS, ..Partitions::all(1) };
    let meta = Meta::new(1, Clock::Event, partitions);
    let files = Arc::new(Memory::default());
    let log = Log::open(files, Path::new("log"), &meta, Sizes::default(), &Registry::new()).expect("a log");
    let current: Arc<dyn Connect> = Arc::new(CurrentLog::new(Arc::new(log)));
    let store = Arc::<SlowStore>::default();
    *store.unreadable.write() = Some(Path::new("snapshots").join("scans-0"));
    let context = context(meta, Arc::clone(&store) as Arc<dyn Files>, SnapshotPolicy::default());
    let supervisor = LaneSupervisor::start(&context, &current, 2);
    let of = |partition| TopicPartition::new(Topic::Scans, partition);
    let progress = || context.progress().into_iter();
    let restored =
        || progress().filter(|p| p.why_stopped().is_none()).map(|progress| progress.partition).collect::<Vec<_>>();
    (0..PARTITIONS).for_each(|partition| supervisor.own(of(partition)));
    until("all but one are restored", || restored() == [1, 2, 3, 4, 5]);
    until("it says so", || progress().any(|p| p.why_stopped().is_some_and(|why| why.contains("it is tried again"))));
    *store.unreadable.write() = None;
    until("the last one is restored", || restored() == [0, 1, 2, 3, 4, 5]);

    *store.unreadable.write() = Some(Path::new("snapshots").join("scans-0"));
    supervisor.leave(of(0));
    supervisor.own(of(0));
    until("it was given away", || restored() == [1, 2, 3, 4, 5]);
    supervisor.leave(of(0));
    *store.unreadable.write() = None;
    supervisor.leave(of(1));
    supervisor.own(of(1));
    until("another one comes back", || restored() == [1, 2, 3, 4, 5]);
    until("nothing is said of a partition of others", || progress().count() == 5);
    supervisor.stop();
}

/// A lane that fails again and again is seen from outside, until it goes on.
#[test]
fn partitions_of_a_failing_lane_count_as_stopped() {
    let context = context(meta(), Arc::new(Memory::default()), SnapshotPolicy::default());
    let current = Arc::new(CurrentLog::new(log(&[5])));
    let supervisor = LaneSupervisor::start(&context, &(Arc::clone(&current) as Arc<dyn Connect>), 1);
    supervisor.own(SCANS);
    let why = || context.progress().first().and_then(Progress::why_stopped);
    until("it works", || context.progress().first().is_some_and(|p| p.settled.load(Ordering::Acquire) == 2));
    until("it says so", || {
        current.fail_once();
        why().is_some_and(|why| why.contains("offset 1 came, 0 was next"))
    });
    until("it goes on", || why().is_none());
    supervisor.stop();
}
