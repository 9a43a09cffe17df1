//! The state that the spool's thread, the appending threads and the log share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8};

use eventlog::api::{Append, AppendError, Appender, Health, OnFull};
use parking_lot::{Condvar, Mutex};

/// Maximum number of events that the spool's thread has not taken; a round beyond it is refused as if the disk were full. Rounds
/// and blocks that the log gives back are always taken: what is in flight there bounds them.
const EVENTS_WAITING_MAX: usize = 1024;

/// Where an event is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// In the log.
    Log,
    /// In the spool of this edge.
    Spool,
}

impl Durable {
    /// The text in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Spool => "spool",
        }
    }
}

/// Called once a round is durable or refused. It must not block.
pub type Done = Box<dyn FnOnce(Result<Durable, AppendError>) + Send>;

/// The state that the appending threads, the log and the spool's thread share. A holder of `direct` may lock `queue`, never the
/// other way round: the log may call back while it is given something.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) log: Arc<dyn Appender>,
    /// Whether rounds go to the log directly. Locked while they do, so that none overtakes what goes from the spool to the log.
    pub(super) direct: Mutex<bool>,
    pub(super) queue: Mutex<Queue>,
    pub(super) wake: Condvar,
    /// Whether the spool would take a round.
    pub(super) health: AtomicU8,
    /// Whether nothing more is handed to the log.
    pub(super) is_closing: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) events: VecDeque<Event>,
    /// No append is in flight any more: the thread ends once the queue is empty.
    pub(super) ends: bool,
    pub(super) has_ended: bool,
}

/// What is reported to the spool's thread.
#[derive(Debug)]
pub(super) enum Event {
    /// A round that must be behind what is in the spool.
    Round(Round),
    /// A round that the log did not take.
    Refused(Round),
    /// What became of a block that was handed to the log.
    Handed(u64, Result<(), AppendError>),
}

pub(super) struct Round {
    pub(super) records: Vec<Append>,
    pub(super) done: Done,
}

impl std::fmt::Debug for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Round").field("records", &self.records.len()).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(log: Arc<dyn Appender>, is_direct: bool) -> Self {
        Self {
            log,
            direct: Mutex::new(is_direct),
            queue: Mutex::default(),
            wake: Condvar::new(),
            health: AtomicU8::new(Health::Good as u8),
            is_closing: AtomicBool::new(false),
        }
    }

    /// Gives a round to the log; if the log does not take it, the spool gets it. The caller has locked `direct`.
    pub(super) fn append_to_log(self: &Arc<Self>, Round { records, done }: Round) {
        let (own, copy) = (Arc::clone(self), records.clone());
        let handed = move |result| match result {
            Ok(()) => done(Ok(Durable::Log)),
            // The spool would only keep it for the log to refuse it again.
            Err(AppendError::TooLarge) => done(Err(AppendError::TooLarge)),
            Err(AppendError::Full | AppendError::Failed | AppendError::Closed) => {
                own.report(Event::Refused(Round { records: copy, done }));
            }
        };
        self.log.append(records, OnFull::Refuse, Box::new(handed));
    }

    pub(super) fn report(&self, event: Event) {
        let mut queue = self.queue.lock();
        // What the log gives back was in flight there, and so has its own limit.
        let is_full = queue.events.len() >= EVENTS_WAITING_MAX && matches!(event, Event::Round(_));
        let refused = if queue.has_ended { Some(AppendError::Closed) } else { is_full.then_some(AppendError::Full) };
        if let Some(refused) = refused {
            drop(queue);
            if let Event::Round(round) | Event::Refused(round) = event {
                (round.done)(Err(refused));
            }
            return;
        }
        queue.events.push_back(event);
        drop(queue);
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;

    use eventlog::api::AppendError;

    use super::{EVENTS_WAITING_MAX, Event, Round, Shared};
    use crate::spool::DeferredAppender;

    #[test]
    fn a_round_beyond_the_queue_is_refused() {
        let shared = Shared::new(Arc::new(DeferredAppender::default()), false);
        let (result_tx, result_rx) = sync_channel(1);
        let round = || {
            let result_tx = result_tx.clone();
            let done = move |result| result_tx.try_send(result).expect("the test takes each result");
            Round { records: Vec::new(), done: Box::new(done) }
        };
        for _ in 0..EVENTS_WAITING_MAX {
            shared.report(Event::Round(round()));
        }
        assert!(result_rx.try_recv().is_err(), "they wait");
        shared.report(Event::Round(round()));
        assert_eq!(result_rx.try_recv(), Ok(Err(AppendError::Full)));
        // What the log gives back is never lost.
        shared.report(Event::Refused(round()));
        shared.report(Event::Handed(0, Ok(())));
        assert!(result_rx.try_recv().is_err(), "it waits");
        assert_eq!(shared.queue.lock().events.len(), EVENTS_WAITING_MAX + 2);
    }
}
