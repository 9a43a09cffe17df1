//! What the log does not take soon becomes durable in a spool on the disk, and goes to the log from there, in its order.
//!
//! While the log answers in time, rounds go to it and never touch the disk. A round that it refuses, or does not acknowledge in
//! time, goes into the spool, and from then on so does every round, behind it: many of them share one sync. A thread hands what is
//! in the spool to the log. Once all of it is handed over, and the log acknowledges again, rounds go to the log directly, behind
//! what was handed over: the log's appender keeps the order of a partition. Rounds that were under way at the same time have no
//! order among themselves; whoever waits for an answer before the next event has the order of the answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use domain::frame::Frame;
use domain::model::time::Millis;
use log::error::LogError;
use log::feed::Appender;
use log::files::Files;
use log::local::{Health, OnFull, Refused, now_ms};
use log::meta::Meta;
use log::spool::{Block, Sizes, Spool};
use log::store::Append;
use prometheus::{Gauge, IntCounter, IntGauge, Registry};
use tracing::{error, info, warn};

/// Where an event is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    Log,
    Spool,
}

impl Durable {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Spool => "spool",
        }
    }
}

/// Called once a round is durable or refused. It must not wait.
pub type Done = Box<dyn FnOnce(Result<Durable, Refused>) + Send>;

/// So many bytes are handed to the log that it has not acknowledged; one block more may be.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;
/// How often ages and times are looked at while there is something in the spool.
const TICK: Duration = Duration::from_millis(200);
/// What the log refuses of the spool is given to it again after so long, and a full disk counts as full for so long.
const AGAIN: Duration = Duration::from_secs(1);
/// A spool with less room than a round may want takes no more.
const ROUND_BYTES: usize = 64 * 1024;

/// The spool's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    bytes: IntGauge,
    age: Gauge,
    spooled: IntCounter,
    drained: IntCounter,
    syncs: IntCounter,
}

impl Metrics {
    /// # Errors
    /// Metrics of these names are in the registry already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            bytes: IntGauge::new("mashang_spool_bytes", "Bytes of the spool's files")?,
            age: Gauge::new("mashang_spool_age_seconds", "Age of the oldest frame that is not drained; 0 if there is none")?,
            spooled: IntCounter::new("mashang_spool_events_total", "Events that were answered from the spool")?,
            drained: IntCounter::new("mashang_spool_drained_events_total", "Events of the spool that the log has")?,
            syncs: IntCounter::new("mashang_spool_rounds_total", "Syncs of the spool, each for all rounds that waited")?,
        };
        registry.register(Box::new(metrics.bytes.clone()))?;
        registry.register(Box::new(metrics.age.clone()))?;
        registry.register(Box::new(metrics.spooled.clone()))?;
        registry.register(Box::new(metrics.drained.clone()))?;
        registry.register(Box::new(metrics.syncs.clone()))?;
        Ok(metrics)
    }
}

/// A spool that was opened, and what is in it.
#[derive(Debug)]
pub struct Found {
    spool: Spool,
    /// The latest `received` of its frames: they were accepted.
    pub last: Option<Millis>,
    pub events: u64,
}

impl Found {
    /// Opens the spool of a log in a directory, or makes one.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub fn open(files: Arc<dyn Files>, dir: &Path, log: &Meta, sizes: Sizes) -> Result<Self, LogError> {
        let (mut last, mut events) = (None, 0);
        let spool = Spool::open(files, dir, log.id(), sizes, |record| {
            if let Ok(frame) = Frame::open(record) {
                last = last.max(Some(frame.received));
                events += u64::from(frame.count);
            }
        })?;
        Ok(Self { spool, last, events })
    }
}

/// A log with a spool before it.
#[derive(Debug)]
pub struct Spooled {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What those who append, the log and the spool's thread share. Whoever holds `direct` may take `queue`, never the other way
/// round: the log may call back while it is given something.
#[derive(Debug)]
struct Shared {
    log: Arc<dyn Appender>,
    /// Whether rounds go to the log directly. Held while they do, so that none overtakes what goes from spool to log.
    direct: Mutex<bool>,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Whether the spool would take a round.
    health: AtomicU8,
    /// Whether nothing more is handed to the log.
    is_closing: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    /// Nothing more is under way: the thread ends once the queue is empty.
    ends: bool,
    has_ended: bool,
}

/// What the spool's thread is told.
#[derive(Debug)]
enum Event {
    /// A round that must be behind what is in the spool.
    Round(Round),
    /// A round that the log did not take.
    Refused(Round),
    /// What became of a block that was handed to the log.
    Handed(u64, Result<(), Refused>),
}

struct Round {
    records: Vec<Append>,
    done: Done,
}

impl std::fmt::Debug for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Round").field("records", &self.records.len()).finish_non_exhaustive()
    }
}

