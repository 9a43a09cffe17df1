//! A restarted lane reads the records that it took before. If the log was cut, the partition stops.

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

/// Opens the current log for each incarnation of a lane, with consumers that can be made to fail.
struct CurrentLog {
    log: Mutex<Arc<Log>>,
    fails: Arc<AtomicBool>,
}

impl Connect for CurrentLog {
    fn consumer(&self) -> Result<Box<dyn Consumer>, LogError> {
        let log = Arc::clone(&self.log.lock().expect("no panic"));
        Ok(Box::new(Failing { consumer: LocalConsumer::new(log, Readers::Desks), fails: Arc::clone(&self.fails) }))
    }

    fn appender(&self) -> Result<Arc<dyn Appender>, LogError> {
        Ok(Arc::clone(&*self.log.lock().expect("no panic")) as Arc<dyn Appender>)
    }
}

/// A consumer that fails once when `fails` is set.
struct Failing {
    consumer: LocalConsumer,
    fails: Arc<AtomicBool>,
}

impl Consumer for Failing {
    fn bounds(&mut self, topic: Topic, partition: u16) -> Result<Range<u64>, LogError> {
        self.consumer.bounds(topic, partition)
    }

    fn assign(&mut self, topic: Topic, partition: u16, from: u64, mend: &'static str) -> Result<(), LogError> {
        self.consumer.assign(topic, partition, from, mend)
    }

    fn revoke(&mut self, topic: Topic, partition: u16) {
        self.consumer.revoke(topic, partition);
    }

    fn poll(
        &mut self,
        wait: Duration,
        each: &mut dyn FnMut(Topic, u16, Record<'_>) -> ControlFlow<()>,
    ) -> Result<usize, LogError> {
        if self.fails.swap(false, Ordering::AcqRel) {
            return Err(LogError::Hole { partition: "scans partition 0".to_owned(), expected: 0, found: 1 });
        }
        self.consumer.poll(wait, each)
    }
}

/// Runs a lane to the end of a log of three frames, changes the log and restarts the lane. Returns the settled offset, and why
/// the partition stopped.
fn restart_after(change: impl FnOnce(Arc<Log>) -> Arc<Log>) -> (u64, Option<String>) {
    let snapshots = Snapshots::new(Arc::new(Memory::default()), Path::new("snapshots"));
    // No snapshot is taken: the lane restarts at the beginning of the log.
    let snapshot_policy = SnapshotPolicy { interval: Duration::from_secs(3600), records: 1 };
    let (run_mode, published) = (RunMode::Fleet, Box::new(|_, _, _| ()));
    let context = WorkerContext::new(
        meta(),
        RulesCache::fixed(library()),
        snapshots,
        snapshot_policy,
        run_mode,
        published,
        &Registry::new(),
    );
    let context = Arc::new(context);
    let current = Arc::new(CurrentLog { log: Mutex::new(log(&[5, 6, 7])), fails: Arc::default() });
    let supervisor = LaneSupervisor::start(&context, &(Arc::clone(&current) as Arc<dyn Connect>), 1);
    supervisor.own(SCANS.0, SCANS.1);
    let wait = |is: &dyn Fn(u64, &Option<String>) -> bool| {
        let until = Instant::now() + PATIENCE;
        loop {
            for progress in context.progress() {
                let (settled, why) = (progress.settled.load(Ordering::Acquire), progress.why_stopped());
                if is(settled, &why) {
                    return (settled, why);
                }
            }
            assert!(Instant::now() < until, "the lane does not reach this state");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait(&|settled, _| settled == 4);
    {
        let mut log = current.log.lock().expect("no panic");
        *log = change(Arc::clone(&log));
    }
    current.fails.store(true, Ordering::Release);
    let timeout = Instant::now() + PATIENCE;
    while current.fails.load(Ordering::Acquire) {
        assert!(Instant::now() < timeout, "the consumer is not polled");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Only a restarted lane takes this record.
    append(&current.log.lock().expect("no panic"), events(8));
    let found = wait(&|settled, why| why.is_some() || settled == 5);
    supervisor.stop();
    found
}

#[test]
fn unchanged_log_is_read_again() {
    assert_eq!(restart_after(|log| log), (5, None));
}

#[test]
fn cut_log_stops_the_partition() {
    let (_, why) = restart_after(|_| log(&[5]));
    let why = why.expect("the partition stops");
    assert!(why.contains("offset 4 was asked for, the log ends at"), "{why}");
}

#[test]
fn cut_log_with_new_records_stops_the_partition() {
    let (settled, why) = restart_after(|_| log(&[5, 8, 9, 10]));
    let why = why.expect("the partition stops");
    assert!(why.contains("offset 3 holds another record than the one that was taken"), "{why}");
    assert!(settled <= 3, "{settled}");
}
