//! Answers that are in the log and not in the ledger yet, followed by a thread that reads facts as they become durable.

use std::error::Error;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::frame::{Frames, Kind};
use domain::model::address::{Topic, TopicPartition};
use domain::model::fact::ScanResult;
use eventlog::api::{Consumer, Record, now_ms};
use eventlog::error::LogError;
use eventlog::local::meta::{Clock, Meta};
use eventlog::retry::Retry;
use ledger::answers::Answer;
use ledger::error::LedgerError;
use ledger::reader::Ledger;
use ledger::url::LedgerUrl;
use parking_lot::RwLock;
use prometheus::local::LocalHistogram;
use prometheus::{Histogram, HistogramOpts, IntGauge, Registry};
use tokio::sync::watch;
use tracing::warn;

use crate::held_answers::HeldAnswers;

/// How often the ledger is asked how far it is.
const LEDGER_EVERY: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_millis(200);

/// Delay before a log or a ledger that is out of reach is asked again; each further delay is twice as long.
const RETRY_MIN: Duration = Duration::from_millis(500);
/// Maximum of that delay, without its jitter.
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Time after which a thread that follows counts as recovered: the next delay is the shortest again.
const RECOVERED_AFTER: Duration = Duration::from_secs(10);

/// Opens a consumer.
pub type Connect = Box<dyn Fn() -> Result<Box<dyn Consumer>, LogError> + Send>;
/// Called with the error that ends the thread.
pub type Failed = Box<dyn FnOnce(FollowError) + Send>;

/// Results in the log that the ledger does not hold yet: one thread writes them, requests read them by key.
#[derive(Debug)]
pub struct PendingResults {
    held: RwLock<HeldAnswers>,
    /// Changes whenever there is a new answer.
    version: watch::Sender<u64>,
    stopping: AtomicBool,
    released: AtomicBool,
    answers_held: IntGauge,
}

impl PendingResults {
    /// Starts a thread that follows the facts from where the ledger is. `failed` is called if it cannot go on. In a fleet, without
    /// `failed`, it never ends by itself: an unavailable broker is asked again, and what the log has retired is in the ledger.
    ///
    /// # Errors
    /// The ledger cannot be opened, or the log does not reach back to where it is.
    ///
    /// # Panics
    /// If metrics of these names are in the registry already, or the system has no room for a thread.
    pub fn follow(
        meta: &Meta,
        connect: Connect,
        ledger: &LedgerUrl,
        registry: &Registry,
        failed: Option<Failed>,
    ) -> Result<Arc<Self>, FollowError> {
        let buckets = prometheus::exponential_buckets(0.001, 1.6, 24).expect("ascending");
        let opts = HistogramOpts::new("mashang_result_seconds", "From a scan's stamp to its result being readable");
        let result_seconds = Histogram::with_opts(opts.buckets(buckets)).expect("a name");
        let answers_held =
            IntGauge::new("mashang_console_answers", "Answers held that are not in the ledger yet").expect("a name");
        registry.register(Box::new(result_seconds.clone())).expect("registered once");
        registry.register(Box::new(answers_held.clone())).expect("registered once");
        let pending = Arc::new(Self {
            held: RwLock::default(),
            version: watch::Sender::new(0),
            stopping: AtomicBool::new(false),
            released: AtomicBool::new(false),
            answers_held,
        });
        let mut follower = Follower {
            meta: meta.clone(),
            connect,
            ledger: Ledger::open(ledger)?,
            is_fleet: failed.is_none(),
            own: Arc::clone(&pending),
            result_seconds: result_seconds.local(),
        };
        let first = follower.begin()?;
        std::thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || follower.run(first, failed))
            .expect("the system has room for a thread");
        Ok(pending)
    }

    /// Ends all waits: each waiting request gets what is known.
    pub fn release(&self) {
        self.released.store(true, Ordering::Release);
        self.version.send_modify(|version| *version += 1);
    }

    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }

    /// Asks the thread to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The answer to an event, if it is held.
    #[must_use]
    pub(crate) fn answer(&self, event: u128) -> Option<Answer> {
        self.held.read().answer(event)
    }

    /// The event with which a shopper entered by a one-item code.
    #[must_use]
    pub(crate) fn entry(&self, merchant: &str, code: &str, shopper: &str) -> Option<u128> {
        self.held.read().entry(merchant, code, shopper)
    }

    /// A receiver that changes whenever there is a new answer.
    #[must_use]
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

/// The thread that follows the facts.
struct Follower {
    meta: Meta,
    connect: Connect,
    ledger: Ledger,
    is_fleet: bool,
    own: Arc<PendingResults>,
    result_seconds: LocalHistogram,
}

