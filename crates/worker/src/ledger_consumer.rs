//! The thread that writes the ledger: it reads facts as they become durable, and commits them in transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use domain::model::address::{Topic, TopicPartition};
use domain::protocol::positions::Missing;
use eventlog::api::{Consumer, try_poll};
use eventlog::error::LogError;
use eventlog::local::meta::Meta;
use eventlog::retry::Retry;
use ledger::error::LedgerError;
use ledger::writer::Writer;
use parking_lot::Mutex;
use prometheus::{Histogram, HistogramOpts, IntCounter, Registry};
use tracing::{error, info, warn};

use crate::context::Heartbeat;

/// Number of facts after which a transaction is committed.
const FACTS_MAX: usize = 200_000;
/// Time since the first fact after which a transaction is committed.
const COMMIT_AFTER: Duration = Duration::from_secs(1);
/// Minimum time between two transactions when there is nothing more to read.
const COMMIT_DISTANCE: Duration = Duration::from_millis(100);
/// Minimum time between two transactions, as a multiple of the duration of the last one, [`COMMIT_AFTER`] at most: transactions that
/// take long share more of their pages.
const COMMIT_REST: u32 = 20;
/// Time between two reads when there is nothing to read. The log does not wake the thread: each read takes all new rounds.
const PAUSE: Duration = Duration::from_millis(25);
/// Delay before a failed commit is retried, without its jitter. It stays short: partitions that the group takes away are released
/// between two tries.
const COMMIT_RETRY: Duration = Duration::from_millis(250);
/// Delay before the thread restarts after an error that may pass; each further delay is twice as long.
const RESTART_MIN: Duration = Duration::from_millis(500);
/// Maximum of these delays, without their jitter.
const RETRY_MAX: Duration = Duration::from_secs(2);

const RETIRED: &str = "the log no longer has the facts that the ledger needs: restore a ledger that belongs to this log, or begin a new data directory";