impl Spooled {
    /// Puts a spool before a log and begins to drain it. The log must refuse what it does not acknowledge soon.
    ///
    /// # Panics
    /// If the system has no room for a thread.
    #[must_use]
    pub fn start(found: Found, log: Arc<dyn Appender>, metrics: Metrics) -> Self {
        let Found { spool, last: _, events } = found;
        if !spool.is_empty() {
            info!(events, bytes = spool.bytes(), "the spool is drained from where it was");
        }
        let shared = Arc::new(Shared {
            log,
            direct: Mutex::new(spool.is_empty()),
            queue: Mutex::default(),
            wake: Condvar::new(),
            health: AtomicU8::new(Health::Good as u8),
            is_closing: AtomicBool::new(false),
        });
        let drain = Drain {
            is_direct: spool.is_empty(),
            spool,
            shared: Arc::clone(&shared),
            metrics,
            is_proven: false,
            under_way: BTreeMap::new(),
            under_way_bytes: 0,
            refused: BTreeSet::new(),
            again: Instant::now(),
            full_until: None,
            oldest: None,
        };
        let thread = std::thread::Builder::new().name("spool".to_owned()).spawn(move || drain.run_guarded());
        Self { shared, thread: Mutex::new(Some(thread.expect("the system has room for a thread"))) }
    }

    /// Makes a round durable, in the log or in the spool; `done` is told where, or that neither has it.
    pub fn append(&self, records: Vec<Append>, done: Done) {
        let direct = lock(&self.shared.direct);
        if *direct {
            self.shared.give(Round { records, done });
        } else {
            self.shared.tell(Event::Round(Round { records, done }));
        }
    }

    /// Whether a round would be made durable now.
    #[must_use]
    pub fn health(&self) -> Health {
        let log = self.shared.log.health();
        match (self.shared.health.load(Ordering::Acquire), log) {
            (_, Health::Failed) => Health::Failed,
            (spool, _) if spool == Health::Failed as u8 => Health::Failed,
            (spool, _) if spool == Health::Good as u8 => Health::Good,
            // A full spool does not matter while nothing has to go there.
            (_, log) if *lock(&self.shared.direct) => log,
            _ => Health::Full,
        }
    }

