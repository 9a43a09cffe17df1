//! The log with its committer: one thread writes the appends of all others in rounds, with one sync for each round.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use domain::model::address::{Topic, TopicPartition};
use domain::model::time::Millis;
use parking_lot::{Condvar, Mutex};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};
use tracing::{error, info, warn};

use crate::api::{Append, AppendError, Done, Health, OnFull, now_ms};
use crate::error::LogError;
use crate::files::Files;
use crate::local::meta::Meta;
use crate::local::reader::Partition;
use crate::local::store::{Sizes, Store, Unsynced};
use crate::queue_budget::QueueBudget;

/// Maximum bytes of records in one round, unless one append has more; further appends wait for the next round.
const ROUND_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Maximum size of the records that are not durable yet, bytes; a further append with `OnFull::Refuse` is refused. Appends with
/// `OnFull::Wait` have the bound of their lane.
const QUEUE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Maximum number of journals whose segments are being synced; the log begins another one only after that.
const UNSYNCED_MAX: usize = 1;
/// Minimum time between the beginnings of two rounds; appends that arrive meanwhile share a sync.
const ROUND_INTERVAL: Duration = Duration::from_millis(2);
/// Interval between retries while the disk is full.
const FULL_INTERVAL: Duration = Duration::from_millis(200);

/// The log. All writers and readers share it.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    meta: Meta,
    partitions: BTreeMap<TopicPartition, Arc<Partition>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// The newest rounds with facts, and with records of all other topics.
    news: [News; 2],
    budget: QueueBudget,
    health: AtomicU8,
    metrics: Metrics,
}

/// The readers that a round wakes: readers of facts sleep on while only desks write to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Readers of facts.
    Facts = 0,
    /// Readers of all other topics.
    Desks = 1,
}

#[derive(Debug, Default)]
struct News {
    version: Mutex<u64>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// The latest request for each partition: delete below an offset what was appended before a time.
    retire: BTreeMap<TopicPartition, (u64, Millis)>,
    is_closed: bool,
}

struct Entry {
    records: Vec<Append>,
    bytes: usize,
    on_full: OnFull,
    done: Done,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("bytes", &self.bytes).field("on_full", &self.on_full).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Metrics {
    fsyncs: IntCounter,
    fsync_seconds: Histogram,
    rounds: IntCounter,
    frames: IntCounter,
    bytes: IntCounter,
    queue_bytes: IntGauge,
}

impl Metrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = prometheus::exponential_buckets(0.000_05, 2.0, 18)?;
        let metrics = Self {
            fsyncs: IntCounter::new("mashang_fsyncs_total", "Syncs of the log's files")?,
            fsync_seconds: Histogram::with_opts(
                HistogramOpts::new("mashang_fsync_seconds", "Writing and syncing one round of the log")
                    .buckets(buckets),
            )?,
            rounds: IntCounter::new("mashang_log_rounds_total", "Rounds that were made durable")?,
            frames: IntCounter::new("mashang_log_frames_total", "Frames that were appended")?,
            bytes: IntCounter::new("mashang_log_bytes_total", "Bytes of the frames that were appended")?,
            queue_bytes: IntGauge::new("mashang_log_queue_bytes", "Bytes that wait for a round")?,
        };
        registry.register(Box::new(metrics.fsyncs.clone()))?;
        registry.register(Box::new(metrics.fsync_seconds.clone()))?;
        registry.register(Box::new(metrics.rounds.clone()))?;
        registry.register(Box::new(metrics.frames.clone()))?;
        registry.register(Box::new(metrics.bytes.clone()))?;
        registry.register(Box::new(metrics.queue_bytes.clone()))?;
        Ok(metrics)
    }
}

