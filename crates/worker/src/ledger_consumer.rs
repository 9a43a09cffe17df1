//! The thread that writes the ledger: facts as they become durable, a transaction now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::model::address::Topic;
use domain::protocol::positions::Missing;
use eventlog::api::Consumer;
use eventlog::api::now_ms;
use eventlog::error::LogError;
use eventlog::local::meta::Meta;
use ledger::error::LedgerError;
use ledger::writer::Writer;
use prometheus::{Histogram, HistogramOpts, IntCounter, Registry};
use tracing::{error, info, warn};

/// A transaction is written once so many facts wait, or for so long.
const FACTS_MAX: usize = 200_000;
const COMMIT_AFTER: Duration = Duration::from_secs(1);
/// When nothing more is there, a transaction is written at once, but for this distance to the one before.
const COMMIT_DISTANCE: Duration = Duration::from_millis(100);
/// Nobody waits for the ledger: it is not woken for every round, and takes what has come meanwhile at once.
const PAUSE: Duration = Duration::from_millis(25);
/// A database that refuses is tried again so soon.
const RETRY: Duration = Duration::from_millis(500);
/// A log that does not answer is tried again so soon.
const AGAIN: Duration = Duration::from_secs(1);

const RETIRED: &str =
    "the ledger is older than the log reaches back: put back a ledger that fits, or begin a new data directory";

