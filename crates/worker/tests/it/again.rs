//! A restarted lane reads the records that it took before. If the log was cut, the partition stops.

use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::frame::{Kind, seal};
use domain::model::address::{Partitions, Topic, TopicPartition};
use eventlog::api::{Append, Appender, Consumer, Record};
use eventlog::error::LogError;
use eventlog::files::memory::Memory;
use eventlog::local::consumer::LocalConsumer;
use eventlog::local::log::{Log, Readers};
use eventlog::local::meta::{Clock, Meta};
use eventlog::local::store::Sizes;
use parking_lot::Mutex;
use prometheus::Registry;
use worker::context::{RunMode, SnapshotPolicy, WorkerContext};
use worker::rules_cache::RulesCache;
use worker::snapshot::Snapshots;
use worker::supervisor::{Connect, LaneSupervisor};

use crate::acks::{library, marker};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const SCANS: TopicPartition = TopicPartition::new(Topic::Scans, 0);

pub(crate) fn meta() -> Meta {
    Meta::new(1, Clock::Event, Partitions::all(1))
}

/// A log whose scans hold the rules' marker and then frames of these times.
pub(crate) fn log(times: &[i64]) -> Arc<Log> {
    let files = Arc::new(Memory::default());
    let log = Log::open(files, Path::new("log"), &meta(), Sizes::default(), &Registry::new()).expect("a log");
    append(&log, marker());
    times.iter().for_each(|&at| append(&log, events(at)));
    Arc::new(log)
}

pub(crate) fn events(at: i64) -> Vec<u8> {
    seal(Kind::Events, at, None, 0, &[])
}

pub(crate) fn append(log: &Log, record: Vec<u8>) {
    log.append_and_wait(vec![Append { topic: SCANS.topic, partition: SCANS.partition, record }]).expect("durable");
}

/// Opens the current log for each incarnation of a lane, with consumers that can be made to fail.
pub(crate) struct CurrentLog {
    log: Mutex<Arc<Log>>,
    fails: Arc<AtomicBool>,
}

impl CurrentLog {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        Self { log: Mutex::new(log), fails: Arc::default() }
    }

    pub(crate) fn log(&self) -> Arc<Log> {
        Arc::clone(&self.log.lock())
    }

    /// Lets the next poll fail.
    pub(crate) fn fail_once(&self) {
        self.fails.store(true, Ordering::Release);
    }
}

impl Connect for CurrentLog {
    fn consumer(&self) -> Result<Box<dyn Consumer>, LogError> {
        Ok(Box::new(Failing {
            consumer: LocalConsumer::new(self.log(), Readers::Desks),
            fails: Arc::clone(&self.fails),
        }))
    }

    fn appender(&self) -> Result<Arc<dyn Appender>, LogError> {
        Ok(self.log())
    }
}

/// A consumer that fails once when `fails` is set.
struct Failing {
    consumer: LocalConsumer,
    fails: Arc<AtomicBool>,
}

impl Consumer for Failing {
    fn bounds(&mut self, partition: TopicPartition) -> Result<Range<u64>, LogError> {
        self.consumer.bounds(partition)
    }

    fn assign(&mut self, partition: TopicPartition, from: u64, mend: &'static str) -> Result<(), LogError> {
        self.consumer.assign(partition, from, mend)
    }

    fn revoke(&mut self, partition: TopicPartition) {
        self.consumer.revoke(partition);
    }

    fn poll(
        &mut self,
        wait: Duration,
        each: &mut dyn FnMut(TopicPartition, Record<'_>) -> ControlFlow<()>,
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
    let current = Arc::new(CurrentLog::new(log(&[5, 6, 7])));
    let supervisor = LaneSupervisor::start(&context, &(Arc::clone(&current) as Arc<dyn Connect>), 1);
    supervisor.own(SCANS);
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
        let mut log = current.log.lock();
        *log = change(Arc::clone(&log));
    }
    current.fail_once();
    let timeout = Instant::now() + PATIENCE;
    while current.fails.load(Ordering::Acquire) {
        assert!(Instant::now() < timeout, "the consumer is not polled");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Only a restarted lane takes this record.
    append(&current.log(), events(8));
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
