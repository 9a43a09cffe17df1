//! What the lanes of a process share, and the progress of their tasks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use domain::model::address::{PartitionId, Topic, TopicPartition};
use domain::protocol::kept::Kept;
use eventlog::api::now_ms;
use eventlog::local::meta::Meta;
use parking_lot::{Mutex, MutexGuard};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use crate::rules_cache::RulesCache;
use crate::snapshot::Snapshots;
use crate::task::Task;

/// When snapshots are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// Minimum time between two snapshots of a task.
    pub interval: Duration,
    /// Minimum number of records between two snapshots of a task.
    pub records: u64,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), records: 1 }
    }
}

/// Whether the log is this process's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// The log is this process's own. A missing frame stops its task, for it never comes, and a shutdown first answers every record.
    Embedded,
    /// The log belongs to a fleet. A missing frame is an alarm until its writer replays it, and a shutdown does not wait for frames
    /// of other processes.
    Fleet,
}

/// Called after each snapshot is published, with its source, its offset, and the first offset that the log must keep.
pub type Published = Box<dyn Fn(PartitionId, u64, u64) + Send + Sync>;

/// What all lanes share.
pub struct WorkerContext {
    /// The log.
    pub meta: Meta,
    /// The rules that markers may name.
    pub rules_cache: RulesCache,
    /// The store of snapshots.
    pub snapshots: Snapshots,
    /// When snapshots are taken.
    pub snapshot_policy: SnapshotPolicy,
    /// Whether the log is this process's own.
    pub run_mode: RunMode,
    pub(crate) published: Published,
    pub(crate) metrics: Metrics,
    /// Maximum memory of all states, bytes; partitions that do not fit are not restored.
    memory_max: Option<u64>,
    progress: Mutex<BTreeMap<TopicPartition, Progress>>,
    heartbeats: Mutex<Vec<Arc<Heartbeat>>>,
    stopping: AtomicBool,
    /// Whether a desk has panicked since the start.
    has_panicked: AtomicBool,
    /// The record of each partition at which its desk panicked last, and how often it did.
    panics: Mutex<BTreeMap<TopicPartition, BTreeMap<u64, u32>>>,
}

/// Number of panics of a desk at one record after which the record is set aside.
pub(crate) const PANICS_MAX: u32 = 2;
/// Maximum number of records of a partition at which its desk panics; beyond it the partition stops.
const PANICS_REMEMBERED: usize = 1024;

impl std::fmt::Debug for WorkerContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerContext").field("run_mode", &self.run_mode).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) frames: IntCounterVec,
    pub(crate) seconds: HistogramVec,
    pub(crate) snapshot_seconds: Histogram,
    pub(crate) snapshot_failures: IntCounter,
    pub(crate) rejected: IntCounter,
    pub(crate) restarts: IntCounter,
    pub(crate) restore_seconds: Histogram,
}

impl Metrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = prometheus::exponential_buckets(0.000_01, 4.0, 12)?;
        let histogram =
            |name: &str, help: &str| Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.clone()));
        let metrics = Self {
            frames: IntCounterVec::new(Opts::new("mashang_desk_frames_total", "Records that a desk took"), &["desk"])?,
            seconds: HistogramVec::new(
                HistogramOpts::new("mashang_desk_seconds", "Time that a desk takes for one record")
                    .buckets(buckets.clone()),
                &["desk"],
            )?,
            snapshot_seconds: histogram("mashang_snapshot_seconds", "Time to write one snapshot")?,
            snapshot_failures: IntCounter::new(
                "mashang_snapshot_failures_total",
                "Snapshots that could not be written",
            )?,
            rejected: IntCounter::new(
                "mashang_rejected_records_total",
                "Records of scans that were set aside in rejects",
            )?,
            restarts: IntCounter::new("mashang_lane_restarts_total", "Restarts of lanes from their snapshots")?,
            restore_seconds: histogram("mashang_restore_seconds", "Time to restore one partition")?,
        };
        registry.register(Box::new(metrics.frames.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.snapshot_seconds.clone()))?;
        registry.register(Box::new(metrics.snapshot_failures.clone()))?;
        registry.register(Box::new(metrics.rejected.clone()))?;
        registry.register(Box::new(metrics.restarts.clone()))?;
        registry.register(Box::new(metrics.restore_seconds.clone()))?;
        Ok(metrics)
    }
}