/// Why the ledger stops.
#[derive(Debug, thiserror::Error)]
pub enum LedgerStop {
    /// The database.
    #[error("the ledger cannot continue")]
    Ledger(#[from] LedgerError),
    /// The log.
    #[error("the ledger cannot continue")]
    Log(#[from] LogError),
    /// A frame does not come.
    #[error("the ledger cannot continue")]
    Missing(#[from] Missing),
}

/// A facts partition is assigned or revoked.
#[derive(Clone, Copy, Debug)]
pub enum LedgerCommand {
    /// The partition is this process's from now on.
    Own(u16),
    /// The partition is another process's.
    Leave(u16),
}

/// Opens a consumer.
pub type Connect = Box<dyn Fn() -> Result<Box<dyn Consumer>, LogError> + Send>;
/// Called after a commit with a facts partition and its next offset.
pub type Committed = Box<dyn Fn(u16, u64) + Send>;

/// Who assigns the partitions that the ledger writes.
pub enum Owner {
    /// The ledger writes all partitions.
    Itself,
    /// A group assigns them. An error that may pass is retried.
    Group(Receiver<LedgerCommand>),
}

/// The progress of the ledger, for status and metrics.
#[derive(Debug, Default)]
pub struct Progress {
    /// For each facts partition, the offset below which all facts are in the ledger.
    committed: Mutex<BTreeMap<u16, u64>>,
    /// The partitions that stopped, and why.
    stopped: Mutex<BTreeMap<u16, String>>,
    /// Number of source partitions of which a frame is missing.
    missing: AtomicU64,
    heartbeat: Heartbeat,
    stopping: AtomicBool,
}

impl Progress {
    /// Asks the thread to commit what it read and end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// For each facts partition that it owns, the offset below which all facts are in the ledger.
    pub fn committed(&self) -> BTreeMap<u16, u64> {
        self.committed.lock().clone()
    }

    /// The partitions that stopped, and why.
    pub fn stopped(&self) -> BTreeMap<u16, String> {
        self.stopped.lock().clone()
    }

    /// Number of source partitions of which a frame is missing.
    pub fn missing(&self) -> u64 {
        self.missing.load(Ordering::Acquire)
    }

    /// Time without progress.
    pub fn stuck(&self) -> Duration {
        Duration::from_millis(self.heartbeat.age_ms())
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
struct Metrics {
    commit_seconds: Histogram,
    duplicates: IntCounter,
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        let buckets = prometheus::exponential_buckets(0.001, 2.0, 14).expect("ascending");
        let opts = HistogramOpts::new("mashang_ledger_commit_seconds", "Time of one transaction of the ledger")
            .buckets(buckets);
        let commit_seconds = Histogram::with_opts(opts).expect("a name");
        let duplicates =
            IntCounter::new("mashang_duplicates_total", "Duplicates that came into the ledger").expect("a name");
        registry.register(Box::new(commit_seconds.clone())).expect("registered once");
        registry.register(Box::new(duplicates.clone())).expect("registered once");
        Self { commit_seconds, duplicates }
    }
}

/// The writer with its position in the log.
pub struct LedgerConsumer {
    meta: Meta,
    writer: Writer,
    /// The ledger's location, for messages.
    at: String,
    consumer: Box<dyn Consumer>,
    connect: Connect,
    owner: Owner,
    owned: BTreeSet<u16>,
    /// Owned partitions that were assigned while the database did not answer.
    waiting: BTreeSet<u16>,
    committed: Committed,
    progress: Arc<Progress>,
    metrics: Metrics,
    duplicates_counted: i64,
}

impl LedgerConsumer {
    /// Begins at the ledger's positions. Without a group, it owns all facts partitions.
    pub fn open(
        meta: &Meta,
        (writer, at): (Writer, String),
        connect: Connect,
        owner: Owner,
        committed: Committed,
        registry: &Registry,
    ) -> Result<Self, LedgerStop> {
        let mut ledger = Self {
            meta: meta.clone(),
            writer,
            at,
            consumer: connect()?,
            connect,
            owner,
            owned: BTreeSet::new(),
            waiting: BTreeSet::new(),
            committed,
            progress: Arc::default(),
            metrics: Metrics::new(registry),
            duplicates_counted: 0,
        };
        ledger.progress.heartbeat.beat();
        if matches!(ledger.owner, Owner::Itself) {
            for facts in 0..meta.partitions.facts {
                ledger.adopt(facts)?;
            }
        }
        Ok(ledger)
    }

    /// The progress, which it updates.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    fn is_of_group(&self) -> bool {
        matches!(self.owner, Owner::Group(_))
    }

    /// Begins a partition at the database's position.
    fn adopt(&mut self, facts: u16) -> Result<(), LedgerStop> {
        self.consumer.revoke(of(facts));
        self.writer.adopt(facts)?;
        self.owned.insert(facts);
        if self.writer.logs().any(|(topic, id)| id != self.meta.topic_id(topic)) {
            return Err(LedgerError::OtherLog(self.at.clone()).into());
        }
        let (next, first) = (self.writer.next_offset(facts), self.writer.first_wanted(facts));
        // The last record that the database has is compared, if the log still holds it.
        let has_first = first < next && self.consumer.bounds(of(facts))?.contains(&first);
        self.consumer.assign(of(facts), if has_first { first } else { next }, RETIRED)?;
        self.progress.committed.lock().insert(facts, self.writer.committed(facts));
        self.progress.stopped.lock().remove(&facts);
        Ok(())
    }

    fn release(&mut self, facts: u16) {
        self.consumer.revoke(of(facts));
        self.writer.release(facts);
        self.owned.remove(&facts);
        self.waiting.remove(&facts);
        self.progress.committed.lock().remove(&facts);
        self.progress.stopped.lock().remove(&facts);
    }

    /// Writes until it is asked to stop. Without a group, it first writes everything.
    pub fn run(mut self) -> Result<(), LedgerStop> {
        loop {
            match self.work() {
                Ok(()) => {
                    info!("the ledger has committed everything that it read");
                    return Ok(self.writer.close()?);
                }
                Err(error) if self.is_of_group() && !self.progress.is_stopping() && is_passing(&error) => {
                    warn!(%error, cause = %cause(&error), "the ledger failed; it restarts from the database");
                    self.restart();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens a new consumer, and begins each partition at the database's position.
    fn restart(&mut self) {
        let mut retry = Retry::new(RESTART_MIN, RETRY_MAX);
        while !self.progress.is_stopping() {
            retry.sleep_unless(|| self.progress.is_stopping());
            let begun = (self.connect)().map_err(LedgerStop::from).and_then(|consumer| {
                self.consumer = consumer;
                let stopped = self.progress.stopped();
                let owned: Vec<u16> = self.owned.iter().copied().filter(|p| !stopped.contains_key(p)).collect();
                owned.into_iter().try_for_each(|facts| self.adopt_or_stop(facts))
            });
            match begun {
                Ok(()) => return,
                Err(error) => warn!(%error, cause = %cause(&error), "the ledger cannot restart; it is retried"),
            }
        }
    }

    /// As [`LedgerConsumer::adopt`]; an error that concerns only this partition stops only this partition.
    fn adopt_or_stop(&mut self, facts: u16) -> Result<(), LedgerStop> {
        match self.adopt(facts) {
            Err(error) if !is_passing(&error) => {
                self.stop_partition(facts, &error);
                Ok(())
            }
            done => done,
        }
    }

    /// Stops a partition that cannot continue. The others do.
    fn stop_partition(&mut self, facts: u16, error: &LedgerStop) {
        let why = format!("{error}: {}", cause(error));
        error!(facts, why, "a facts partition stops; it loses nothing, and continues after the cause is fixed");
        self.release(facts);
        self.owned.insert(facts);
        self.progress.stopped.lock().insert(facts, why);
    }

    fn work(&mut self) -> Result<(), LedgerStop> {
        let (mut last, mut waits_since) = (Instant::now(), None);
        let mut distance = COMMIT_DISTANCE;
        loop {
            let stopping = self.progress.is_stopping();
            self.take_commands()?;
            if stopping && self.is_of_group() {
                return self.commit();
            }
            let is_idle = self.read()? == 0;
            if self.writer.is_dirty() {
                let since = *waits_since.get_or_insert_with(Instant::now);
                let is_due = self.writer.pending() >= FACTS_MAX
                    || since.elapsed() >= COMMIT_AFTER
                    || (is_idle && (stopping || last.elapsed() >= distance));
                if is_due {
                    let began = Instant::now();
                    self.commit()?;
                    distance = (began.elapsed() * COMMIT_REST).clamp(COMMIT_DISTANCE, COMMIT_AFTER);
                    (last, waits_since) = (Instant::now(), None);
                    continue;
                }
            } else {
                self.progress.heartbeat.beat();
                if stopping && is_idle {
                    return Ok(());
                }
            }
            if is_idle {
                self.report_missing();
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn take_commands(&mut self) -> Result<(), LedgerStop> {
        while let Some(facts) = self.waiting.pop_first() {
            self.adopt_or_stop(facts)?;
        }
        while let Owner::Group(commands) = &self.owner
            && let Ok(command) = commands.try_recv()
        {
            match command {
                LedgerCommand::Own(facts) => {
                    // Inserted first: a restart includes it even if this fails.
                    self.owned.insert(facts);
                    self.adopt_or_stop(facts)?;
                }
                LedgerCommand::Leave(facts) => self.release(facts),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<usize, LedgerStop> {
        let Self { consumer, writer, .. } = self;
        let (count, result) =
            try_poll(&mut **consumer, Duration::ZERO, |TopicPartition { partition: facts, .. }, record| {
                writer.apply(facts, record.offset, record.bytes).map_err(|error| (facts, error))?;
                let is_full = writer.pending() >= FACTS_MAX;
                Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
        if let Err((facts, error)) = result {
            // The facts before this one are not committed: the partition reads them again, and stops here again.
            self.stop_partition(facts, &error.into());
        }
        Ok(count)
    }

    /// Reports frames that are missing after everything was read: an alarm until they come again.
    fn report_missing(&self) {
        let missing: Vec<Missing> = self.writer.missing().collect();
        let before = self.progress.missing.swap(missing.len() as u64, Ordering::AcqRel);
        if let Some(missing) = missing.first().filter(|_| before == 0) {
            error!(%missing, "a frame is missing; its writer must replay");
        }
    }

    /// Commits. A database that is busy, unreachable or full is retried, since nothing is lost meanwhile.
    fn commit(&mut self) -> Result<(), LedgerStop> {
        let timer = self.metrics.commit_seconds.start_timer();
        let mut is_logged = false;
        let mut retry = Retry::new(COMMIT_RETRY, COMMIT_RETRY);
        loop {
            match self.writer.commit() {
                Ok(()) => break,
                Err(LedgerError::Moved { facts }) if self.is_of_group() => {
                    warn!(facts, "another process wrote a facts partition; this one restarts it from the database");
                    self.adopt_or_stop(facts)?;
                }
                Err(error) if error.is_passing() => {
                    if !std::mem::replace(&mut is_logged, true) {
                        warn!(%error, cause = error.cause(), "the ledger cannot be written; it is retried");
                    }
                    if self.progress.is_stopping() {
                        return Err(error.into());
                    }
                    retry.sleep_unless(|| self.progress.is_stopping());
                    // Revoked partitions are released meanwhile: another process may reach the database.
                    self.take_leaves();
                }
                Err(error) => return Err(error.into()),
            }
        }
        timer.observe_duration();
        self.progress.heartbeat.beat();
        let duplicates = self.writer.duplicates();
        self.metrics.duplicates.inc_by((duplicates - self.duplicates_counted).unsigned_abs());
        self.duplicates_counted = duplicates;
        for facts in self.writer.partitions() {
            let next = self.writer.committed(facts);
            let before = self.progress.committed.lock().insert(facts, next);
            if before != Some(next) {
                (self.committed)(facts, next);
            }
        }
        Ok(())
    }

    /// Handles commands while the database does not answer: revoked partitions are released, assigned ones wait.
    fn take_leaves(&mut self) {
        let Owner::Group(commands) = &self.owner else { return };
        let commands: Vec<LedgerCommand> = commands.try_iter().collect();
        for command in commands {
            match command {
                LedgerCommand::Own(facts) => {
                    self.owned.insert(facts);
                    self.waiting.insert(facts);
                }
                LedgerCommand::Leave(facts) => self.release(facts),
            }
        }
    }
}

/// A partition of facts.
fn of(facts: u16) -> TopicPartition {
    TopicPartition::new(Topic::Facts, facts)
}

/// Whether a retry may succeed.
fn is_passing(error: &LedgerStop) -> bool {
    match error {
        LedgerStop::Ledger(error) => error.is_passing(),
        LedgerStop::Log(error) => !error.is_out_of_bounds(),
        LedgerStop::Missing(_) => false,
    }
}

fn cause(error: &LedgerStop) -> String {
    match error {
        LedgerStop::Ledger(error) => match error.cause() {
            cause if cause.is_empty() => error.to_string(),
            cause => format!("{error}: {cause}"),
        },
        LedgerStop::Log(error) => error.to_string(),
        LedgerStop::Missing(missing) => missing.to_string(),
    }
}
