//! A lane: one thread that works for some stations. It reads, answers, appends the answers, and takes snapshots.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::flow::Output;
use domain::model::place::Topic;
use domain::model::rulebook::Library;
use domain::model::time::Millis;
use log::files::Files;
use log::local::{Log, OnFull, Readers, Refused};
use log::store::Append;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use tracing::{debug, error, info, warn};

use crate::any::AnyStation;
use crate::snapshot::{Snapshot, Snapshots};
use crate::station::StationError;

/// A station is let run so far before the next one has its turn.
const RECORDS_MAX: usize = 64;
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A station waits while so many of its answers are not durable.
const OUTSTANDING_MAX: u64 = 1024;
/// How often a lane says how large its states are.
const SIZES_EVERY: Duration = Duration::from_secs(2);
/// How long a lane sleeps if nobody wakes it.
const IDLE: Duration = Duration::from_millis(200);
/// Acknowledgements are taken at least so often.
const ACKS_WITHIN: Duration = Duration::from_millis(20);

/// When snapshots are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// At least so far apart.
    pub interval: Duration,
    /// Only after so many records.
    pub records: u64,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), records: 1 }
    }
}

/// What all lanes share.
#[derive(Debug)]
pub struct Works {
    pub log: Arc<Log>,
    pub library: Arc<Library>,
    pub snapshots: Snapshots,
    pub rhythm: Rhythm,
    /// How long the log keeps events, by their append time.
    pub retain_ms: i64,
    metrics: Metrics,
    stopping: AtomicBool,
}

#[derive(Debug)]
struct Metrics {
    frames: IntCounterVec,
    seconds: HistogramVec,
    snapshot_seconds: Histogram,
}

impl Metrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = prometheus::exponential_buckets(0.000_01, 4.0, 12)?;
        let metrics = Self {
            frames: IntCounterVec::new(
                Opts::new("mashang_desk_frames_total", "Frames that a desk has taken"),
                &["desk"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new("mashang_desk_seconds", "Time of a desk for a batch of frames")
                    .buckets(buckets.clone()),
                &["desk"],
            )?,
            snapshot_seconds: Histogram::with_opts(
                HistogramOpts::new("mashang_snapshot_seconds", "Writing one snapshot").buckets(buckets),
            )?,
        };
        registry.register(Box::new(metrics.frames.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.snapshot_seconds.clone()))?;
        Ok(metrics)
    }
}

impl Works {
    /// # Panics
    /// If metrics of these names are in the registry already.
    #[must_use]
    pub fn new(
        log: Arc<Log>,
        library: Arc<Library>,
        files: Arc<dyn Files>,
        snapshots: &Path,
        rhythm: Rhythm,
        retain_ms: i64,
        registry: &Registry,
    ) -> Self {
        Self {
            log,
            library,
            snapshots: Snapshots::new(files, snapshots),
            rhythm,
            retain_ms,
            metrics: Metrics::new(registry).expect("the worker's metrics are registered once"),
            stopping: AtomicBool::new(false),
        }
    }

    /// Asks all lanes to finish what is in the log, take a last snapshot and end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
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
    /// About how many bytes of memory the state takes, by kind.
    pub sizes: Arc<Mutex<Vec<(&'static str, usize)>>>,
}

struct Seat {
    station: AnyStation,
    progress: Progress,
    last_snapshot: Instant,
    last_sizes: Instant,
}

/// A lane before it runs.
pub struct Lane {
    works: Arc<Works>,
    seats: Vec<Seat>,
    acks: Receiver<Ack>,
    acked: Sender<Ack>,
    snapshots: Option<Sender<(Snapshot, Progress)>>,
    answers: Vec<Output>,
}

struct Ack {
    seat: usize,
    answers: u64,
    result: Result<(), Refused>,
}

impl Lane {
    /// Opens the stations of some partitions of every desk's topic.
    ///
    /// # Errors
    /// A snapshot or the log cannot be taken up.
    pub fn open(works: &Arc<Works>, partitions: &[(Topic, u16)]) -> Result<Self, StationError> {
        let seats = partitions.iter().map(|&(topic, partition)| Seat::open(works, topic, partition));
        let seats = seats.collect::<Result<_, _>>()?;
        let (acked, acks) = channel();
        Ok(Self { works: Arc::clone(works), seats, acks, acked, snapshots: None, answers: Vec::new() })
    }

    /// How far its stations are.
    #[must_use]
    pub fn progress(&self) -> Vec<Progress> {
        self.seats.iter().map(|seat| seat.progress.clone()).collect()
    }

    /// Works until it is asked to stop and nothing is left to do.
    ///
    /// # Errors
    /// Why it stops before.
    pub fn run(mut self) -> Result<(), StationError> {
        std::thread::scope(|scope| {
            let (to_writer, snapshots) = channel();
            self.snapshots = Some(to_writer);
            let works = Arc::clone(&self.works);
            scope.spawn(move || write_snapshots(&works, &snapshots));
            let result = self.work();
            self.snapshots = None;
            result
        })
    }

