//! The thread that closes rounds and hands them to the log.

use std::sync::Arc;
use std::time::Instant;

use domain::model::time::Millis;
use eventlog::api::AppendError;

use super::batch::Counts;
use super::round::Round;
use super::{Batcher, State};
use crate::metrics::Transport;
use crate::spool::Durable;

impl Batcher {
    /// Closes rounds until the batcher is closed and the last one is handed over.
    pub(super) fn run(self: Arc<Self>) {
        let mut last_close = None;
        while let Some(round) = self.next_round(last_close) {
            last_close = Some(Instant::now());
            self.hand_over(round);
        }
    }

    /// Waits until the open round may be closed, and closes it; `None` is the end.
    fn next_round(&self, last_close: Option<Instant>) -> Option<Round> {
        let mut state = self.state.lock();
        loop {
            let State { round, in_flight, is_closing, .. } = &*state;
            if *is_closing && round.is_empty() {
                state.has_ended = true;
                self.ended.notify_all();
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
            self.wake.wait_for(&mut state, wait);
        }
        state.in_flight += 1;
        Some(std::mem::replace(&mut state.round, self.new_round()))
    }

    fn hand_over(self: &Arc<Self>, round: Round) {
        let (batch, waiting) = round.close();
        let (own, counts, last_stamp) = (Arc::clone(self), batch.counts(), batch.last_stamp());
        let done = move |result| {
            own.end_round(result, last_stamp, counts);
            waiting.report(result);
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
                if self.stamps.refused() {
                    let (batch, waiting) = std::mem::replace(&mut state.round, self.new_round()).close();
                    self.metrics.shed(refused.into(), batch.events());
                    refused_too = Some(waiting);
                }
            }
        }
        drop(state);
        self.wake.notify_one();
        if let Some(waiting) = refused_too {
            waiting.report(result);
        }
    }
}
