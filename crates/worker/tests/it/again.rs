//! A lane that begins again finds what it took before, or its partition stops: the log was cut.

use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use domain::frame::{Kind, seal};
use domain::model::address::{Partitions, Topic};
use eventlog::api::Append;
use eventlog::api::Record;
use eventlog::api::{Appender, Consumer};
use eventlog::error::LogError;
use eventlog::files::memory::Memory;
use eventlog::local::consumer::LocalConsumer;
use eventlog::local::log::{Log, Readers};
use eventlog::local::meta::{Clock, Meta};
use eventlog::local::store::Sizes;
use prometheus::Registry;
use worker::context::{RunMode, SnapshotPolicy, WorkerContext};
use worker::rules_cache::RulesCache;
use worker::snapshot::Snapshots;
use worker::supervisor::{Connect, LaneSupervisor};

use crate::acks::{library, marker};

const PATIENCE: Duration = Duration::from_secs(30);
const SCANS: (Topic, u16) = (Topic::Scans, 0);

fn meta() -> Meta {
    Meta::new(1, Clock::Event, Partitions::all(1))
}

/// A log whose scans hold the rules' marker and then frames of these times.
fn log(times: &[i64]) -> Arc<Log> {
    let files = Arc::new(Memory::default());
    let log = Log::open(files, Path::new("log"), &meta(), Sizes::default(), &Registry::new()).expect("a log");
    append(&log, marker());
    times.iter().for_each(|&at| append(&log, events(at)));
    Arc::new(log)
}

fn events(at: i64) -> Vec<u8> {
    seal(Kind::Events, at, None, 0, &[])
}

fn append(log: &Log, record: Vec<u8>) {
    log.append_and_wait(vec![Append { topic: SCANS.0, partition: SCANS.1, record }]).expect("durable");
}

/// Gives every incarnation of a lane the log that there is now, until the feed is told to fail.
struct Lines {
    log: Mutex<Arc<Log>>,
    fails: Arc<AtomicBool>,
}

impl Connect for Lines {
    fn feed(&self) -> Result<Box<dyn Consumer>, LogError> {
        let log = Arc::clone(&self.log.lock().expect("no panic"));
        Ok(Box::new(Failing { feed: LocalConsumer::new(log, Readers::Desks), fails: Arc::clone(&self.fails) }))
    }

    fn appender(&self) -> Result<Arc<dyn Appender>, LogError> {
        Ok(Arc::clone(&*self.log.lock().expect("no panic")) as Arc<dyn Appender>)
    }
}

/// A feed that fails once when it is told to.
struct Failing {
    feed: LocalConsumer,
    fails: Arc<AtomicBool>,
}

impl Consumer for Failing {
    fn bounds(&mut self, topic: Topic, partition: u16) -> Result<Range<u64>, LogError> {
        self.feed.bounds(topic, partition)
    }

    fn assign(&mut self, topic: Topic, partition: u16, from: u64, mend: &'static str) -> Result<(), LogError> {
        self.feed.assign(topic, partition, from, mend)
    }

    fn revoke(&mut self, topic: Topic, partition: u16) {
        self.feed.revoke(topic, partition);
    }

    fn poll(
        &mut self,
        wait: Duration,
        each: &mut dyn FnMut(Topic, u16, Record<'_>) -> ControlFlow<()>,
    ) -> Result<usize, LogError> {
        if self.fails.swap(false, Ordering::AcqRel) {
            return Err(LogError::Hole { partition: "scans partition 0".to_owned(), expected: 0, found: 1 });
        }
        self.feed.poll(wait, each)
    }
}

/// How a partition stands whose lane has taken all of a log of three frames, and begins again when something happened to it:
/// how far it is, and why it stopped.
fn after(happens: impl FnOnce(Arc<Log>) -> Arc<Log>) -> (u64, Option<String>) {
    let snapshots = Snapshots::new(Arc::new(Memory::default()), Path::new("snapshots"));
    // No snapshot is taken: it begins at the beginning.
    let rhythm = SnapshotPolicy { interval: Duration::from_secs(3600), records: 1 };
    let (manner, published) = (RunMode::Fleet, Box::new(|_, _, _| ()));
    let works = WorkerContext::new(
        meta(),
        RulesCache::fixed(library()),
        snapshots,
        rhythm,
        manner,
        published,
        &Registry::new(),
    );
    let works = Arc::new(works);
    let lines = Arc::new(Lines { log: Mutex::new(log(&[5, 6, 7])), fails: Arc::default() });
    let crew = LaneSupervisor::start(&works, &(Arc::clone(&lines) as Arc<dyn Connect>), 1);
    crew.own(SCANS.0, SCANS.1);
    let wait = |is: &dyn Fn(u64, &Option<String>) -> bool| {
        let until = Instant::now() + PATIENCE;
        loop {
            for progress in works.progress() {
                let (settled, why) = (progress.settled.load(Ordering::Acquire), progress.why_stopped());
                if is(settled, &why) {
                    return (settled, why);
                }
            }
            assert!(Instant::now() < until, "it does not come so far");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait(&|settled, _| settled == 4);
    {
        let mut log = lines.log.lock().expect("no panic");
        *log = happens(Arc::clone(&log));
    }
    lines.fails.store(true, Ordering::Release);
    let restarts = Instant::now() + PATIENCE;
    while lines.fails.load(Ordering::Acquire) {
        assert!(Instant::now() < restarts, "the feed is not polled");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Whoever takes it has begun again.
    append(&lines.log.lock().expect("no panic"), events(8));
    let found = wait(&|settled, why| why.is_some() || settled == 5);
    crew.stop();
    found
}

#[test]
fn a_log_that_is_as_it_was_is_read_again() {
    assert_eq!(after(|log| log), (5, None));
}

#[test]
fn a_log_that_was_cut_stops_the_partition() {
    let (_, why) = after(|_| log(&[5]));
    let why = why.expect("it stops");
    assert!(why.contains("offset 4 was asked for, the log ends at"), "{why}");
}

#[test]
fn a_log_that_was_cut_and_has_grown_again_stops_the_partition() {
    let (settled, why) = after(|_| log(&[5, 8, 9, 10]));
    let why = why.expect("it stops");
    assert!(why.contains("offset 3 holds another record than the one that was taken"), "{why}");
    assert!(settled <= 3, "{settled}");
}
