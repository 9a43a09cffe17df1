//! Answers that are in the log and not in the ledger yet, followed by a thread that reads facts as they become durable.

use std::collections::VecDeque;
use std::error::Error;
use std::hash::BuildHasherDefault;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dashmap::{DashMap, Entry};
use domain::frame::{Frames, Kind};
use domain::model::address::{Topic, TopicPartition};
use domain::model::fact::{self, Fact, ScanResult, What};
use domain::model::ids::digest128;
use domain::model::rules::PrizeKind;
use domain::model::time::Millis;
use domain::table::uniform::UniformHasher;
use eventlog::api::{Consumer, Record, now_ms};
use eventlog::error::LogError;
use eventlog::local::meta::{Clock, Meta};
use eventlog::retry::Retry;
use ledger::answers::Answer;
use ledger::error::LedgerError;
use ledger::reader::Ledger;
use ledger::url::LedgerUrl;
use prometheus::{Histogram, HistogramOpts, IntGauge, Registry};
use tokio::sync::watch;
use tracing::warn;

/// Maximum number of answers held; beyond it the oldest are dropped and are found in the ledger later.
const ANSWERS_MAX: usize = 1_000_000;
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

/// By a digest, which needs no second hash.
type ByKey<V> = DashMap<u128, V, BuildHasherDefault<UniformHasher>>;

/// Results in the log that the ledger does not hold yet: one thread writes them, requests read them by key.
#[derive(Debug)]
pub struct PendingResults {
    answers: ByKey<Answer>,
    /// Entries of one-item codes, by merchant, code and shopper: the event of each.
    entries: ByKey<u128>,
    /// Changes whenever there is a new answer.
    version: watch::Sender<u64>,
    stopping: AtomicBool,
    released: AtomicBool,
    result_seconds: Histogram,
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
            answers: ByKey::default(),
            entries: ByKey::default(),
            version: watch::Sender::new(0),
            stopping: AtomicBool::new(false),
            released: AtomicBool::new(false),
            result_seconds,
            answers_held,
        });
        let mut follower = Follower {
            meta: meta.clone(),
            connect,
            ledger: Ledger::open(ledger)?,
            is_fleet: failed.is_none(),
            own: Arc::clone(&pending),
            order: VecDeque::new(),
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
        self.answers.get(&event).map(|answer| answer.clone())
    }

    /// The event with which a shopper entered by a one-item code.
    #[must_use]
    pub(crate) fn entry(&self, merchant: &str, code: &str, shopper: &str) -> Option<u128> {
        self.entries.get(&digest128(&[merchant, code, shopper])).map(|event| *event)
    }

    /// A receiver that changes whenever there is a new answer.
    #[must_use]
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Adds an answer, unless a later one is held. Returns whether it was added.
    fn add_answer(&self, merchant: &str, a: &fact::Answer<'_>, granted: Option<(PrizeKind, Option<i64>)>) -> bool {
        match self.answers.entry(a.key) {
            Entry::Occupied(known) if (known.get().received, known.get().desk) >= (a.received, a.desk) => return false,
            entry => drop(entry.insert(Answer::of_fact(merchant, a, granted))),
        }
        true
    }
}

/// Something that is held, and the fact that it comes from.
struct Held {
    /// The fact's partition, and the offset of its record.
    facts: u16,
    offset: u64,
    key: Key,
}

enum Key {
    /// An answer, with its event, `received` and desk: a later answer to the same event stays when this one is forgotten.
    Answer(u128, Millis, u8),
    Entry(u128),
}

/// The thread that follows the facts.
struct Follower {
    meta: Meta,
    connect: Connect,
    ledger: Ledger,
    is_fleet: bool,
    own: Arc<PendingResults>,
    /// What is held, in the order in which it came; at most [`ANSWERS_MAX`] at each question to the ledger.
    order: VecDeque<Held>,
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
        for fact in frames.filter(|frame| frame.kind == Kind::Facts).flat_map(|frame| frame.items::<Fact<'_>>()) {
            let Ok(Fact { merchant, what }) = fact else { break };
            let key = match &what {
                What::Answer(a) | What::Granted { answer: a, .. } => {
                    let granted = match what {
                        What::Granted { kind, amount, .. } => Some((kind, amount)),
                        _ => None,
                    };
                    is_news |= self.own.add_answer(merchant, a, granted);
                    if self.meta.clock == Clock::Wall && a.result != ScanResult::Pending {
                        self.own.result_seconds.observe(seconds(now - a.received));
                    }
                    Key::Answer(a.key, a.received, a.desk)
                }
                What::Seen { key, code, shopper, entry: Some(_), .. } => {
                    let entry = digest128(&[merchant, code, shopper]);
                    self.own.entries.entry(entry).or_insert(*key);
                    Key::Entry(entry)
                }
                _ => continue,
            };
            self.order.push_back(Held { facts, offset: record.offset, key });
        }
        is_news
    }

    /// Forgets what the ledger has, and the oldest beyond the limit.
    fn forget(&mut self, progress: &[(u16, u64)]) {
        let is_in_ledger = |held: &Held| progress.iter().any(|&(f, next)| f == held.facts && held.offset < next);
        // Answers are dropped in the order of their arrival, so one that the ledger lacks keeps later ones in memory.
        while self.order.front().is_some_and(|held| is_in_ledger(held) || self.order.len() > ANSWERS_MAX) {
            match self.order.pop_front().map(|held| held.key) {
                Some(Key::Answer(event, received, desk)) => {
                    let answers = &self.own.answers;
                    drop(answers.remove_if(&event, |_, held| (held.received, held.desk) == (received, desk)));
                }
                Some(Key::Entry(entry)) => drop(self.own.entries.remove(&entry)),
                None => {}
            }
        }
        self.own.answers_held.set(i64::try_from(self.own.answers.len()).unwrap_or(i64::MAX));
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
