//! The thread that writes the ledger: facts as they become durable, a transaction now and then.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::flow::Missing;
use domain::model::place::Topic;
use domain::model::time::Millis;
use ledger::error::LedgerError;
use ledger::url::LedgerUrl;
use ledger::writer::Writer;
use log::error::LogError;
use log::local::Log;
use log::reader::Reader;
use prometheus::{Histogram, HistogramOpts, IntCounter, Registry};
use tracing::{info, warn};

/// A transaction is written once so many facts wait, or for so long.
const FACTS_MAX: usize = 200_000;
const COMMIT_AFTER: Duration = Duration::from_secs(1);
/// When nothing more is there, a transaction is written at once, but for this distance to the one before.
const COMMIT_DISTANCE: Duration = Duration::from_millis(100);
/// A partition is let run so far before the next one has its turn.
const RECORDS_MAX: usize = 256;
const PAUSE: Duration = Duration::from_millis(25);
/// A database that refuses is tried again so soon.
const RETRY: Duration = Duration::from_millis(500);

/// Why the ledger stops.
#[derive(Debug, thiserror::Error)]
pub(super) enum LedgerStop {
    #[error("the ledger stops")]
    Ledger(#[from] LedgerError),
    #[error("the ledger stops")]
    Log(#[from] LogError),
    #[error("the ledger stops")]
    Missing(#[from] Missing),
}

/// The writer with its place in the log.
pub(super) struct LedgerThread {
    log: Arc<Log>,
    writer: Writer,
    readers: Vec<Reader>,
    progress: Arc<Progress>,
    commit_seconds: Histogram,
    duplicates: IntCounter,
    counted: i64,
}

/// How far the ledger is, for whoever asks.
#[derive(Debug)]
pub(super) struct Progress {
    /// Per facts partition, the offset up to which everything is in the ledger.
    pub(super) committed: Vec<AtomicU64>,
    stopping: AtomicBool,
}

impl Progress {
    /// Asks the thread to write what is there and end.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}

impl LedgerThread {
    /// Opens the ledger and the facts from where it is.
    pub(super) fn open(log: &Arc<Log>, file: &Path, registry: &Registry) -> Result<Self, LedgerStop> {
        let facts = log.meta().partitions.facts;
        let writer = Writer::open(&LedgerUrl::file(file), 0..facts)?;
        if writer.logs().any(|(topic, id)| id != log.meta().topic_id(topic)) {
            return Err(LedgerError::OtherLog(file.display().to_string()).into());
        }
        let readers = (0..facts).map(|partition| {
            let mend = "the ledger is older than the log reaches back: put back a ledger that fits, or begin a new data directory";
            Reader::open(Arc::clone(log.partition(Topic::Facts, partition)), writer.next_offset(partition), mend)
        });
        let buckets = prometheus::exponential_buckets(0.001, 2.0, 14).expect("ascending");
        let opts =
            HistogramOpts::new("mashang_ledger_commit_seconds", "One transaction of the ledger").buckets(buckets);
        let commit_seconds = Histogram::with_opts(opts).expect("a name");
        let duplicates =
            IntCounter::new("mashang_duplicates_total", "Duplicates that came into the ledger").expect("a name");
        registry.register(Box::new(commit_seconds.clone())).expect("registered once");
        registry.register(Box::new(duplicates.clone())).expect("registered once");
        Ok(Self {
            readers: readers.collect::<Result<_, _>>()?,
            progress: Arc::new(Progress {
                committed: (0..facts).map(|p| AtomicU64::new(writer.committed(p))).collect(),
                stopping: AtomicBool::new(false),
            }),
            log: Arc::clone(log),
            writer,
            commit_seconds,
            duplicates,
            counted: 0,
        })
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Writes until it is asked to stop and nothing is left.
    pub(super) fn run(mut self) -> Result<(), LedgerStop> {
        let (mut last, mut waits_since) = (Instant::now(), None);
        loop {
            let stopping = self.progress.stopping.load(Ordering::Acquire);
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
            } else if stopping && is_idle {
                info!("the ledger has everything");
                return Ok(self.writer.close()?);
            }
            if is_idle {
                if let Some(missing) = self.writer.missing().next() {
                    return Err(missing.into());
                }
                // Nobody waits for the ledger: it is not woken for every round, and takes what has come meanwhile at once.
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn read(&mut self) -> Result<usize, LedgerStop> {
        let mut taken = 0;
        for reader in &mut self.readers {
            let facts = reader.source().partition;
            for _ in 0..RECORDS_MAX {
                let Some(record) = reader.next_record()? else { break };
                self.writer.apply(facts, record.offset, record.bytes)?;
                taken += 1;
            }
        }
        Ok(taken)
    }

    /// Commits; a database that is busy or has no room is tried again, for nothing is lost meanwhile.
    fn commit(&mut self) -> Result<(), LedgerStop> {
        let timer = self.commit_seconds.start_timer();
        let mut is_told = false;
        loop {
            match self.writer.commit() {
                Ok(()) => break,
                Err(error) if error.is_passing() => {
                    if !std::mem::replace(&mut is_told, true) {
                        warn!(%error, cause = error.cause(), "the ledger cannot be written now; it is tried again");
                    }
                    if self.progress.stopping.load(Ordering::Acquire) {
                        return Err(error.into());
                    }
                    std::thread::sleep(RETRY);
                }
                Err(error) => return Err(error.into()),
            }
        }
        timer.observe_duration();
        let duplicates = self.writer.duplicates();
        self.duplicates.inc_by((duplicates - self.counted).unsigned_abs());
        self.counted = duplicates;
        for (facts, committed) in (0..).zip(&self.progress.committed) {
            let next = self.writer.committed(facts);
            committed.store(next, Ordering::Release);
            self.log.retire(Topic::Facts, facts, next, Millis::MAX);
        }
        Ok(())
    }
}
