//! Events of many requests become one frame per partition, and the frames one round of the log.
//!
//! A request adds its events to the open round and waits for it. A thread closes the open round at its [`BatchPolicy`]: a single
//! event does not wait; under load, the events that come while the log is busy go together, in few large records rather than in
//! many small ones. Under the event clock one round is in flight at a time, and if it is refused, so are all events that were
//! stamped after it: the clock is the maximum of what was accepted.
//!
//! - `batch`: the events of one request, by partition
//! - `round`: the events of many requests, and those who wait for their result
//! - `policy`: when a round is closed
//! - `closer`: the thread that closes rounds and hands them to the log
//! - `result`: how the tasks of a thread learn the result of their round

mod batch;
mod closer;
mod policy;
mod result;
mod round;

use std::sync::Arc;
use std::time::Duration;

use eventlog::api::AppendError;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, SemaphorePermit};

pub use self::batch::EventBatch;
pub use self::policy::{BatchPolicy, Busy};
pub use self::result::SubmitError;
use self::round::Round;
use crate::ingest::clock::Stamps;
use crate::metrics::Metrics;
use crate::spool::append_target::AppendTarget;
use crate::spool::{Done, Durable};

/// Maximum number of rounds in flight under the event clock; the open round waits.
const ROUNDS_MAX_EVENT: usize = 1;
/// Time between two batches of one body: what follows of the first one is done by then, and the events of others find idle threads.
const PART_REST: Duration = Duration::from_millis(2);
/// Maximum time that a body waits for the turn of its key; then it goes on without.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time that the close of a batcher waits for the open round to be handed over; then it returns all the same.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits for the turn of a key's large bodies. A log that does not answer keeps it from none of them for long.
pub(crate) async fn wait_for_turn(turn: Option<&Semaphore>) -> Option<SemaphorePermit<'_>> {
    tokio::time::timeout(TURN_TIMEOUT, turn?.acquire()).await.ok()?.ok()
}

/// Gathers the events of requests into rounds.
#[derive(Debug)]
pub struct Batcher {
    state: Mutex<State>,
    /// Wakes the thread that closes rounds.
    wake: Condvar,
    /// Signalled when that thread has ended.
    ended: Condvar,
    target: AppendTarget,
    /// Stamps the events of its batches.
    pub stamps: Stamps,
    metrics: Metrics,
    partitions: u16,
    policy: BatchPolicy,
}

#[derive(Debug)]
struct State {
    /// The open round.
    round: Round,
    /// Number of closed rounds that have not ended.
    in_flight: usize,
    is_closing: bool,
    has_ended: bool,
}

impl Batcher {
    /// Starts the thread that closes rounds; it ends with [`Batcher::close`].
    ///
    /// # Panics
    /// If the system cannot start a thread.
    #[must_use]
    pub fn start(
        target: AppendTarget,
        partitions: u16,
        stamps: Stamps,
        policy: BatchPolicy,
        metrics: Metrics,
    ) -> Arc<Self> {
        let round = Round::new(EventBatch::new(partitions, stamps.epoch()));
        let rounds_max = if matches!(stamps, Stamps::Wall) { policy.rounds_max } else { ROUNDS_MAX_EVENT };
        let batcher = Arc::new(Self {
            state: Mutex::new(State { round, in_flight: 0, is_closing: false, has_ended: false }),
            wake: Condvar::new(),
            ended: Condvar::new(),
            target,
            stamps,
            metrics,
            partitions,
            policy: BatchPolicy { rounds_max, ..policy },
        });
        let own = Arc::clone(&batcher);
        std::thread::Builder::new()
            .name("batcher".to_owned())
            .spawn(move || own.run())
            .expect("the system has room for a thread");
        batcher
    }

    /// An empty batch.
    #[must_use]
    pub fn new_batch(&self) -> EventBatch {
        EventBatch::reuse(self.partitions, self.stamps.epoch())
    }

    fn new_round(&self) -> Round {
        Round::new(EventBatch::new(self.partitions, self.stamps.epoch()))
    }

    /// Makes events durable and counts them, even if their sender does not wait for the answer. Returns where they are.
    ///
    /// # Errors
    /// None of them is accepted, or that is not known yet.
    pub async fn submit(&self, batch: EventBatch) -> Result<Durable, SubmitError> {
        let result_rx = self.add(batch, |round| result::subscribe(round.result_tx())).map_err(SubmitError::Refused)?;
        result::wait(result_rx).await
    }

    /// Makes the events of one body durable, a batch after the other, even if their sender does not wait for the answer. Returns
    /// where they are; in the spool if any of them is. Each batch waits for `turn`, which all bodies of a sender share.
    ///
    /// # Errors
    /// Some of them are not accepted, or that is not known yet. Their sender sends all of them again, and none counts twice.
    pub async fn submit_in_turn(
        self: &Arc<Self>,
        batches: Vec<EventBatch>,
        turn: Option<Arc<Semaphore>>,
    ) -> Result<Durable, SubmitError> {
        let own = Arc::clone(self);
        let all = tokio::spawn(async move {
            let mut batches = batches.into_iter();
            let mut durable = Durable::Log;
            while let Some(batch) = batches.next() {
                let _turn = wait_for_turn(turn.as_deref()).await;
                match own.submit(batch).await {
                    Ok(part) => {
                        if part == Durable::Spool {
                            durable = part;
                        }
                        if batches.len() > 0 {
                            tokio::time::sleep(PART_REST).await;
                        }
                    }
                    Err(error) => {
                        for batch in batches {
                            own.metrics.shed(AppendError::Full.into(), batch.events());
                            own.discard(batch);
                        }
                        return Err(error);
                    }
                }
            }
            Ok(durable)
        });
        all.await.unwrap_or(Err(SubmitError::Refused(AppendError::Closed)))
    }

    /// The same for a caller without a task that could wait: `callback` is called once.
    pub fn submit_with(&self, batch: EventBatch, callback: Done) {
        let mut callback = Some(callback);
        if let Err(refused) = self.add(batch, |round| round.call_back(callback.take())) {
            callback.into_iter().for_each(|callback| callback(Err(refused)));
        }
    }

    /// Adds a batch to the open round and lets the caller wait for that, or counts the batch as shed.
    fn add<T>(&self, mut batch: EventBatch, wait_for: impl FnOnce(&mut Round) -> T) -> Result<T, AppendError> {
        let is_small = batch.is_small();
        let mut state = self.state.lock();
        let refused = match () {
            () if state.is_closing => Some(AppendError::Closed),
            () if state.round.batch.epoch() != batch.epoch() => Some(AppendError::Full),
            () => None,
        };
        if let Some(refused) = refused {
            drop(state);
            self.metrics.shed(refused.into(), batch.events());
            return Err(refused);
        }
        // Later callers need not wake the thread for the same round, unless the round becomes large.
        let wakes = state.round.add(&mut batch) && state.in_flight < self.policy.rounds_max;
        let waiting = wait_for(&mut state.round);
        drop(state);
        if is_small {
            batch.recycle();
        }
        if wakes {
            self.wake.notify_one();
        }
        Ok(waiting)
    }

    /// Takes no more events, and waits until the open round was given to the append target, which may be closed then. It returns
    /// earlier if the rounds before it do not end in time.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.is_closing = true;
        self.wake.notify_one();
        self.ended.wait_while_for(&mut state, |state| !state.has_ended, CLOSE_TIMEOUT);
    }
}