impl WorkerContext {
    /// A context without lanes.
    ///
    /// # Panics
    /// If the registry already has metrics of these names.
    #[must_use]
    pub fn new(
        meta: Meta,
        rules_cache: RulesCache,
        snapshots: Snapshots,
        snapshot_policy: SnapshotPolicy,
        run_mode: RunMode,
        published: Published,
        registry: &Registry,
    ) -> Self {
        Self {
            meta,
            rules_cache,
            snapshots,
            snapshot_policy,
            run_mode,
            published,
            metrics: Metrics::new(registry).expect("the worker's metrics are registered once"),
            memory_max: None,
            progress: Mutex::default(),
            heartbeats: Mutex::default(),
            stopping: AtomicBool::new(false),
            has_panicked: AtomicBool::new(false),
            panics: Mutex::default(),
        }
    }

    /// The same with a maximum of memory for all states, bytes.
    #[must_use]
    pub fn with_memory(self, memory_max: Option<u64>) -> Self {
        Self { memory_max, ..self }
    }

    /// The memory of all states here, bytes, and its maximum; `None` if there is no maximum.
    pub fn memory(&self) -> Option<(u64, u64)> {
        let sizes = |progress: &Progress| progress.sizes.lock().iter().map(|(_, bytes)| *bytes as u64).sum::<u64>();
        Some((self.progress_map().values().map(sizes).sum(), self.memory_max?))
    }

    /// Whether a partition's state fits into the memory that is left.
    ///
    /// # Errors
    /// Why it does not, or its manifest cannot be read.
    pub(crate) fn check_memory(&self, partition: TopicPartition) -> Result<(), String> {
        let Some((used, max)) = self.memory() else { return Ok(()) };
        let needed = self.snapshots.memory(partition).map_err(|error| error.to_string())?;
        if needed == 0 || used + needed <= max {
            return Ok(());
        }
        let mb = |bytes: u64| bytes.div_ceil(1_000_000);
        Err(format!(
            "its state takes about {} MB, and {} of the {} MB of --memory are in use: start another worker, or give this one more",
            mb(needed),
            mb(used),
            mb(max)
        ))
    }

    /// A desk panicked at a record. Returns how often it has; `None` if its partition has had too many such records.
    pub(crate) fn panicked(&self, partition: TopicPartition, offset: u64) -> Option<u32> {
        self.has_panicked.store(true, Ordering::Release);
        let mut panics = self.panics.lock();
        let offsets = panics.entry(partition).or_default();
        if offsets.len() >= PANICS_REMEMBERED && !offsets.contains_key(&offset) {
            return None;
        }
        let times = offsets.entry(offset).or_default();
        *times += 1;
        Some(*times)
    }

    /// Whether a record is to be set aside, because its desk panics at it.
    pub(crate) fn is_set_aside(&self, partition: TopicPartition, offset: u64) -> bool {
        self.has_panicked.load(Ordering::Acquire)
            && self
                .panics
                .lock()
                .get(&partition)
                .is_some_and(|offsets| offsets.get(&offset).is_some_and(|&times| times >= PANICS_MAX))
    }

    /// Asks all lanes to finish their work, take a last snapshot and end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the lanes are asked to end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The progress of each task of this process.
    #[must_use]
    pub fn progress(&self) -> Vec<Progress> {
        self.progress_map().values().cloned().collect()
    }

    /// Reports the progress of a task that does not run yet.
    pub fn expect(&self, task: &dyn Task) {
        let partition = task.source().topic_partition();
        self.progress_map().insert(partition, Progress::new(partition, task.settled()));
    }

    /// Reports why a partition does not move, until its task is restored; not if it is not wanted any more.
    pub(crate) fn report_waiting(&self, partition: TopicPartition, why: &str, wanted: &Weak<()>) {
        let mut progress = self.progress_map();
        // Who drops its side removes the partition afterwards.
        if wanted.strong_count() > 0 {
            let progress = progress.entry(partition).or_insert_with(|| Progress::new(partition, 0));
            *progress.stopped.lock() = Some(why.to_owned());
        }
    }

