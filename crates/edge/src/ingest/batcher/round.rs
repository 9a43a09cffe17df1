//! A round: the events of many requests that become durable together.

use eventlog::api::AppendError;
use tokio::sync::watch;

use super::batch::EventBatch;
use super::result::RoundResult;
use crate::spool::{Done, Durable};

/// Number of bytes of a frame at which its round is closed at once.
const FRAME_BYTES: usize = 64 * 1024;

/// The round that batches are added to, or one that was closed.
pub(super) struct Round {
    pub(super) batch: EventBatch,
    /// Number of batches that were added.
    pub(super) batches: u32,
    is_large: bool,
    result_tx: watch::Sender<RoundResult>,
    /// Of the callers that do not wait.
    callbacks: Vec<Done>,
}

impl std::fmt::Debug for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Round").field("batch", &self.batch).finish_non_exhaustive()
    }
}

impl Round {
    /// A round without events, whose events will be added to this batch.
    pub(super) fn new(batch: EventBatch) -> Self {
        let (result_tx, _) = watch::channel(None);
        Self { batch, batches: 0, is_large: false, result_tx, callbacks: Vec::new() }
    }

    /// Whether no batch was added.
    pub(super) fn is_empty(&self) -> bool {
        self.batches == 0
    }

    /// Whether a frame of it is so large that the round is closed at once.
    pub(super) fn is_large(&self) -> bool {
        self.is_large
    }

    /// Moves the events of a batch here. Returns whether the round is no longer empty by that, or became large.
    pub(super) fn add(&mut self, batch: &mut EventBatch) -> bool {
        let is_large = self.batch.append(batch) >= FRAME_BYTES || self.is_large;
        let was_empty = self.is_empty();
        self.batches = self.batches.saturating_add(1);
        let was_large = std::mem::replace(&mut self.is_large, is_large);
        was_empty || is_large != was_large
    }

    /// Where the result will be sent.
    pub(super) fn result_tx(&self) -> &watch::Sender<RoundResult> {
        &self.result_tx
    }

    /// Calls back with the result.
    pub(super) fn call_back(&mut self, callback: impl IntoIterator<Item = Done>) {
        self.callbacks.extend(callback);
    }

    /// Splits a closed round into its events and those who wait for the result.
    pub(super) fn close(self) -> (EventBatch, Waiting) {
        (self.batch, Waiting { result_tx: self.result_tx, callbacks: self.callbacks })
    }
}

/// Those who wait for the result of a round.
pub(super) struct Waiting {
    result_tx: watch::Sender<RoundResult>,
    callbacks: Vec<Done>,
}

impl Waiting {
    /// Reports the result to all of them.
    pub(super) fn report(self, result: Result<Durable, AppendError>) {
        self.result_tx.send_replace(Some(result));
        self.callbacks.into_iter().for_each(|callback| callback(result));
    }
}
