//! Events of many requests become one frame per partition, and the frames one round of the log.
//!
//! A request adds its events to the open round and waits for it. A thread closes the open round at its [`BatchPolicy`]: a single
//! event does not wait; under load, the events that come while the log is busy go together, in few large records rather than in
//! many small ones. Under the event clock one round is in flight at a time, and if it is refused, so are all events that were
//! stamped after it: the clock is the maximum of what was accepted.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::frame::{Body, Kind, seal};
use domain::model::address::Topic;
use domain::model::event::Event;
use domain::model::ids;
use domain::model::time::Millis;
use eventlog::api::Append;
use eventlog::api::AppendError;
use tokio::sync::watch;

use crate::ingest::clock::{Epoch, Stamps};
use crate::metrics::{Metrics, Transport};
use crate::spool::append_target::AppendTarget;
use crate::spool::{Done, Durable};

/// Maximum number of rounds in flight under the event clock; the open round waits.
const ROUNDS_MAX_EVENT: usize = 1;
/// Maximum time that a request waits for its round; then its sender is asked to send the events again.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum time that the close of a batcher waits for the open round to be handed over; then it returns all the same.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// Number of bytes of a frame at which its round is closed at once.
const FRAME_BYTES: usize = 64 * 1024;

/// Maximum number of bytes of a batch whose memory is kept for the next one; the memory of a larger batch is freed.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// When rounds are closed.
#[derive(Clone, Debug)]
pub struct BatchPolicy {
    /// Maximum number of rounds in flight; the open round waits.
    pub rounds_max: usize,
    /// Time from the close of a round to that of the next: the shorter one if no round is in flight, the longer one if one is.
    pub linger: RangeInclusive<Duration>,
}

/// Events of one request, encoded and by partition.
#[derive(Debug)]
pub struct EventBatch {
    bodies: Vec<(Body, Millis)>,
    epoch: Epoch,
    events: Counts,
}

/// Numbers of events by transport, in the order of [`Transport::ALL`].
type Counts = [u64; Transport::ALL.len()];

impl EventBatch {
    /// An empty batch, for a log with this number of partitions of `scans`, for events that are stamped in one epoch.
    fn new(partitions: u16, epoch: Epoch) -> Self {
        Self {
            bodies: (0..partitions).map(|_| (Body::default(), Millis::MIN)).collect(),
            epoch,
            events: Counts::default(),
        }
    }

    /// The epoch in which its events must be stamped.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.iter().sum()
    }

    fn is_small(&self) -> bool {
        self.bodies.iter().map(|(body, _)| body.len()).sum::<usize>() <= SPARE_BYTES_MAX
    }

    /// Empties the batch and leaves its memory to the next one of this thread.
    fn spare(mut self) {
        self.events = Counts::default();
        self.bodies.iter_mut().for_each(|(_, received)| *received = Millis::MIN);
        SPARE.set(Some(self));
    }

    /// Adds a stamped event.
    pub fn push(&mut self, event: &Event<'_>, transport: Transport) {
        self.events[transport as usize] += 1;
        let partitions = u16::try_from(self.bodies.len()).expect("as many as the log has");
        let partition = ids::partition(ids::shard(event.shopper_key), partitions);
        let (body, received) = &mut self.bodies[usize::from(partition)];
        body.push(event);
        *received = event.stamp.max(*received);
    }
}

/// Why events are not durable, or not known to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitError {
    Refused(AppendError),
    /// The log did not answer in time. Its events are counted when it does.
    Late,
}

/// The end of a round, and what is reported of it.
type Outcome = Option<Result<Durable, AppendError>>;
type Told = Option<Result<Durable, SubmitError>>;

/// The round that a thread waited for last. One task wakes all tasks of the thread that wait for it: to wake a task of another
/// thread costs a system call.
struct Waited {
    /// Identifies the round.
    round: watch::Receiver<Outcome>,
    told: watch::Receiver<Told>,
}

thread_local! {
    /// An empty batch with its memory.
    static SPARE: Cell<Option<EventBatch>> = const { Cell::new(None) };
    static WAITED: RefCell<Option<Waited>> = const { RefCell::new(None) };
}

