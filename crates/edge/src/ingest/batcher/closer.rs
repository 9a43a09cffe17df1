//! The thread that closes rounds and hands them to the log.

use std::sync::Arc;

use domain::model::time::Millis;
use eventlog::api::AppendError;
use tracing::error;

use super::batch::Counts;
use super::policy::{BatchPolicy, LastClose};
use super::round::{Round, Waiting};
use super::{Batcher, EventBatch, State};
use crate::metrics::Transport;
use crate::spool::Durable;

/// The end of the thread, by a panic too: then nothing closes rounds any more, so events are refused.
struct End<'b>(&'b Batcher);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        (state.is_closing, state.has_ended) = (true, true);
        let (batch, waiting) = std::mem::replace(&mut state.round, self.0.new_round()).close();
        self.0.ended.notify_all();
        drop(state);
        if batch.events() > 0 {
            error!("the batcher stopped because of an internal error: events are refused; restart the process");
            self.0.metrics.shed(AppendError::Closed.into(), batch.events());
        }
        waiting.report(Err(AppendError::Closed));
    }
}

impl Batcher {
    /// Closes rounds until the batcher is closed and the last one is handed over.
    pub(super) fn run(self: Arc<Self>) {
        let _end = End(&self);
        let mut last_close = None;
        while let Some(round) = self.next_round(last_close) {
            last_close = Some(LastClose::now(round.batch.events(), round.batches, last_close));
            self.hand_over(round);
        }
    }

    /// Waits until the open round may be closed, and closes it; `None` is the end.
    fn next_round(&self, last_close: Option<LastClose>) -> Option<Round> {
        let mut state = self.state.lock();
        let quiet = BatchPolicy::quiet(last_close);
        loop {
            let State { round, in_flight, is_closing, .. } = &*state;
            if *is_closing && round.is_empty() {
                return None;
            }
            if round.is_empty() || *in_flight >= self.policy.rounds_max {
                self.wake.wait(&mut state);
                continue;
            }
            let wait = self.policy.wait(*in_flight, last_close);
            if wait.is_zero() || round.is_large() || *is_closing {
                break;
            }
            if *in_flight > 0 || quiet >= wait {
                self.wake.wait_for(&mut state, wait);
                continue;
            }
            let batches = round.batches;
            if self.wake.wait_for(&mut state, quiet).timed_out() && state.round.batches == batches {
                break;
            }
        }
        state.in_flight += 1;
        Some(std::mem::replace(&mut state.round, self.new_round()))
    }

    fn hand_over(self: &Arc<Self>, round: Round) {
        let (mut batch, waiting) = round.close();
        let (own, counts, last_stamp) = (Arc::clone(self), batch.counts(), batch.last_stamp());
        let permits = batch.take_permits();
        let done = move |result| {
            own.end_round(result, last_stamp, counts);
            waiting.report(result);
            drop(permits);
        };
        self.target.append(batch.into_frames(), Box::new(done));
    }

    /// Counts a round that ended, durable or refused. Under the event clock the open round is refused with it.
    fn end_round(&self, result: Result<Durable, AppendError>, last_stamp: Millis, counts: Counts) {
        let mut refused_too = None;
        let mut state = self.state.lock();
        state.in_flight -= 1;
        match result {
            Ok(_) => {
                self.stamps.accepted(last_stamp);
                for (transport, events) in Transport::ALL.into_iter().zip(counts) {
                    self.metrics.accept(transport, events);
                }
            }
            Err(refused) => {
                self.metrics.shed(refused.into(), counts.iter().sum());
                refused_too = self.take_back_clock(&mut state, refused);
            }
        }
        drop(state);
        self.wake.notify_one();
        if let Some(waiting) = refused_too {
            waiting.report(result);
        }
    }

    /// Drops stamped events that are refused before they are submitted. Under the event clock the open round is refused with
    /// them: they may have set the clock forward for it.
    pub(crate) fn discard(&self, batch: EventBatch) {
        drop(batch);
        let mut state = self.state.lock();
        let refused_too = self.take_back_clock(&mut state, AppendError::Full);
        drop(state);
        if let Some(waiting) = refused_too {
            waiting.report(Err(AppendError::Full));
        }
    }

    /// Sets the event clock back to what is accepted, and takes the open round, whose events count as shed.
    fn take_back_clock(&self, state: &mut State, refused: AppendError) -> Option<Waiting> {
        if !self.stamps.refused() {
            return None;
        }
        let (batch, waiting) = std::mem::replace(&mut state.round, self.new_round()).close();
        self.metrics.shed(refused.into(), batch.events());
        Some(waiting)
    }
}
