//! A record of `scans` that a desk cannot apply is set aside whole, also if the desk panics at it; what is behind it goes on.

use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use domain::frame::{Body, Frame, Kind, seal};
use domain::model::address::{AnswerPos, PartitionId, Provenance, Topic, TopicPartition};
use domain::model::event::{Action, Event};
use domain::model::fact::{Fact, Metric, Scope, What};
use domain::protocol::reject;
use eventlog::api::{Append, Consumer, Record};
use eventlog::error::LogError;
use eventlog::files::memory::Memory;
use eventlog::local::consumer::LocalConsumer;
use eventlog::local::log::{Log, Readers};
use prometheus::Registry;
use worker::context::{RunMode, SnapshotPolicy, WorkerContext};
use worker::desks::open_task;
use worker::lane::{Lane, LaneCommand, Owned, Tools};
use worker::rules_cache::RulesCache;
use worker::snapshot::Snapshots;
use worker::supervisor::{Connect, LaneSupervisor};

use crate::acks::library;
use crate::again::{CurrentLog, PATIENCE, SCANS, append, log, meta};

/// A frame of visits, each with its time.
fn visits(first: u128, merchant: &str, times: &[i64]) -> Vec<u8> {
    let mut body = Body::default();
    for (key, &time) in (first..).zip(times) {
        body.push(&Event {
            key,
            shopper_key: key,
            merchant,
            id: "id",
            shopper: "u",
            action: Action::Visit,
            stamp: 1_000,
            time: Some(time),
            code: None,
            store: None,
            guide: None,
            region: None,
            channel: None,
            device: None,
            ticket: None,
            order: None,
            keyless: false,
        });
    }
    let mut record = Vec::new();
    body.drain(|bytes, count| record = seal(Kind::Events, 1_000, None, count, bytes));
    record
}

/// The log: good frames, and between them one of a merchant without rules, one whose last item is cut off, two with a time that no
/// edge lets through, at which the desk panics, and one that claims a source.
fn poisoned() -> Arc<Log> {
    let log = log(&[]);
    append(&log, visits(1, "m", &[900, 901]));
    append(&log, visits(10, "stranger", &[900]));
    let mut body = Body::default();
    body.push(&"no event");
    body.drain(|bytes, count| append(&log, seal(Kind::Events, 1_000, None, count, bytes)));
    append(&log, visits(20, "m", &[900, i64::MIN]));
    append(&log, visits(30, "m", &[902]));
    append(&log, visits(40, "m", &[i64::MIN]));
    let source = PartitionId { log: 7, topic: Topic::Draws, partition: 0 };
    let tag = Provenance { source, at: AnswerPos { offset: 3, part: 0 }, prev: None, hash: 0 };
    append(&log, seal(Kind::Events, 1_000, Some(&tag), 0, &[]));
    append(&log, visits(50, "m", &[903]));
    log
}

/// All records of a topic.
fn records(log: &Arc<Log>, topic: Topic) -> Vec<Vec<u8>> {
    let mut consumer = LocalConsumer::new(Arc::clone(log), Readers::Facts);
    consumer.assign(TopicPartition::new(topic, 0), 0, "begin again").expect("a reader");
    let mut found = Vec::new();
    while consumer
        .poll(Duration::ZERO, &mut |_, record| {
            found.push(record.bytes.to_vec());
            ControlFlow::Continue(())
        })
        .expect("records")
        > 0
    {}
    found
}

/// What was set aside, as (offset, reason), and the visits that were counted, each answer once.
fn outcome(log: &Arc<Log>) -> (Vec<(u64, String)>, i64) {
    let mut set_aside: Vec<(u64, String)> = Vec::new();
    for record in records(log, Topic::Rejects) {
        let frame = Frame::open(&record).expect("a frame");
        let reject = reject::read(&frame).expect("a reject").expect("a reject");
        set_aside.push((frame.tag.expect("its place").at.offset, reject.why.to_owned()));
    }
    // A task that restarts sends the same again.
    set_aside.sort_unstable();
    set_aside.dedup();
    let mut seen = std::collections::BTreeSet::new();
    let mut visits = 0;
    for record in records(log, Topic::Facts) {
        let frame = Frame::open(&record).expect("a frame");
        if frame.kind != Kind::Facts || !frame.tag.is_some_and(|tag| seen.insert((tag.at.offset, tag.at.part))) {
            continue;
        }
        for fact in frame.items::<Fact<'_>>() {
            if let What::Count { scope: Scope::Merchant, metric: Metric::Visits, delta, .. } =
                fact.expect("a fact").what
            {
                visits += delta;
            }
        }
    }
    (set_aside, visits)
}