impl Follower {
    /// A consumer of all facts, from the offsets of the ledger.
    fn begin(&mut self) -> Result<Box<dyn Consumer>, FollowError> {
        let mut consumer = (self.connect)()?;
        for (facts, next) in progress(&mut self.ledger, self.meta.partitions.facts)? {
            let partition = TopicPartition::new(Topic::Facts, facts);
            let start = if self.is_fleet { consumer.bounds(partition)?.start } else { 0 };
            consumer.assign(partition, next.max(start), "the ledger is of another log: put both back together")?;
        }
        Ok(consumer)
    }

    fn run(mut self, first: Box<dyn Consumer>, failed: Option<Failed>) {
        let mut begun = Ok(first);
        let mut retry = Retry::new(RETRY_MIN, RETRY_MAX);
        loop {
            let since = Instant::now();
            let ended = begun.and_then(|consumer| {
                let followed = catch_unwind(AssertUnwindSafe(|| self.follow(consumer)));
                followed.unwrap_or(Err(FollowError::Internal))
            });
            let Err(error) = ended else { return };
            if let Some(failed) = failed {
                return failed(error);
            }
            warn!(%error, cause = error.source().map(tracing::field::display), "the facts cannot be followed; it is tried again");
            if self.own.stopping.load(Ordering::Acquire) {
                return;
            }
            if since.elapsed() >= RECOVERED_AFTER {
                retry.reset();
            }
            retry.sleep_unless(|| self.own.stopping.load(Ordering::Acquire));
            begun = self.begin();
        }
    }

    fn follow(&mut self, mut consumer: Box<dyn Consumer>) -> Result<(), FollowError> {
        let own = Arc::clone(&self.own);
        let mut asked = Instant::now();
        while !own.stopping.load(Ordering::Acquire) {
            let mut is_news = false;
            consumer.poll(IDLE, &mut |partition, record| {
                is_news |= self.take(partition.partition, record);
                ControlFlow::Continue(())
            })?;
            if is_news {
                own.version.send_modify(|version| *version += 1);
            }
            if asked.elapsed() >= LEDGER_EVERY {
                asked = Instant::now();
                match progress(&mut self.ledger, self.meta.partitions.facts) {
                    Ok(progress) => self.forget(&progress),
                    // What is held stays held, up to the limit.
                    Err(error) if self.is_fleet && error.is_passing() => self.forget(&[]),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Takes a record of facts. Returns whether it has a new answer.
    fn take(&mut self, facts: u16, record: Record<'_>) -> bool {
        // The ledger reports what is wrong with a frame; here nothing depends on it.
        let Ok(frames) = Frames::open(record.bytes) else { return false };
        let (now, mut is_news) = (now_ms(), false);
        let is_measured = self.meta.clock == Clock::Wall;
        let mut held = self.own.held.write();
        for frame in frames.filter(|frame| frame.kind == Kind::Facts) {
            held.take(facts, record.offset, &frame, |answer| {
                is_news = true;
                if is_measured && answer.result != ScanResult::Pending {
                    self.result_seconds.observe(seconds(now - answer.received));
                }
            });
        }
        drop(held);
        self.result_seconds.flush();
        is_news
    }

    /// Forgets what the ledger has, and the oldest beyond the limit.
    fn forget(&self, progress: &[(u16, u64)]) {
        let mut held = self.own.held.write();
        held.forget(progress);
        self.own.answers_held.set(i64::try_from(held.len()).unwrap_or(i64::MAX));
    }
}

/// Why the facts cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The log cannot be read.
    #[error("the console cannot follow the facts")]
    Log(#[from] LogError),
    /// The ledger cannot be asked.
    #[error("the console cannot follow the facts")]
    Ledger(#[from] LedgerError),
    /// The thread panicked.
    #[error("the console stopped because of an internal error: report it with the lines above")]
    Internal,
}

/// How far the ledger is in each facts partition.
fn progress(db: &mut Ledger, facts: u16) -> Result<Vec<(u16, u64)>, LedgerError> {
    let known = db.progress()?;
    let next = |facts| known.iter().find(|(f, _)| *f == facts).map_or(0, |(_, next)| *next);
    Ok((0..facts).map(|facts| (facts, next(facts))).collect())
}

/// Milliseconds as the seconds of a histogram.
#[expect(clippy::float_arithmetic, reason = "Prometheus counts in seconds")]
fn seconds(ms: i64) -> f64 {
    f64::from(i32::try_from(ms.max(0)).unwrap_or(i32::MAX)) / 1000.0
}
