//! What all lanes of a process share, and how far their stations are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::model::address::{PartitionId, Topic};
use eventlog::api::now_ms;
use eventlog::local::meta::Meta;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use crate::any_task::AnyTask;
use crate::rules_cache::RulesCache;
use crate::snapshot::Snapshots;

/// When snapshots are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// At least so far apart.
    pub interval: Duration,
    /// Only after so many records.
    pub records: u64,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), records: 1 }
    }
}

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// This process's own: a station that stops is its end, a frame that is missing too, and it ends with everything done.
    Embedded,
    /// A fleet's: a station that stops leaves the others at work, a frame that is missing is an alarm until its writer has
    /// replayed it, and the process ends without waiting for what others still send.
    Fleet,
}

/// Told of every snapshot that is published: what it is of, its offset, and from which offset on the log is still needed.
pub type Published = Box<dyn Fn(PartitionId, u64, u64) + Send + Sync>;

/// What all lanes share.
pub struct WorkerContext {
    pub meta: Meta,
    pub books: RulesCache,
    pub snapshots: Snapshots,
    pub rhythm: SnapshotPolicy,
    pub manner: RunMode,
    pub(crate) published: Published,
    pub(crate) metrics: Metrics,
    board: Mutex<BTreeMap<(Topic, u16), Progress>>,
    pulses: Mutex<Vec<Arc<Heartbeat>>>,
    stopping: AtomicBool,
}

impl std::fmt::Debug for WorkerContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Works").field("manner", &self.manner).finish_non_exhaustive()
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
            frames: IntCounterVec::new(
                Opts::new("mashang_desk_frames_total", "Frames that a desk has taken"),
                &["desk"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new("mashang_desk_seconds", "Time of a desk for a frame").buckets(buckets.clone()),
                &["desk"],
            )?,
            snapshot_seconds: histogram("mashang_snapshot_seconds", "Writing one snapshot")?,
            snapshot_failures: IntCounter::new("mashang_snapshot_failures_total", "Snapshots that were not written")?,
            rejected: IntCounter::new(
                "mashang_rejected_records_total",
                "Records of scans that are no frames: set aside",
            )?,
            restarts: IntCounter::new("mashang_lane_restarts_total", "Lanes that began again from their snapshots")?,
            restore_seconds: histogram("mashang_restore_seconds", "Restoring one partition's state")?,
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
    /// # Panics
    /// If metrics of these names are in the registry already.
    #[must_use]
    pub fn new(
        meta: Meta,
        books: RulesCache,
        snapshots: Snapshots,
        rhythm: SnapshotPolicy,
        manner: RunMode,
        published: Published,
        registry: &Registry,
    ) -> Self {
        Self {
            meta,
            books,
            snapshots,
            rhythm,
            manner,
            published,
            metrics: Metrics::new(registry).expect("the worker's metrics are registered once"),
            board: Mutex::default(),
            pulses: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Asks all lanes to finish, take a last snapshot and end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// How far every station of this process is.
    #[must_use]
    pub fn progress(&self) -> Vec<Progress> {
        self.board().values().cloned().collect()
    }

    /// Tells of a station that is not at work yet.
    pub fn expect(&self, station: &AnyTask) {
        let PartitionId { topic, partition, .. } = station.source();
        self.board().insert((topic, partition), Progress::new(topic, partition, station.settled()));
    }

    pub(crate) fn board(&self) -> MutexGuard<'_, BTreeMap<(Topic, u16), Progress>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pulse of another lane.
    #[must_use]
    pub fn pulse(&self) -> Arc<Heartbeat> {
        let pulse = Arc::new(Heartbeat::default());
        pulse.beat();
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&pulse));
        pulse
    }

    /// For how long the slowest lane has made no progress, ms: it hangs, or its answers do not become durable.
    #[must_use]
    pub fn stuck_ms(&self) -> u64 {
        let now = now_ms().cast_unsigned();
        let pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.iter().map(|pulse| now.saturating_sub(pulse.0.load(Ordering::Acquire))).max().unwrap_or(0)
    }
}

/// When a lane was last seen to make progress, ms since the epoch; one that has nothing to do makes progress.
#[derive(Debug, Default)]
pub struct Heartbeat(AtomicU64);

impl Heartbeat {
    /// There is progress.
    pub fn beat(&self) {
        self.0.store(now_ms().cast_unsigned(), Ordering::Release);
    }
}

/// How far a station is, for whoever asks.
#[derive(Clone, Debug)]
pub struct Progress {
    pub topic: Topic,
    pub partition: u16,
    /// The next offset as far as all answers are durable.
    pub settled: Arc<AtomicU64>,
    /// When the last snapshot was published, ms since the epoch, and its offset; 0 if none was.
    pub snapshot_ms: Arc<AtomicU64>,
    pub snapshot_offset: Arc<AtomicU64>,
    /// Source partitions of which a frame is missing.
    pub missing: Arc<AtomicU64>,
    /// Why it stopped, where it did.
    pub stopped: Arc<Mutex<Option<String>>>,
    /// About how many bytes of memory the state takes, by kind.
    pub sizes: Arc<Mutex<Vec<(&'static str, usize)>>>,
}

impl Progress {
    pub(crate) fn new(topic: Topic, partition: u16, settled: u64) -> Self {
        Self {
            topic,
            partition,
            settled: Arc::new(AtomicU64::new(settled)),
            snapshot_ms: Arc::default(),
            snapshot_offset: Arc::new(AtomicU64::new(settled)),
            missing: Arc::default(),
            stopped: Arc::default(),
            sizes: Arc::default(),
        }
    }

    /// Why it stopped, where it did.
    #[must_use]
    pub fn why_stopped(&self) -> Option<String> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