fn check(log: &Arc<Log>) {
    let (set_aside, visits) = outcome(log);
    let wanted = [(2, "stranger"), (3, "item 0"), (4, "internal error"), (6, "internal error"), (7, "names a source")];
    assert_eq!(set_aside.len(), wanted.len(), "{set_aside:?}");
    for ((offset, why), (at, says)) in set_aside.iter().zip(wanted) {
        assert!(*offset == at && why.contains(says), "{offset}: {why}");
    }
    assert_eq!(visits, 4, "nothing of the others is counted, and nothing else is lost");
}

fn context(run_mode: RunMode) -> Arc<WorkerContext> {
    let snapshots = Snapshots::new(Arc::new(Memory::default()), Path::new("snapshots"));
    let (rules, published) = (RulesCache::fixed(library()), Box::new(|_, _, _| ()));
    let policy = SnapshotPolicy::default();
    Arc::new(WorkerContext::new(meta(), rules, snapshots, policy, run_mode, published, &Registry::new()))
}

fn wait_for(context: &WorkerContext, end: u64) {
    let timeout = Instant::now() + PATIENCE;
    let settled = || context.progress().first().map_or(0, |progress| progress.settled.load(Ordering::Acquire));
    while settled() < end {
        assert!(Instant::now() < timeout, "settled {}, {:?}", settled(), context.progress()[0].why_stopped());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn fleet_sets_aside_what_its_desk_cannot_apply() {
    let log = poisoned();
    let context = context(RunMode::Fleet);
    let connect: Arc<dyn Connect> = Arc::new(CurrentLog::new(Arc::clone(&log)));
    let supervisor = LaneSupervisor::start(&context, &connect, 1);
    supervisor.own(SCANS);
    wait_for(&context, 9);
    supervisor.stop();
    check(&log);
}

#[test]
fn one_process_sets_aside_what_its_desk_cannot_apply() {
    let log = poisoned();
    let context = context(RunMode::Embedded);
    run_embedded(&log, &context, &[SCANS], || wait_for(&context, 9));
    check(&log);
}

/// Runs a lane with these tasks over the log of this process, until `wait` returns.
fn run_embedded(log: &Arc<Log>, context: &Arc<WorkerContext>, partitions: &[TopicPartition], wait: impl FnOnce()) {
    let consumer = CurrentLog::new(Arc::clone(log)).consumer().expect("a consumer");
    run_with(consumer, log, context, partitions, wait);
}

/// As [`run_embedded`], with a consumer.
fn run_with(
    consumer: Box<dyn Consumer>,
    log: &Arc<Log>,
    context: &Arc<WorkerContext>,
    partitions: &[TopicPartition],
    wait: impl FnOnce(),
) {
    let (command_tx, command_rx) = sync_channel(partitions.len());
    let mut owned = Owned::new();
    for &partition in partitions {
        let task = open_task(&meta(), partition, &context.snapshots, &library()).expect("a beginning");
        command_tx.send(LaneCommand::Restored(1, task)).expect("room");
        owned.insert(partition, None);
    }
    let connect = CurrentLog::new(Arc::clone(log));
    let tools = Tools { consumer, appender: connect.appender().expect("an appender"), heartbeat: context.heartbeat() };
    std::thread::scope(|scope| {
        let lane = scope.spawn(move || Lane::new(context, 1, tools, &mut owned, &command_rx, &|_, _, _| true).run());
        wait();
        context.stop();
        lane.join().expect("no panic").expect("it ends when it is asked to");
    });
}

/// A log with a broken record between desks.
fn broken() -> Arc<Log> {
    let log = log(&[]);
    let to_draws = |record: Vec<u8>| Append { topic: Topic::Draws, partition: 0, record };
    let mut body = Body::default();
    body.push(&"no scan");
    body.drain(|bytes, count| {
        log.append_and_wait(vec![to_draws(seal(Kind::CodeScans, 1_000, None, count, bytes))]).expect("durable");
    });
    append(&log, visits(1, "m", &[900]));
    log
}

const DRAWS: TopicPartition = TopicPartition::new(Topic::Draws, 0);

/// Waits until the partition of the broken record has stopped, and the other has done its work.
fn wait_for_one_stopped(context: &WorkerContext) {
    let timeout = Instant::now() + PATIENCE;
    let of = |topic| context.progress().into_iter().find(|progress| progress.topic == topic);
    while of(Topic::Draws).is_none_or(|draws| draws.why_stopped().is_none()) {
        assert!(Instant::now() < timeout, "it goes on");
        std::thread::sleep(Duration::from_millis(2));
    }
    while of(Topic::Scans).is_none_or(|scans| scans.settled.load(Ordering::Acquire) < 2) {
        assert!(Instant::now() < timeout, "the other one waits");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A record between desks is not set aside: without it, the numbers would be wrong. Its partition stops, and says so.
#[test]
fn broken_record_between_desks_stops_its_partition_alone() {
    let log = broken();
    let context = context(RunMode::Fleet);
    let connect: Arc<dyn Connect> = Arc::new(CurrentLog::new(Arc::clone(&log)));
    let supervisor = LaneSupervisor::start(&context, &connect, 1);
    supervisor.own(DRAWS);
    supervisor.own(SCANS);
    wait_for_one_stopped(&context);
    supervisor.stop();
    assert_eq!(outcome(&log), (Vec::new(), 1));
}

#[test]
fn broken_record_between_desks_ends_no_process() {
    let log = broken();
    let context = context(RunMode::Embedded);
    run_embedded(&log, &context, &[DRAWS, SCANS], || wait_for_one_stopped(&context));
    assert_eq!(outcome(&log), (Vec::new(), 1));
}

/// A consumer of which the segments of one partition are damaged.
struct Damaged {
    inner: Box<dyn Consumer>,
    partition: TopicPartition,
    is_assigned: bool,
}

impl Consumer for Damaged {
    fn bounds(&mut self, partition: TopicPartition) -> Result<Range<u64>, LogError> {
        self.inner.bounds(partition)
    }

    fn assign(&mut self, partition: TopicPartition, from: u64, mend: &'static str) -> Result<(), LogError> {
        self.is_assigned |= partition == self.partition;
        self.inner.assign(partition, from, mend)
    }

    fn revoke(&mut self, partition: TopicPartition) {
        self.is_assigned &= partition != self.partition;
        self.inner.revoke(partition);
    }

    fn poll(
        &mut self,
        wait: Duration,
        each: &mut dyn FnMut(TopicPartition, Record<'_>) -> ControlFlow<()>,
    ) -> Result<usize, LogError> {
        if self.is_assigned {
            let cause = LogError::Damaged { path: "0.seg".into(), byte: 7, what: "the checksum is wrong".to_owned() };
            return Err(LogError::Partition { partition: self.partition, cause: Box::new(cause) });
        }
        self.inner.poll(wait, each)
    }
}

/// A partition whose segments are damaged stops alone; the process goes on.
#[test]
fn damaged_segment_stops_its_partition_alone() {
    let log = log(&[]);
    append(&log, visits(1, "m", &[900]));
    let context = context(RunMode::Embedded);
    let inner = CurrentLog::new(Arc::clone(&log)).consumer().expect("a consumer");
    let consumer = Box::new(Damaged { inner, partition: DRAWS, is_assigned: false });
    run_with(consumer, &log, &context, &[DRAWS, SCANS], || wait_for_one_stopped(&context));
    assert_eq!(outcome(&log), (Vec::new(), 1));
}