/// Why the ledger stops.
#[derive(Debug, thiserror::Error)]
pub enum LedgerStop {
    #[error("the ledger stops")]
    Ledger(#[from] LedgerError),
    #[error("the ledger stops")]
    Log(#[from] LogError),
    #[error("the ledger stops")]
    Missing(#[from] Missing),
}

/// A facts partition comes, or goes.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Own(u16),
    Leave(u16),
}

/// Gives a feed.
pub type Connect = Box<dyn Fn() -> Result<Box<dyn Consumer>, LogError> + Send>;
/// Told how far a facts partition is in the ledger.
pub type Committed = Box<dyn Fn(u16, u64) + Send>;

/// Who says which partitions it writes.
pub enum Owner {
    /// Nobody: all of them are its own, and whatever stops one of them stops it.
    Itself,
    /// A group. What stops one partition leaves the others, and what is out of reach is asked again.
    Group(Receiver<Order>),
}

/// How far the ledger is, for whoever asks.
#[derive(Debug, Default)]
pub struct Progress {
    /// Per facts partition, the offset up to which everything is in the ledger.
    committed: Mutex<BTreeMap<u16, u64>>,
    /// Partitions that stopped, and why.
    stopped: Mutex<BTreeMap<u16, String>>,
    /// Source partitions of which a frame is missing.
    missing: AtomicU64,
    /// When it was last seen to get on, ms since the epoch.
    beat_ms: AtomicU64,
    stopping: AtomicBool,
}

impl Progress {
    /// Asks the thread to write what is there and end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub fn committed(&self) -> BTreeMap<u16, u64> {
        lock(&self.committed).clone()
    }

    pub fn stopped(&self) -> BTreeMap<u16, String> {
        lock(&self.stopped).clone()
    }

    pub fn missing(&self) -> u64 {
        self.missing.load(Ordering::Acquire)
    }

    /// For how long it has not got on.
    pub fn stuck(&self) -> Duration {
        Duration::from_millis(now_ms().cast_unsigned().saturating_sub(self.beat_ms.load(Ordering::Acquire)))
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn beat(&self) {
        self.beat_ms.store(now_ms().cast_unsigned(), Ordering::Release);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Metrics {
    commit_seconds: Histogram,
    duplicates: IntCounter,
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        let buckets = prometheus::exponential_buckets(0.001, 2.0, 14).expect("ascending");
        let opts =
            HistogramOpts::new("mashang_ledger_commit_seconds", "One transaction of the ledger").buckets(buckets);
        let commit_seconds = Histogram::with_opts(opts).expect("a name");
        let duplicates =
            IntCounter::new("mashang_duplicates_total", "Duplicates that came into the ledger").expect("a name");
        registry.register(Box::new(commit_seconds.clone())).expect("registered once");
        registry.register(Box::new(duplicates.clone())).expect("registered once");
        Self { commit_seconds, duplicates }
    }
}

/// The writer with its place in the log.
pub struct LedgerConsumer {
    meta: Meta,
    writer: Writer,
    /// Where the ledger is, as messages name it.
    at: String,
    feed: Box<dyn Consumer>,
    connect: Connect,
    owner: Owner,
    owned: BTreeSet<u16>,
    /// Those of them that came while the database did not answer.
    waiting: BTreeSet<u16>,
    committed: Committed,
    progress: Arc<Progress>,
    metrics: Metrics,
    counted: i64,
}

impl LedgerConsumer {
    /// Begins where the ledger is. With nobody else's word, with all facts partitions.
    pub fn open(
        meta: &Meta,
        (writer, at): (Writer, String),
        connect: Connect,
        owner: Owner,
        committed: Committed,
        registry: &Registry,
    ) -> Result<Self, LedgerStop> {
        let mut scribe = Self {
            meta: meta.clone(),
            writer,
            at,
            feed: connect()?,
            connect,
            owner,
            owned: BTreeSet::new(),
            waiting: BTreeSet::new(),
            committed,
            progress: Arc::default(),
            metrics: Metrics::new(registry),
            counted: 0,
        };
        scribe.progress.beat();
        if matches!(scribe.owner, Owner::Itself) {
            for facts in 0..meta.partitions.facts {
                scribe.take_up(facts)?;
            }
        }
        Ok(scribe)
    }

    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    fn is_of_group(&self) -> bool {
        matches!(self.owner, Owner::Group(_))
    }

    /// Takes up a partition where the database is.
    fn take_up(&mut self, facts: u16) -> Result<(), LedgerStop> {
        self.feed.revoke(Topic::Facts, facts);
        self.writer.adopt(facts)?;
        self.owned.insert(facts);
        if self.writer.logs().any(|(topic, id)| id != self.meta.topic_id(topic)) {
            return Err(LedgerError::OtherLog(self.at.clone()).into());
        }
        let next = self.writer.next_offset(facts);
        self.feed.assign(Topic::Facts, facts, next, RETIRED)?;
        lock(&self.progress.committed).insert(facts, self.writer.committed(facts));
        lock(&self.progress.stopped).remove(&facts);
        Ok(())
    }

    fn let_go(&mut self, facts: u16) {
        self.feed.revoke(Topic::Facts, facts);
        self.writer.release(facts);
        self.owned.remove(&facts);
        self.waiting.remove(&facts);
        lock(&self.progress.committed).remove(&facts);
        lock(&self.progress.stopped).remove(&facts);
    }

    /// Writes until it is asked to stop and, alone, until nothing is left.
    pub fn run(mut self) -> Result<(), LedgerStop> {
        loop {
            match self.work() {
                Ok(()) => {
                    info!("the ledger has everything that it read");
                    return Ok(self.writer.close()?);
                }
                Err(error) if self.is_of_group() && !self.progress.is_stopping() && is_passing(&error) => {
                    warn!(%error, cause = %cause(&error), "the ledger begins again from what is in the database");
                    self.begin_again();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A new feed, and every partition from where the database is.
    fn begin_again(&mut self) {
        while !self.progress.is_stopping() {
            std::thread::sleep(AGAIN);
            let begun = (self.connect)().map_err(LedgerStop::from).and_then(|feed| {
                self.feed = feed;
                let stopped = self.progress.stopped();
                let owned: Vec<u16> = self.owned.iter().copied().filter(|p| !stopped.contains_key(p)).collect();
                owned.into_iter().try_for_each(|facts| self.take_up_or_stop(facts))
            });
            match begun {
                Ok(()) => return,
                Err(error) => warn!(%error, cause = %cause(&error), "the ledger cannot begin yet"),
            }
        }
    }

    /// As [`LedgerConsumer::take_up`]; what is this partition's own trouble stops only it.
    fn take_up_or_stop(&mut self, facts: u16) -> Result<(), LedgerStop> {
        match self.take_up(facts) {
            Err(error) if !is_passing(&error) => self.stop_partition(facts, error),
            done => done,
        }
    }

    /// Lets go of a partition that cannot go on, where others can.
    fn stop_partition(&mut self, facts: u16, error: LedgerStop) -> Result<(), LedgerStop> {
        if !self.is_of_group() {
            return Err(error);
        }
        let why = format!("{error}: {}", cause(&error));
        error!(facts, why, "a facts partition stops; nothing of it is lost, and it goes on once this is mended");
        self.let_go(facts);
        self.owned.insert(facts);
        lock(&self.progress.stopped).insert(facts, why);
        Ok(())
    }

    fn work(&mut self) -> Result<(), LedgerStop> {
        let (mut last, mut waits_since) = (Instant::now(), None);
        loop {
            let stopping = self.progress.is_stopping();
            self.take_orders()?;
            if stopping && self.is_of_group() {
                return self.commit();
            }
            let is_idle = self.read()? == 0;
            if self.writer.is_dirty() {
                let since = *waits_since.get_or_insert_with(Instant::now);
                let is_due = self.writer.pending() >= FACTS_MAX
                    || since.elapsed() >= COMMIT_AFTER
                    || (is_idle && (stopping || last.elapsed() >= COMMIT_DISTANCE));
                if is_due {
                    self.commit()?;
                    (last, waits_since) = (Instant::now(), None);
                    continue;
                }
            } else {
                self.progress.beat();
                if stopping && is_idle {
                    return Ok(());
                }
            }
            if is_idle {
                self.tell_missing()?;
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn take_orders(&mut self) -> Result<(), LedgerStop> {
        while let Some(facts) = self.waiting.pop_first() {
            self.take_up_or_stop(facts)?;
        }
        while let Owner::Group(orders) = &self.owner
            && let Ok(order) = orders.try_recv()
        {
            match order {
                Order::Own(facts) => {
                    // Whatever happens to it now, it is among those that are begun with again.
                    self.owned.insert(facts);
                    self.take_up_or_stop(facts)?;
                }
                Order::Leave(facts) => self.let_go(facts),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<usize, LedgerStop> {
        let mut failed = None;
        let Self { feed, writer, .. } = self;
        let taken = feed.poll(Duration::ZERO, &mut |_, facts, record| match writer.apply(
            facts,
            record.offset,
            record.bytes,
        ) {
            Ok(_) if writer.pending() < FACTS_MAX => ControlFlow::Continue(()),
            Ok(_) => ControlFlow::Break(()),
            Err(error) => {
                failed = Some((facts, error));
                ControlFlow::Break(())
            }
        })?;
        if let Some((facts, error)) = failed {
            // What was taken before it is good, and is in no transaction yet: it is read again, and stops there again.
            self.stop_partition(facts, error.into())?;
        }
        Ok(taken)
    }

    /// Alone, a frame that is missing once everything was read is the end; in a fleet, an alarm until it came again.
    fn tell_missing(&self) -> Result<(), LedgerStop> {
        let missing: Vec<Missing> = self.writer.missing().collect();
        let before = self.progress.missing.swap(missing.len() as u64, Ordering::AcqRel);
        match missing.first() {
            Some(missing) if !self.is_of_group() => Err((*missing).into()),
            Some(missing) if before == 0 => {
                error!(%missing, "a frame is missing; its writer must replay");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Commits; a database that is busy, out of reach or has no room is tried again, for nothing is lost meanwhile.
    fn commit(&mut self) -> Result<(), LedgerStop> {
        let timer = self.metrics.commit_seconds.start_timer();
        let mut is_told = false;
        loop {
            match self.writer.commit() {
                Ok(()) => break,
                Err(LedgerError::Moved { facts }) if self.is_of_group() => {
                    warn!(
                        facts,
                        "another process went on with a facts partition; this one begins again from the database"
                    );
                    self.take_up_or_stop(facts)?;
                }
                Err(error) if error.is_passing() => {
                    if !std::mem::replace(&mut is_told, true) {
                        warn!(%error, cause = error.cause(), "the ledger cannot be written now; it is tried again");
                    }
                    if self.progress.is_stopping() {
                        return Err(error.into());
                    }
                    std::thread::sleep(RETRY);
                    // Partitions may go meanwhile: another one may reach the database.
                    self.take_leaves();
                }
                Err(error) => return Err(error.into()),
            }
        }
        timer.observe_duration();
        self.progress.beat();
        let duplicates = self.writer.duplicates();
        self.metrics.duplicates.inc_by((duplicates - self.counted).unsigned_abs());
        self.counted = duplicates;
        for facts in self.writer.partitions() {
            let next = self.writer.committed(facts);
            let before = lock(&self.progress.committed).insert(facts, next);
            if before != Some(next) {
                (self.committed)(facts, next);
            }
        }
        Ok(())
    }

    /// While a database does not answer, only what goes is let go; what comes waits.
    fn take_leaves(&mut self) {
        let Owner::Group(orders) = &self.owner else { return };
        let orders: Vec<Order> = orders.try_iter().collect();
        for order in orders {
            match order {
                Order::Own(facts) => {
                    self.owned.insert(facts);
                    self.waiting.insert(facts);
                }
                Order::Leave(facts) => self.let_go(facts),
            }
        }
    }
}

/// Whether the same may go well later.
fn is_passing(error: &LedgerStop) -> bool {
    match error {
        LedgerStop::Ledger(error) => error.is_passing(),
        LedgerStop::Log(error) => !matches!(error, LogError::Retired { .. } | LogError::Short { .. }),
        LedgerStop::Missing(_) => false,
    }
}

fn cause(error: &LedgerStop) -> String {
    match error {
        LedgerStop::Ledger(error) => format!("{error} {}", error.cause()),
        LedgerStop::Log(error) => error.to_string(),
        LedgerStop::Missing(missing) => missing.to_string(),
    }
}