/// The open round.
struct Open {
    parcel: EventBatch,
    is_empty: bool,
    /// Whether a frame of it is as large as it should be.
    is_large: bool,
    outcome: watch::Sender<Outcome>,
    /// Callbacks of the callers that do not wait.
    told: Vec<Done>,
    under_way: usize,
    is_closed: bool,
    is_over: bool,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("parcel", &self.parcel).field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

/// Gathers the events of requests into rounds.
#[derive(Debug)]
pub struct Batcher {
    open: Mutex<Open>,
    wake: Condvar,
    /// Signalled when the thread that closes rounds has ended.
    over: Condvar,
    road: AppendTarget,
    pub stamps: Stamps,
    metrics: Metrics,
    partitions: u16,
    pace: BatchPolicy,
}

impl Batcher {
    /// Starts the thread that closes rounds; it ends with [`Batcher::close`].
    ///
    /// # Panics
    /// If the system cannot start a thread.
    #[must_use]
    pub fn start(
        road: AppendTarget,
        partitions: u16,
        stamps: Stamps,
        pace: BatchPolicy,
        metrics: Metrics,
    ) -> Arc<Self> {
        let open = Open {
            parcel: EventBatch::new(partitions, stamps.epoch()),
            is_empty: true,
            is_large: false,
            outcome: watch::Sender::new(None),
            told: Vec::new(),
            under_way: 0,
            is_closed: false,
            is_over: false,
        };
        let rounds_max = if matches!(stamps, Stamps::Wall) { pace.rounds_max } else { ROUNDS_MAX_EVENT };
        let pace = BatchPolicy { rounds_max, ..pace };
        let intake = Self {
            open: Mutex::new(open),
            wake: Condvar::new(),
            over: Condvar::new(),
            road,
            stamps,
            metrics,
            partitions,
            pace,
        };
        let intake = Arc::new(intake);
        let own = Arc::clone(&intake);
        std::thread::Builder::new()
            .name("intake".to_owned())
            .spawn(move || own.run())
            .expect("the system has room for a thread");
        intake
    }

    /// An empty batch.
    #[must_use]
    pub fn parcel(&self) -> EventBatch {
        let spare = SPARE.take().filter(|spare| spare.bodies.len() == usize::from(self.partitions));
        match spare {
            Some(spare) => EventBatch { epoch: self.stamps.epoch(), ..spare },
            None => self.new_parcel(),
        }
    }

    fn new_parcel(&self) -> EventBatch {
        EventBatch::new(self.partitions, self.stamps.epoch())
    }

    /// Makes events durable and counts them, even if their sender does not wait for the answer. Returns where they are.
    ///
    /// # Errors
    /// None of them is accepted, or that is not known yet.
    pub async fn take(&self, mut parcel: EventBatch) -> Result<Durable, SubmitError> {
        let is_small = parcel.is_small();
        let (mut outcome, wakes) = {
            let mut open = self.open();
            let wakes = self.add(&mut open, &mut parcel).map_err(SubmitError::Refused)?;
            (here(&open.outcome), wakes)
        };
        if is_small {
            parcel.spare();
        }
        if wakes {
            self.wake.notify_one();
        }
        let ended = outcome.wait_for(Option::is_some).await;
        ended.ok().and_then(|outcome| *outcome).unwrap_or(Err(SubmitError::Refused(AppendError::Closed)))
    }

    /// The same for a caller without a task that could wait: `told` is called once.
    pub fn give(&self, mut parcel: EventBatch, told: Done) {
        let is_small = parcel.is_small();
        let mut open = self.open();
        match self.add(&mut open, &mut parcel) {
            Ok(wakes) => {
                open.told.push(told);
                drop(open);
                if is_small {
                    parcel.spare();
                }
                if wakes {
                    self.wake.notify_one();
                }
            }
            Err(refused) => {
                drop(open);
                told(Err(refused));
            }
        }
    }

    /// Adds a batch to the open round, or counts it as shed. Returns whether the thread that closes rounds waits for it: later
    /// callers need not wake it for the same round, unless the round has become large.
    fn add(&self, open: &mut Open, parcel: &mut EventBatch) -> Result<bool, AppendError> {
        let refused = if open.is_closed {
            Some(AppendError::Closed)
        } else {
            (open.parcel.epoch != parcel.epoch).then_some(AppendError::Full)
        };
        if let Some(refused) = refused {
            self.metrics.shed(refused.into(), parcel.events());
            return Err(refused);
        }
        for (sum, more) in open.parcel.events.iter_mut().zip(parcel.events) {
            *sum += more;
        }
        let mut is_large = open.is_large;
        for ((body, received), (more, at)) in open.parcel.bodies.iter_mut().zip(&mut parcel.bodies) {
            if !more.is_empty() {
                body.append(more);
                *received = (*at).max(*received);
                is_large |= body.len() >= FRAME_BYTES;
            }
        }
        let was_empty = std::mem::replace(&mut open.is_empty, false);
        let was_large = std::mem::replace(&mut open.is_large, is_large);
        Ok((was_empty || is_large != was_large) && open.under_way < self.pace.rounds_max)
    }

