//! The spool's thread: it writes rounds to the disk, many with one sync, and hands what is there to the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use domain::frame::Frame;
use domain::model::time::Millis;
use eventlog::api::{Append, AppendError, Health, OnFull, now_ms};
use eventlog::error::LogError;
use eventlog::spool::{Block, Spool};
use tracing::{error, info, warn};

use crate::spool::deferred::WAITING_MAX;
use crate::spool::metrics::Metrics;
use crate::spool::shared::{Durable, Event, Round, Shared};

/// Maximum number of bytes handed to the log and not acknowledged, exceeded by one block at most; further blocks wait.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of blocks handed to the log and not acknowledged; further ones wait.
const BLOCKS_MAX: usize = WAITING_MAX / 2;
/// Maximum time between two updates of ages and times, as long as the spool holds something or its disk is full.
const TICK: Duration = Duration::from_millis(200);
/// Time after which the log gets a refused block again, and for which a full disk counts as full.
const AGAIN: Duration = Duration::from_secs(1);
/// Number of free bytes that one round may need; a spool with fewer counts as full.
const ROUND_BYTES: usize = 64 * 1024;

/// The spool's thread.
pub(super) struct Drain {
    spool: Spool,
    shared: Arc<Shared>,
    metrics: Metrics,
    /// A copy of `Shared::direct`, which only this thread changes.
    is_direct: bool,
    /// Whether the log acknowledged a block of the spool since it last refused a round.
    is_proven: bool,
    /// Bytes and events of blocks that the log has not acknowledged.
    in_flight: BTreeMap<u64, (usize, u64)>,
    in_flight_bytes: usize,
    /// The blocks among them that the log refused, and when it gets them again.
    refused: BTreeSet<u64>,
    again: Instant,
    /// The end of the time for which the disk counts as full.
    full_until: Option<Instant>,
    oldest: Option<Millis>,
}

impl Drain {
    pub(super) fn new(spool: Spool, shared: Arc<Shared>, metrics: Metrics) -> Self {
        let mut drain = Self {
            is_direct: spool.is_empty(),
            spool,
            shared,
            metrics,
            is_proven: false,
            in_flight: BTreeMap::new(),
            in_flight_bytes: 0,
            refused: BTreeSet::new(),
            again: Instant::now(),
            full_until: None,
            oldest: None,
        };
        drain.update_health();
        drain
    }

    /// Runs to the end. A panic ends the thread, and all rounds that wait are refused.
    pub(super) fn run_guarded(mut self) {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run()));
        if run.is_err() {
            error!("the spool stops because of an internal error");
            self.shared.health.store(Health::Failed as u8, Ordering::Release);
        }
        let events = {
            let mut queue = self.shared.queue.lock();
            queue.has_ended = true;
            std::mem::take(&mut queue.events)
        };
        for event in events {
            if let Event::Round(round) | Event::Refused(round) = event {
                (round.done)(Err(AppendError::Failed));
            }
        }
    }

    fn run(&mut self) {
        self.work();
        // The next start must not hand out again what is drained.
        if self.in_flight.is_empty()
            && self.spool.is_handed_out()
            && !self.is_failed()
            && let Err(error) = self.spool.rest()
        {
            self.fail(&error);
        }
        self.update_health();
    }

    fn work(&mut self) {
        loop {
            self.hand_over();
            self.update_health();
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
            // A drained spool releases its files.
            if self.is_direct && self.in_flight.is_empty() && !self.spool.is_empty() && !self.is_failed() {
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
        let mut queue = self.shared.queue.lock();
        while queue.events.is_empty() {
            if queue.ends {
                return None;
            }
            if is_at_rest {
                self.shared.wake.wait(&mut queue);
            } else if self.shared.wake.wait_for(&mut queue, TICK).timed_out() {
                break;
            }
        }
        Some(std::mem::take(&mut queue.events))
    }

    /// Takes what the queue holds: the rounds in it, and whether the log refused one of them.
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

    fn handed(&mut self, number: u64, result: Result<(), AppendError>) {
        if let Err(refused) = result {
            if !self.shared.is_closing.load(Ordering::Acquire) {
                warn!(%refused, block = number, "the log does not take a block of the spool; it is given again");
            }
            self.refused.insert(number);
            self.again = Instant::now() + AGAIN;
            return;
        }
        self.is_proven = true;
        if let Some((bytes, events)) = self.in_flight.remove(&number) {
            self.in_flight_bytes -= bytes;
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
            *self.shared.direct.lock() = false;
            warn!("the log does not take events in time: they go into the spool");
        }
    }

    fn may_go_direct(&self) -> bool {
        !self.is_direct
            && self.spool.is_handed_out()
            && self.refused.is_empty()
            && (self.is_proven || self.in_flight.is_empty())
            && self.shared.log.health() == Health::Good
            && !self.is_failed()
    }

    /// From now on rounds go to the log, behind the blocks that it was handed: first `rounds`, then those that came meanwhile.
    fn go_direct(&mut self, mut rounds: Vec<Round>) {
        let shared = Arc::clone(&self.shared);
        let mut direct = shared.direct.lock();
        let events = std::mem::take(&mut shared.queue.lock().events);
        let (more, is_refused) = self.take(events);
        rounds.extend(more);
        if is_refused || !self.refused.is_empty() {
            drop(direct);
            self.is_proven = false;
            return self.write(rounds);
        }
        (*direct, self.is_direct) = (true, true);
        rounds.into_iter().for_each(|round| shared.append_to_log(round));
        drop(direct);
        info!("the log takes events again");
    }

    /// Makes as many rounds durable in the spool as fit, with one sync.
    fn write(&mut self, rounds: Vec<Round>) {
        if rounds.is_empty() {
            return;
        }
        let (mut records, mut written, mut bytes) = (Vec::new(), Vec::new(), 0);
        for Round { records: mut more, done } in rounds {
            let more_bytes: usize = more.iter().map(|append| append.record.len()).sum();
            if self.is_failed() {
                done(Err(AppendError::Failed));
            } else if self.spool.fits(records.len() + more.len(), bytes + more_bytes) {
                records.append(&mut more);
                bytes += more_bytes;
                written.push(done);
            } else {
                done(Err(AppendError::Full));
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
                Err(AppendError::Full)
            }
            Err(error) => {
                self.fail(&error);
                Err(AppendError::Failed)
            }
        };
        written.into_iter().for_each(|done| done(result));
    }

    /// Hands the log blocks of the spool, as many as may be in flight.
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
        // No block overtakes a refused one.
        while self.refused.is_empty() && self.in_flight_bytes < WINDOW_BYTES && self.in_flight.len() < BLOCKS_MAX {
            match self.spool.next_block() {
                Ok(Some(block)) => {
                    let bytes = block.records.iter().map(|append| append.record.len()).sum();
                    self.in_flight_bytes += bytes;
                    self.in_flight.insert(block.number, (bytes, events_of(&block.records)));
                    self.hand(block);
                }
                Ok(None) => return,
                Err(error) => return self.fail(&error),
            }
        }
    }

    fn hand(&self, Block { number, records }: Block) {
        let own = Arc::clone(&self.shared);
        let handed = move |result| own.report(Event::Handed(number, result));
        self.shared.log.append(records, OnFull::Wait, Box::new(handed));
    }

    fn update_health(&mut self) {
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
        self.metrics.age.set(self.oldest.map_or(0.0, |oldest| seconds(now - oldest)));
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

/// An age; none if the clock went back.
#[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "Prometheus counts in seconds")]
fn seconds(ms: Millis) -> f64 {
    ms.max(0) as f64 / 1000.0
}