    pub(crate) fn progress_map(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Progress>> {
        self.progress.lock()
    }

    /// The heartbeat of a new lane.
    #[must_use]
    pub fn heartbeat(&self) -> Arc<Heartbeat> {
        let heartbeat = Arc::new(Heartbeat::default());
        heartbeat.beat();
        self.heartbeats.lock().push(Arc::clone(&heartbeat));
        heartbeat
    }

    /// Time without progress of the slowest lane, ms: it hangs, or its answers do not become durable.
    #[must_use]
    pub fn stuck_ms(&self) -> u64 {
        self.heartbeats.lock().iter().map(|heartbeat| heartbeat.age_ms()).max().unwrap_or(0)
    }
}

/// When a thread last made progress, ms since the epoch. An idle thread makes progress.
#[derive(Debug, Default)]
pub struct Heartbeat(AtomicU64);

impl Heartbeat {
    /// Reports progress.
    pub(crate) fn beat(&self) {
        self.0.store(now_ms().cast_unsigned(), Ordering::Release);
    }

    /// Time since the last progress, ms.
    #[must_use]
    pub(crate) fn age_ms(&self) -> u64 {
        now_ms().cast_unsigned().saturating_sub(self.0.load(Ordering::Acquire))
    }
}

/// The progress of a task, for status and metrics.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The topic that the desk reads.
    pub topic: Topic,
    /// Its partition.
    pub partition: u16,
    /// The offset below which the answers to all records are durable.
    pub settled: Arc<AtomicU64>,
    /// When this process last published a snapshot, ms since the epoch, or 0.
    pub snapshot_ms: Arc<AtomicU64>,
    /// The offset of the last snapshot.
    pub snapshot_offset: Arc<AtomicU64>,
    /// Number of source partitions of which a frame is missing.
    pub missing: Arc<AtomicU64>,
    /// Why the task stopped, if it did.
    pub stopped: Arc<Mutex<Option<String>>>,
    /// Approximate memory of the state in bytes, by kind.
    pub sizes: Arc<Mutex<Vec<(&'static str, usize)>>>,
    /// What the desk keeps for later.
    pub kept: Arc<Mutex<Kept>>,
}

impl Progress {
    pub(crate) fn new(TopicPartition { topic, partition }: TopicPartition, settled: u64) -> Self {
        Self {
            topic,
            partition,
            settled: Arc::new(AtomicU64::new(settled)),
            snapshot_ms: Arc::default(),
            snapshot_offset: Arc::new(AtomicU64::new(settled)),
            missing: Arc::default(),
            stopped: Arc::default(),
            sizes: Arc::default(),
            kept: Arc::default(),
        }
    }

    /// Why the task stopped, if it did.
    #[must_use]
    pub fn why_stopped(&self) -> Option<String> {
        self.stopped.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use domain::model::address::{PartitionId, Partitions};
    use domain::model::rules::rulebook::Library;
    use eventlog::files::memory::Memory;
    use eventlog::local::meta::Clock;

    use super::*;
    use crate::snapshot::Snapshot;

    #[test]
    fn partition_that_does_not_fit_is_refused() {
        let snapshots = Snapshots::new(Arc::new(Memory::default()), Path::new("snapshots"));
        let meta = Meta::new(1, Clock::Wall, Partitions::all(2));
        let source = PartitionId { log: meta.topic_id(Topic::Scans), topic: Topic::Scans, partition: 0 };
        let snapshot = Snapshot {
            source,
            offset: 1,
            behaviour: 1,
            state: vec![0; 3_000_000],
            chain: None,
            new: Vec::new(),
            memory: 0,
        };
        snapshots.write(&snapshot).expect("room");
        let (rules, published) = (RulesCache::fixed(Library::new()), Box::new(|_, _, _| ()));
        let (policy, registry) = (SnapshotPolicy::default(), Registry::new());
        let context = WorkerContext::new(meta, rules, snapshots, policy, RunMode::Fleet, published, &registry);
        let [stored, new] = [0, 1].map(|partition| TopicPartition::new(Topic::Scans, partition));
        assert_eq!(context.check_memory(stored), Ok(()), "there is no maximum");
        let context = context.with_memory(Some(4_000_000));
        assert_eq!(context.check_memory(stored), Ok(()));
        let other = Progress::new(new, 0);
        *other.sizes.lock() = vec![("shoppers", 1_000_000), ("duplicates", 500_000)];
        context.progress_map().insert(new, other);
        let told = context.check_memory(stored).expect_err("too much");
        assert!(told.contains("about 3 MB, and 2 of the 4 MB of --memory are in use"), "{told}");
        assert_eq!(context.check_memory(new), Ok(()), "a partition without a snapshot takes nothing yet");
    }
}
