//! Answers that are in the log and not in the ledger yet, followed by a thread that reads facts as they become durable.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::frame::{Frame, Kind};
use domain::model::address::{Topic, TopicPartition};
use domain::model::fact::{Fact, ScanResult, What};
use domain::model::ids::digest128;
use eventlog::api::Consumer;
use eventlog::api::Record;
use eventlog::api::now_ms;
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
/// Told of the end.
pub type Failed = Box<dyn FnOnce(FollowError) + Send>;

/// What the log says that the ledger does not say yet.
#[derive(Debug)]
pub struct PendingResults {
    held: Mutex<Held>,
    /// Grows whenever there is something new.
    version: watch::Sender<u64>,
    stopping: AtomicBool,
    released: AtomicBool,
    result_seconds: Histogram,
    answers: IntGauge,
}

#[derive(Debug, Default)]
struct Held {
    answers: HashMap<u128, Answer>,
    /// Entries of one-item codes, by merchant, code and shopper: which event it was.
    entries: HashMap<u128, u128>,
    /// In the order in which they came: facts partition, offset, event, entry.
    order: VecDeque<(u16, u64, u128, Option<u128>)>,
}

impl PendingResults {
    /// Starts to follow the facts where the ledger is. `connect` gives feeds; `failed` is called if that ends before its time.
    /// In a fleet it never does: an unreachable broker is asked again, and what the log has retired is in the ledger.
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
        let answers =
            IntGauge::new("mashang_console_answers", "Answers held that are not in the ledger yet").expect("a name");
        registry.register(Box::new(result_seconds.clone())).expect("registered once");
        registry.register(Box::new(answers.clone())).expect("registered once");
        let recent = Arc::new(Self {
            held: Mutex::default(),
            version: watch::Sender::new(0),
            stopping: AtomicBool::new(false),
            released: AtomicBool::new(false),
            result_seconds,
            answers,
        });
        let follower = Follower {
            meta: meta.clone(),
            connect,
            ledger: Ledger::open(ledger)?,
            is_fleet: failed.is_none(),
            own: Arc::clone(&recent),
        };
        let mut follower = follower;
        let first = follower.begin()?;
        std::thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || follower.run(first, failed))
            .expect("the system has room for a thread");
        Ok(recent)
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

    /// The answer to an event, if it is among the recent ones.
    #[must_use]
    pub fn answer(&self, event: u128) -> Option<Answer> {
        self.held().answers.get(&event).cloned()
    }

    /// The event with which a shopper entered by a one-item code.
    #[must_use]
    pub fn entry(&self, merchant: &str, code: &str, shopper: &str) -> Option<u128> {
        self.held().entries.get(&digest128(&[merchant, code, shopper])).copied()
    }

    /// To be told of news.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Takes a record of facts; says whether it is news.
    fn take(&self, facts: u16, record: Record<'_>, clock: Clock) -> bool {
        // What is wrong with a frame the ledger tells; here nothing hangs on it.
        let Ok(frame) = Frame::open(record.bytes) else { return false };
        if frame.kind != Kind::Facts {
            return false;
        }
        let (now, mut news) = (now_ms(), false);
        let mut held = self.held();
        for fact in frame.items::<Fact<'_>>() {
            let Ok(Fact { merchant, what }) = fact else { break };
            news |= held.take(merchant, &what, (facts, record.offset));
            if let (What::Answer(a), Clock::Wall) = (&what, clock)
                && a.result != ScanResult::Pending
            {
                self.result_seconds.observe(seconds(now - a.received));
            }
        }
        news
    }

    /// Lets go of what the ledger has.
    fn forget(&self, progress: &[(u16, u64)]) {
        let mut held = self.held();
        let is_in_ledger = |facts: u16, offset: u64| progress.iter().any(|&(f, next)| f == facts && offset < next);
        // Partitions are a little apart; what is behind one that waits goes with it.
        while let Some(&(facts, offset, ..)) = held.order.front() {
            if !is_in_ledger(facts, offset) && held.order.len() <= ANSWERS_MAX {
                break;
            }
            held.drop_oldest();
        }
        self.answers.set(i64::try_from(held.answers.len()).unwrap_or(i64::MAX));
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that follows.
struct Follower {
    meta: Meta,
    connect: Connect,
    ledger: Ledger,
    is_fleet: bool,
    own: Arc<PendingResults>,
}

impl Follower {
    /// A feed of all facts, from where the ledger is.
    fn begin(&mut self) -> Result<Box<dyn Consumer>, FollowError> {
        let mut feed = (self.connect)()?;
        for (facts, next) in progress(&mut self.ledger, self.meta.partitions.facts)? {
            let partition = TopicPartition::new(Topic::Facts, facts);
            let start = if self.is_fleet { feed.bounds(partition)?.start } else { 0 };
            feed.assign(partition, next.max(start), "the ledger is of another log: put both back together")?;
        }
        Ok(feed)
    }

    fn run(mut self, first: Box<dyn Consumer>, failed: Option<Failed>) {
        let mut begun = Ok(first);
        let mut retry = Retry::new(RETRY_MIN, RETRY_MAX);
        loop {
            let since = Instant::now();
            let ended = begun.and_then(|feed| self.follow(feed));
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

    fn follow(&mut self, mut feed: Box<dyn Consumer>) -> Result<(), FollowError> {
        let own = Arc::clone(&self.own);
        let mut asked = Instant::now();
        while !own.stopping.load(Ordering::Acquire) {
            let mut news = false;
            feed.poll(IDLE, &mut |partition, record| {
                news |= own.take(partition.partition, record, self.meta.clock);
                ControlFlow::Continue(())
            })?;
            if news {
                own.version.send_modify(|version| *version += 1);
            }
            if asked.elapsed() >= LEDGER_EVERY {
                asked = Instant::now();
                match progress(&mut self.ledger, self.meta.partitions.facts) {
                    Ok(progress) => own.forget(&progress),
                    // What is held stays held.
                    Err(error) if self.is_fleet && error.is_passing() => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

impl Held {
    /// Takes a fact; says whether it is news for anyone who waits.
    fn take(&mut self, merchant: &str, what: &What<'_>, (facts, offset): (u16, u64)) -> bool {
        let mut note = |event, entry| self.order.push_back((facts, offset, event, entry));
        match what {
            What::Answer(a) => {
                note(a.key, None);
                let known = self.answers.get(&a.key).map(|known| (known.received, known.desk));
                if known >= Some((a.received, a.desk)) {
                    return false;
                }
                self.answers.insert(
                    a.key,
                    Answer {
                        received: a.received,
                        desk: a.desk,
                        told: a.result,
                        code: a.code.map(ToOwned::to_owned),
                        campaign: a.campaign.map(ToOwned::to_owned),
                        prize: a.prize.map(ToOwned::to_owned),
                        claim: a.claim.map(|(time, region)| (time, region.map(ToOwned::to_owned))),
                        whose: a.shopper.map(|shopper| (merchant.to_owned(), shopper.to_owned())),
                    },
                );
                true
            }
            What::Seen { key, code, shopper, entry: Some(_), .. } => {
                let entry = digest128(&[merchant, code, shopper]);
                note(*key, Some(entry));
                self.entries.entry(entry).or_insert(*key);
                false
            }
            _ => false,
        }
    }

    fn drop_oldest(&mut self) {
        let Some((_, _, event, entry)) = self.order.pop_front() else { return };
        match entry {
            Some(entry) => drop(self.entries.remove(&entry)),
            None => drop(self.answers.remove(&event)),
        }
    }
}

/// Why the facts cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error("the console stops")]
    Log(#[from] LogError),
    #[error("the console stops")]
    Ledger(#[from] LedgerError),
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