    /// Takes no more events, and waits until the open round was given to the append target, which may be closed then. It returns
    /// earlier if the rounds before it do not end in time.
    pub fn close(&self) {
        let mut open = self.open();
        open.is_closed = true;
        self.wake.notify_one();
        let ended = self.over.wait_timeout_while(open, CLOSE_PATIENCE, |open| !open.is_over);
        drop(ended.unwrap_or_else(PoisonError::into_inner));
    }

    fn run(self: Arc<Self>) {
        let mut last: Option<Instant> = None;
        loop {
            let mut open = self.open();
            loop {
                if open.is_closed && open.is_empty {
                    open.is_over = true;
                    self.over.notify_all();
                    return;
                }
                if open.is_empty || open.under_way >= self.pace.rounds_max {
                    open = self.wake.wait(open).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                let linger = if open.under_way == 0 { self.pace.linger.start() } else { self.pace.linger.end() };
                let left = last.map_or(Duration::ZERO, |last| linger.saturating_sub(last.elapsed()));
                if left.is_zero() || open.is_large || open.is_closed {
                    break;
                }
                open = self.wake.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            last = Some(Instant::now());
            open.is_empty = true;
            open.is_large = false;
            open.under_way += 1;
            let parcel = std::mem::replace(&mut open.parcel, self.new_parcel());
            let outcome = std::mem::replace(&mut open.outcome, watch::Sender::new(None));
            let told = std::mem::take(&mut open.told);
            drop(open);
            let own = Arc::clone(&self);
            let events = parcel.events;
            let last = parcel.bodies.iter().map(|(_, received)| *received).max().unwrap_or(Millis::MIN);
            let done = move |result| {
                own.ended(result, last, events);
                outcome.send_replace(Some(result));
                told.into_iter().for_each(|told| told(result));
            };
            self.road.append(frames(parcel), Box::new(done));
        }
    }

    /// Handles the end of a round, durable or refused.
    fn ended(&self, result: Result<Durable, AppendError>, last: Millis, events: Counts) {
        let mut told = Vec::new();
        let mut open = self.open();
        open.under_way -= 1;
        match result {
            Ok(_) => {
                self.stamps.accepted(last);
                for (transport, events) in Transport::ALL.into_iter().zip(events) {
                    self.metrics.accept(transport, events);
                }
            }
            Err(refused) => {
                self.metrics.shed(refused.into(), events.iter().sum());
                if self.stamps.refused() {
                    self.metrics.shed(refused.into(), open.parcel.events());
                    told = std::mem::take(&mut open.told);
                    open.parcel = self.new_parcel();
                    open.is_empty = true;
                    open.is_large = false;
                    std::mem::replace(&mut open.outcome, watch::Sender::new(None)).send_replace(Some(Err(refused)));
                }
            }
        }
        drop(open);
        self.wake.notify_one();
        // Reports only to the callers of events that were refused together with this round.
        told.into_iter().for_each(|told| told(result));
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiver through which this thread learns how a round ends.
fn here(round: &watch::Sender<Outcome>) -> watch::Receiver<Told> {
    WAITED.with_borrow_mut(|waited| {
        if let Some(Waited { round: known, told }) = waited
            && known.same_channel(&round.subscribe())
            && told.has_changed().is_ok()
        {
            return told.clone();
        }
        let (tell, told) = watch::channel(None);
        let known = round.subscribe();
        let mut ends = known.clone();
        tokio::spawn(async move {
            let ended = tokio::time::timeout(DURABLE_TIMEOUT, ends.wait_for(Option::is_some)).await;
            let ended = ended.map(|ended| ended.ok().and_then(|outcome| *outcome).unwrap_or(Err(AppendError::Closed)));
            tell.send_replace(Some(ended.map_or(Err(SubmitError::Late), |ended| ended.map_err(SubmitError::Refused))));
        });
        *waited = Some(Waited { round: known, told: told.clone() });
        told
    })
}

fn frames(parcel: EventBatch) -> Vec<Append> {
    let mut frames = Vec::new();
    for (partition, (mut body, received)) in (0..).zip(parcel.bodies) {
        if body.is_empty() {
            continue;
        }
        body.drain(|bytes, count| {
            let record = seal(Kind::Events, received, None, count, bytes);
            frames.push(Append { topic: Topic::Scans, partition, record });
        });
    }
    frames
}