impl Log {
    /// Opens a log, or creates one, and starts its committer.
    ///
    /// # Errors
    /// As [`Store::open`].
    ///
    /// # Panics
    /// If metrics of these names are in the registry already.
    pub fn open(
        files: Arc<dyn Files>,
        dir: &Path,
        meta: &Meta,
        sizes: Sizes,
        registry: &Registry,
    ) -> Result<Self, LogError> {
        let store = Store::open(files, dir, meta, sizes)?;
        let metrics = Metrics::new(registry).expect("the log's metrics are registered once");
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            news: Default::default(),
            health: AtomicU8::new(Health::Good as u8),
            budget: QueueBudget::new(QUEUE_BYTES_MAX, metrics.queue_bytes.clone()),
            metrics,
        });
        let (meta, partitions) = (store.meta().clone(), store.partitions());
        // Neither thread ever waits for the other: no journal is begun before the last one's segments are synced.
        let (to_syncer, unsynced) = sync_channel::<Unsynced>(UNSYNCED_MAX);
        let (synced, from_syncer) = sync_channel(UNSYNCED_MAX);
        let committer = Committer { store, shared: Arc::clone(&shared), to_syncer: Some(to_syncer), from_syncer };
        let threads = vec![
            spawn("log-committer", move || committer.run_guarded()),
            spawn("log-syncer", move || sync_segments(&unsynced, &synced)),
        ];
        Ok(Self { shared, meta, partitions, threads: Mutex::new(threads) })
    }

    /// The identity of the log.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// A partition, to read.
    ///
    /// # Panics
    /// If the log has no such partition.
    #[must_use]
    pub fn partition(&self, partition: TopicPartition) -> &Arc<Partition> {
        &self.partitions[&partition]
    }

    /// Appends records, all in one round; `done` is called once they are durable or refused.
    ///
    /// The queue holds 256 MiB; beyond that, appends with `OnFull::Refuse` are refused. An append with `OnFull::Wait` is an answer
    /// that must not be lost, so it always has room: its lane bounds how many it has in flight.
    pub fn append(&self, records: Vec<Append>, on_full: OnFull, done: Done) {
        let bytes: usize = records.iter().map(|r| r.record.len()).sum();
        let mut queue = self.shared.queue.lock();
        if queue.is_closed {
            drop(queue);
            return done(Err(self.shared.refusal()));
        }
        match on_full {
            OnFull::Wait => self.shared.budget.reserve(bytes),
            OnFull::Refuse if self.shared.budget.try_reserve(bytes) => {}
            OnFull::Refuse => {
                drop(queue);
                return done(Err(AppendError::Full));
            }
        }
        queue.entries.push_back(Entry { records, bytes, on_full, done });
        drop(queue);
        self.shared.wake.notify_one();
    }

    /// Appends records and waits until they are durable.
    ///
    /// # Errors
    /// The append is refused.
    pub fn append_and_wait(&self, records: Vec<Append>) -> Result<(), AppendError> {
        let (result_tx, result_rx) = sync_channel(1);
        self.append(
            records,
            OnFull::Refuse,
            Box::new(move |result| {
                let _ = result_tx.send(result);
            }),
        );
        result_rx.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Asks the committer to delete whole segments of a partition below an offset that were appended before a time.
    /// A later request for the same partition replaces one that still waits.
    pub fn retire(&self, partition: TopicPartition, below: u64, before: Millis) {
        self.shared.queue.lock().retire.insert(partition, (below, before));
    }

    /// Whether it accepts records now.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.shared.health.load(Ordering::Acquire) {
            0 => Health::Good,
            1 => Health::Full,
            _ => Health::Failed,
        }
    }

    /// A number that grows with every round that wakes these readers, for [`Log::wait`].
    #[must_use]
    pub fn version(&self, readers: Readers) -> u64 {
        *self.shared.news[readers as usize].version.lock()
    }

    /// Waits until a round has followed `version`, or until the timeout.
    pub fn wait(&self, readers: Readers, version: u64, timeout: Duration) {
        let news = &self.shared.news[readers as usize];
        let mut now = news.version.lock();
        news.changed.wait_while_for(&mut now, |now| *now == version, timeout);
    }

    /// Makes queued records durable and stops; later appends are refused.
    pub fn close(&self) {
        self.shared.queue.lock().is_closed = true;
        self.shared.wake.notify_one();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn refusal(&self) -> AppendError {
        if self.health.load(Ordering::Acquire) == Health::Failed as u8 {
            AppendError::Failed
        } else {
            AppendError::Closed
        }
    }

    fn notify(&self, readers: Readers) {
        let news = &self.news[readers as usize];
        *news.version.lock() += 1;
        news.changed.notify_all();
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system has room for a thread")
}

/// Syncs segments beside the rounds.
fn sync_segments(unsynced: &Receiver<Unsynced>, synced: &SyncSender<(Unsynced, Result<(), LogError>)>) {
    for files in unsynced {
        let result = files.sync();
        if synced.send((files, result)).is_err() {
            return;
        }
    }
}

struct Committer {
    store: Store,
    shared: Arc<Shared>,
    to_syncer: Option<SyncSender<Unsynced>>,
    from_syncer: Receiver<(Unsynced, Result<(), LogError>)>,
}

impl Committer {
    /// Runs until the end. A panic makes the log fail, and every waiting append is refused.
    fn run_guarded(mut self) {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run()));
        if run.is_err() {
            error!("the log stops because of an internal error");
            self.shared.health.store(Health::Failed as u8, Ordering::Release);
        }
        self.refuse_all();
        // The syncer ends with its channel.
        self.to_syncer = None;
    }

    fn run(&mut self) {
        let mut last = Instant::now();
        loop {
            let Some(entries) = self.next_round(last) else { break };
            last = Instant::now();
            // On a full disk an empty round, too: it finds out whether there is room again, even if nothing is appended.
            if (!entries.is_empty() || self.is_full()) && self.round(entries).is_err() {
                break;
            }
            if self.is_full() && self.shared.queue.lock().is_closed {
                // Nothing frees space any more: what still waits is refused.
                break;
            }
            if let Err(error) = self.housekeeping() {
                self.fail(&error);
                break;
            }
        }
    }

    /// Waits for work; `None` once the log is closed and the queue is empty.
    fn next_round(&self, last: Instant) -> Option<Vec<Entry>> {
        let mut queue = self.shared.queue.lock();
        while queue.entries.is_empty() && queue.retire.is_empty() {
            if queue.is_closed {
                return None;
            }
            self.shared.wake.wait_for(&mut queue, FULL_INTERVAL);
            if self.store.is_rotation_due() || self.is_full() {
                break;
            }
        }
        let pause = if self.is_full() && queue.entries.iter().all(|e| e.on_full == OnFull::Wait) {
            FULL_INTERVAL
        } else {
            ROUND_INTERVAL
        };
        if let Some(left) = pause.checked_sub(last.elapsed())
            && !queue.is_closed
        {
            drop(queue);
            std::thread::sleep(left);
            queue = self.shared.queue.lock();
        }
        let mut bytes = 0;
        let count = queue.entries.iter().take_while(|entry| {
            bytes += entry.bytes;
            bytes <= ROUND_BYTES_MAX || bytes == entry.bytes
        });
        let count = count.count();
        Some(queue.entries.drain(..count).collect())
    }

    fn round(&mut self, mut entries: Vec<Entry>) -> Result<(), ()> {
        let records: Vec<Append> = entries.iter_mut().flat_map(|e| std::mem::take(&mut e.records)).collect();
        let timer = self.shared.metrics.fsync_seconds.start_timer();
        match self.store.append(&records, now_ms()) {
            Ok(()) => {
                timer.observe_duration();
                if self.shared.health.swap(Health::Good as u8, Ordering::AcqRel) == Health::Full as u8 {
                    info!("the disk of the log has room again");
                }
                let metrics = &self.shared.metrics;
                metrics.fsyncs.inc();
                metrics.rounds.inc();
                metrics.frames.inc_by(records.len() as u64);
                metrics.bytes.inc_by(entries.iter().map(|e| e.bytes as u64).sum());
                for entry in entries {
                    self.finish(entry, Ok(()));
                }
                self.notify_readers(&records);
                Ok(())
            }
            Err(error) if error.is_full() && !self.store.is_broken() => {
                timer.stop_and_discard();
                if self.shared.health.swap(Health::Full as u8, Ordering::AcqRel) != Health::Full as u8 {
                    warn!(%error, "the disk of the log is full: events are refused until there is room");
                }
                self.put_back(entries, records);
                Ok(())
            }
            Err(error) => {
                timer.stop_and_discard();
                self.fail(&error);
                entries.into_iter().for_each(|entry| self.finish(entry, Err(AppendError::Failed)));
                Err(())
            }
        }
    }

    /// Refuses the appends that do not wait, those in the queue too, and puts those that wait back at its head: however many
    /// wait, no sender waits behind them.
    fn put_back(&self, entries: Vec<Entry>, records: Vec<Append>) {
        let mut records = records.into_iter();
        let mut waiting = Vec::new();
        for mut entry in entries {
            let mut bytes = 0;
            while bytes < entry.bytes {
                let record = records.next().expect("a round holds all records of its entries");
                bytes += record.record.len();
                entry.records.push(record);
            }
            match entry.on_full {
                OnFull::Refuse => self.finish(entry, Err(AppendError::Full)),
                OnFull::Wait => waiting.push(entry),
            }
        }
        let mut queue = self.shared.queue.lock();
        let queued = std::mem::take(&mut queue.entries);
        let (refused, behind): (Vec<_>, Vec<_>) = queued.into_iter().partition(|e| e.on_full == OnFull::Refuse);
        queue.entries.extend(waiting.into_iter().chain(behind));
        drop(queue);
        refused.into_iter().for_each(|entry| self.finish(entry, Err(AppendError::Full)));
    }

    /// Begins another journal when one is due, and removes old journals and old segments.
    fn housekeeping(&mut self) -> Result<(), LogError> {
        while let Ok((unsynced, result)) = self.from_syncer.try_recv() {
            result?;
            self.store.synced(&unsynced)?;
            self.shared.metrics.fsyncs.inc_by(unsynced.len() as u64 + 1);
        }
        if self.store.is_rotation_due() {
            match self.store.rotate() {
                Ok(unsynced) => {
                    self.shared.metrics.fsyncs.inc_by(2);
                    if let Some(to_syncer) = &self.to_syncer {
                        let _ = to_syncer.send(unsynced);
                    }
                }
                Err(error) if error.is_full() => {}
                Err(error) => return Err(error),
            }
        }
        let retire = std::mem::take(&mut self.shared.queue.lock().retire);
        for (partition, (below, before)) in retire {
            let gone = self.store.retire(partition, below, before)?;
            self.shared.metrics.fsyncs.inc_by(gone);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.shared.health.load(Ordering::Acquire) == Health::Full as u8
    }

    fn fail(&self, error: &LogError) {
        error!(%error, "the log stops");
        self.shared.health.store(Health::Failed as u8, Ordering::Release);
    }

    fn refuse_all(&self) {
        let entries = {
            let mut queue = self.shared.queue.lock();
            queue.is_closed = true;
            std::mem::take(&mut queue.entries)
        };
        let refusal = self.shared.refusal();
        entries.into_iter().for_each(|entry| self.finish(entry, Err(refusal)));
        self.shared.notify(Readers::Facts);
        self.shared.notify(Readers::Desks);
    }

    fn notify_readers(&self, records: &[Append]) {
        if records.iter().any(|r| r.topic == Topic::Facts) {
            self.shared.notify(Readers::Facts);
        }
        if records.iter().any(|r| r.topic != Topic::Facts) {
            self.shared.notify(Readers::Desks);
        }
    }

    fn finish(&self, entry: Entry, result: Result<(), AppendError>) {
        self.shared.budget.release(entry.bytes);
        (entry.done)(result);
    }
}