    /// Gives the log some time to take what it was given, spools the rest and ends. What is in the spool waits for the next start.
    pub fn close(&self) {
        self.shared.is_closing.store(true, Ordering::Release);
        // What is under way is done or refused when this returns; what is refused is in the queue.
        self.shared.log.close();
        lock(&self.shared.queue).ends = true;
        self.shared.wake.notify_all();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Gives a round to the log; if that does not take it, the spool has it. Whoever calls holds `direct`.
    fn give(self: &Arc<Self>, Round { records, done }: Round) {
        let (own, copy) = (Arc::clone(self), records.clone());
        let told = move |result| match result {
            Ok(()) => done(Ok(Durable::Log)),
            // The spool would only keep it for the log to refuse again.
            Err(Refused::TooLarge) => done(Err(Refused::TooLarge)),
            Err(Refused::Full | Refused::Failed | Refused::Closed) => {
                own.tell(Event::Refused(Round { records: copy, done }));
            }
        };
        self.log.append(records, OnFull::Refuse, Box::new(told));
    }

    fn tell(&self, event: Event) {
        let mut queue = lock(&self.queue);
        if queue.has_ended {
            drop(queue);
            if let Event::Round(round) | Event::Refused(round) = event {
                (round.done)(Err(Refused::Closed));
            }
            return;
        }
        queue.events.push_back(event);
        drop(queue);
        self.wake.notify_one();
    }
}

/// The spool's thread.
struct Drain {
    spool: Spool,
    shared: Arc<Shared>,
    metrics: Metrics,
    /// As `Shared::direct`, which only this thread changes.
    is_direct: bool,
    /// Whether the log took something of the spool since it last refused a round.
    is_proven: bool,
    /// Bytes and events of blocks that the log has not acknowledged.
    under_way: BTreeMap<u64, (usize, u64)>,
    under_way_bytes: usize,
    /// Those among them that it refused, and when they are given to it again.
    refused: BTreeSet<u64>,
    again: Instant,
    /// The disk was full a moment ago.
    full_until: Option<Instant>,
    oldest: Option<Millis>,
}

impl Drain {
    /// Runs; a broken invariant is a failure that everybody is told of.
    fn run_guarded(mut self) {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run()));
        if run.is_err() {
            error!("the spool stops at a broken invariant");
            self.shared.health.store(Health::Failed as u8, Ordering::Release);
        }
        let events = {
            let mut queue = lock(&self.shared.queue);
            queue.has_ended = true;
            std::mem::take(&mut queue.events)
        };
        for event in events {
            if let Event::Round(round) | Event::Refused(round) = event {
                (round.done)(Err(Refused::Failed));
            }
        }
    }

    fn run(&mut self) {
        self.work();
        // What is drained is not handed out again by the next start.
        if self.under_way.is_empty()
            && self.spool.is_handed_out()
            && !self.is_failed()
            && let Err(error) = self.spool.rest()
        {
            self.fail(&error);
        }
        self.say_how_it_stands();
    }

    fn work(&mut self) {
        loop {
            self.hand_over();
            self.say_how_it_stands();
            let Some(events) = self.wait() else { break };
            let (rounds, is_refused) = self.take(events);
            if is_refused || !self.refused.is_empty() {
                self.go_behind();
            }
            if !is_refused && self.may_go_direct() {
                self.go_direct(rounds);
            } else {
                self.write(rounds);
            }
            // What holds nothing any more costs nothing any more.
            if self.is_direct && self.under_way.is_empty() && !self.spool.is_empty() && !self.is_failed() {
                match self.spool.rest() {
                    Ok(()) => info!("the spool is drained"),
                    Err(error) => self.fail(&error),
                }
            }
        }
    }

    /// Waits for something to do; `None` is the end.
    fn wait(&self) -> Option<VecDeque<Event>> {
        let is_at_rest = self.spool.is_empty() && self.full_until.is_none();
        let mut queue = lock(&self.shared.queue);
        while queue.events.is_empty() {
            if queue.ends {
                return None;
            }
            if is_at_rest {
                queue = self.shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            } else {
                let waited = self.shared.wake.wait_timeout(queue, TICK).unwrap_or_else(PoisonError::into_inner);
                queue = waited.0;
                if waited.1.timed_out() {
                    break;
                }
            }
        }
        Some(std::mem::take(&mut queue.events))
    }

    /// Takes what it was told; the rounds among it, and whether the log refused one of them.
    fn take(&mut self, events: VecDeque<Event>) -> (Vec<Round>, bool) {
        let (mut rounds, mut is_refused) = (Vec::new(), false);
        for event in events {
            match event {
                Event::Round(round) => rounds.push(round),
                Event::Refused(round) => {
                    is_refused = true;
                    rounds.push(round);
                }
                Event::Handed(number, result) => self.handed(number, result),
            }
        }
        (rounds, is_refused)
    }

    fn handed(&mut self, number: u64, result: Result<(), Refused>) {
        if let Err(refused) = result {
            if !self.shared.is_closing.load(Ordering::Acquire) {
                warn!(%refused, block = number, "the log does not take a block of the spool; it is given again");
            }
            self.refused.insert(number);
            self.again = Instant::now() + AGAIN;
            return;
        }
        self.is_proven = true;
        if let Some((bytes, events)) = self.under_way.remove(&number) {
            self.under_way_bytes -= bytes;
            self.metrics.drained.inc_by(events);
        }
        if !self.is_failed()
            && let Err(error) = self.spool.drained(number)
        {
            self.fail(&error);
        }
    }

    /// From now on rounds go into the spool.
    fn go_behind(&mut self) {
        self.is_proven = false;
        if std::mem::replace(&mut self.is_direct, false) {
            *lock(&self.shared.direct) = false;
            warn!("the log does not take events in time: they go into the spool");
        }
    }

    fn may_go_direct(&self) -> bool {
        !self.is_direct
            && self.spool.is_handed_out()
            && self.refused.is_empty()
            && (self.is_proven || self.under_way.is_empty())
            && self.shared.log.health() == Health::Good
            && !self.is_failed()
    }

    /// From now on rounds go to the log, behind what was handed to it: these first, and those that came meanwhile.
    fn go_direct(&mut self, mut rounds: Vec<Round>) {
        let shared = Arc::clone(&self.shared);
        let mut direct = lock(&shared.direct);
        let events = std::mem::take(&mut lock(&shared.queue).events);
        let (more, is_refused) = self.take(events);
        rounds.extend(more);
        if is_refused {
            drop(direct);
            self.is_proven = false;
            return self.write(rounds);
        }
        (*direct, self.is_direct) = (true, true);
        rounds.into_iter().for_each(|round| shared.give(round));
        drop(direct);
        info!("the log takes events again");
    }

    /// Makes rounds durable in the spool, as many as fit, in one go.
    fn write(&mut self, rounds: Vec<Round>) {
        if rounds.is_empty() {
            return;
        }
        let (mut records, mut told, mut bytes) = (Vec::new(), Vec::new(), 0);
        for Round { records: mut more, done } in rounds {
            let more_bytes: usize = more.iter().map(|append| append.record.len()).sum();
            if self.is_failed() {
                done(Err(Refused::Failed));
            } else if self.spool.fits(records.len() + more.len(), bytes + more_bytes) {
                records.append(&mut more);
                bytes += more_bytes;
                told.push(done);
            } else {
                done(Err(Refused::Full));
            }
        }
        if records.is_empty() {
            return;
        }
        let result = match self.spool.append(&records, now_ms()) {
            Ok(()) => {
                self.full_until = None;
                self.metrics.syncs.inc();
                self.metrics.spooled.inc_by(events_of(&records));
                Ok(Durable::Spool)
            }
            Err(error) if error.is_full() && !self.spool.is_broken() => {
                if self.full_until.replace(Instant::now() + AGAIN).is_none() {
                    warn!(%error, "the disk of the spool is full: events are refused until there is room");
                }
                Err(Refused::Full)
            }
            Err(error) => {
                self.fail(&error);
                Err(Refused::Failed)
            }
        };
        told.into_iter().for_each(|done| done(result));
    }

    /// Hands the log what is in the spool, as much as may be under way.
    fn hand_over(&mut self) {
        if self.shared.is_closing.load(Ordering::Acquire) || self.is_failed() {
            return;
        }
        if !self.refused.is_empty() && Instant::now() >= self.again {
            for number in std::mem::take(&mut self.refused) {
                match self.spool.again(number) {
                    Ok(block) => self.hand(block),
                    Err(error) => return self.fail(&error),
                }
            }
        }
        // Nothing goes before what was refused.
        while self.refused.is_empty() && self.under_way_bytes < WINDOW_BYTES {
            match self.spool.next_block() {
                Ok(Some(block)) => {
                    let bytes = block.records.iter().map(|append| append.record.len()).sum();
                    self.under_way_bytes += bytes;
                    self.under_way.insert(block.number, (bytes, events_of(&block.records)));
                    self.hand(block);
                }
                Ok(None) => return,
                Err(error) => return self.fail(&error),
            }
        }
    }

    fn hand(&self, Block { number, records }: Block) {
        let own = Arc::clone(&self.shared);
        let told = move |result| own.tell(Event::Handed(number, result));
        self.shared.log.append(records, OnFull::Wait, Box::new(told));
    }

    fn say_how_it_stands(&mut self) {
        if self.full_until.is_some_and(|until| Instant::now() >= until) {
            self.full_until = None;
        }
        if !self.is_failed() {
            let is_full = self.full_until.is_some() || !self.spool.fits(1, ROUND_BYTES);
            let health = if is_full { Health::Full } else { Health::Good };
            self.shared.health.store(health as u8, Ordering::Release);
        }
        let now = now_ms();
        let unread = if self.spool.is_handed_out() { None } else { self.oldest.or(Some(now)) };
        self.oldest = self.spool.oldest().or(unread);
        #[expect(clippy::cast_precision_loss, reason = "an age of less than 2⁵³ ms")]
        let age = self.oldest.map_or(0.0, |oldest| (now - oldest).max(0) as f64 / 1000.0);
        self.metrics.age.set(age);
        self.metrics.bytes.set(i64::try_from(self.spool.bytes()).unwrap_or(i64::MAX));
    }

    fn is_failed(&self) -> bool {
        self.shared.health.load(Ordering::Acquire) == Health::Failed as u8
    }

    fn fail(&self, error: &LogError) {
        error!(%error, "the spool stops");
        self.shared.health.store(Health::Failed as u8, Ordering::Release);
    }
}

fn events_of(records: &[Append]) -> u64 {
    records.iter().filter_map(|append| Frame::open(&append.record).ok()).map(|frame| u64::from(frame.count)).sum()
}