    fn work(&mut self) -> Result<(), StationError> {
        loop {
            // Asked before the work, so that a lane that is idle was idle after it was asked.
            let stopping = self.works.stopping.load(Ordering::Acquire);
            let version = self.works.log.version(Readers::Desks);
            let mut is_idle = true;
            for seat in 0..self.seats.len() {
                is_idle &= self.turn(seat)? == 0;
            }
            if !self.take_acks() {
                return Ok(());
            }
            for seat in &mut self.seats {
                seat.snapshots(&self.works, self.snapshots.as_ref(), false);
            }
            if !is_idle {
                continue;
            }
            for seat in &self.seats {
                seat.station.check_nothing_is_missing()?;
            }
            if stopping && self.is_settled() {
                for seat in &mut self.seats {
                    seat.snapshots(&self.works, self.snapshots.as_ref(), true);
                }
                return Ok(());
            }
            // That answers are durable is no reason to be woken; it is noted soon enough.
            let is_open = self.seats.iter().any(|seat| seat.station.outstanding() > 0);
            self.works.log.wait(Readers::Desks, version, if is_open { ACKS_WITHIN } else { IDLE });
        }
    }

    /// Lets a station take what it can; says how much it took.
    fn turn(&mut self, at: usize) -> Result<usize, StationError> {
        let Self { works, seats, answers, acked, .. } = self;
        let seat = &mut seats[at];
        if seat.station.outstanding() >= OUTSTANDING_MAX {
            return Ok(0);
        }
        let timer = works.metrics.seconds.with_label_values(&[seat.station.desk()]).start_timer();
        let taken = seat.station.step(&works.library, RECORDS_MAX, ANSWER_BYTES_MAX, answers)?;
        if taken == 0 {
            timer.stop_and_discard();
            return Ok(0);
        }
        timer.observe_duration();
        works.metrics.frames.with_label_values(&[seat.station.desk()]).inc_by(taken as u64);
        if answers.is_empty() {
            seat.publish();
            return Ok(taken);
        }
        let count = answers.len() as u64;
        let records = answers.drain(..).map(|Output { topic, partition, record }| Append { topic, partition, record });
        let acked = acked.clone();
        let done = move |result| {
            let _ = acked.send(Ack { seat: at, answers: count, result });
        };
        works.log.append(records.collect(), OnFull::Wait, Box::new(done));
        Ok(taken)
    }

    /// Notes what is durable; `false` once the log takes nothing any more.
    fn take_acks(&mut self) -> bool {
        while let Ok(Ack { seat, answers, result }) = self.acks.try_recv() {
            if let Err(refused) = result {
                // The log has said why. Whatever was not written is answered again after the next start.
                warn!(%refused, "a lane stops");
                return false;
            }
            let seat = &mut self.seats[seat];
            seat.station.made_durable(answers);
            seat.publish();
        }
        true
    }

    /// Whether everything that is in the log for these stations is answered, and the answers are durable.
    fn is_settled(&self) -> bool {
        self.seats.iter().all(|seat| {
            let Progress { topic, partition, settled, .. } = &seat.progress;
            settled.load(Ordering::Acquire) == self.works.log.partition(*topic, *partition).end()
        })
    }
}

impl Seat {
    fn open(works: &Works, topic: Topic, partition: u16) -> Result<Self, StationError> {
        let meta = works.log.meta();
        let source = works.log.partition(topic, partition);
        let station = AnyStation::open(source, meta.partitions, meta.clock, &works.snapshots, &works.library)?;
        debug!(%topic, partition, from = station.settled(), end = source.end(), "restored");
        let progress = Progress {
            topic,
            partition,
            settled: Arc::new(AtomicU64::new(station.settled())),
            snapshot_ms: Arc::default(),
            snapshot_offset: Arc::new(AtomicU64::new(station.settled())),
            sizes: Arc::default(),
        };
        Ok(Self { station, progress, last_snapshot: Instant::now(), last_sizes: Instant::now() })
    }

    fn publish(&self) {
        self.progress.settled.store(self.station.settled(), Ordering::Release);
    }

    /// Takes a snapshot if it is time, and hands out one that may be published.
    fn snapshots(&mut self, works: &Works, to: Option<&Sender<(Snapshot, Progress)>>, is_last: bool) {
        let Self { station, progress, last_snapshot, last_sizes, .. } = self;
        if last_sizes.elapsed() >= SIZES_EVERY {
            *last_sizes = Instant::now();
            *progress.sizes.lock().unwrap_or_else(PoisonError::into_inner) = station.sizes();
        }
        let is_due =
            last_snapshot.elapsed() >= works.rhythm.interval && station.since_snapshot() >= works.rhythm.records;
        if is_due || is_last {
            *last_snapshot = Instant::now();
            station.take_snapshot();
        }
        if let (Some(snapshot), Some(to)) = (station.snapshot(&works.snapshots), to) {
            let _ = to.send((snapshot, progress.clone()));
        }
    }
}

/// Writes snapshots beside the lane, and lets go of the log that they no longer need.
fn write_snapshots(works: &Works, snapshots: &Receiver<(Snapshot, Progress)>) {
    for (snapshot, progress) in snapshots {
        let timer = works.metrics.snapshot_seconds.start_timer();
        let (source, offset, bytes) = (snapshot.source, snapshot.offset, snapshot.state.len());
        match works.snapshots.write(&snapshot) {
            Ok(needed) => {
                timer.observe_duration();
                debug!(topic = %source.topic, partition = source.partition, offset, bytes, "snapshot");
                progress.snapshot_ms.store(log::local::now_ms().cast_unsigned(), Ordering::Release);
                progress.snapshot_offset.store(offset, Ordering::Release);
                let before = match source.topic {
                    // The events themselves stay for `log dump`.
                    Topic::Scans => log::local::now_ms().saturating_sub(works.retain_ms),
                    _ => Millis::MAX,
                };
                works.log.retire(source.topic, source.partition, needed, before);
            }
            Err(error) => error!(%error, "a snapshot was not written; the ones before it stand"),
        }
    }
    info!("snapshots are written");
}
