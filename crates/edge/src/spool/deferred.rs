//! A log that is not connected yet.

use std::sync::Arc;

use eventlog::api::{Append, AppendError, Appender, Done, Health, OnFull};
use parking_lot::Mutex;

/// Maximum number of appends that wait for the connection; further ones are refused. The spool hands over at most
/// half of it at once.
pub(super) const WAITING_MAX: usize = 1024;

/// Stands in for a log until that is connected: appends that may wait are kept, all others are refused.
#[derive(Debug, Default)]
pub struct DeferredAppender(Mutex<State>);

enum State {
    /// Not connected; the appends that wait for it, in order, [`WAITING_MAX`] at most.
    Away(Vec<(Vec<Append>, Done)>),
    There(Arc<dyn Appender>),
    Closed,
}

impl Default for State {
    fn default() -> Self {
        Self::Away(Vec::new())
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Away(waiting) => f.debug_tuple("Away").field(&waiting.len()).finish(),
            Self::There(log) => f.debug_tuple("There").field(log).finish(),
            Self::Closed => f.write_str("Closed"),
        }
    }
}

impl DeferredAppender {
    /// Connects the log. The appends that waited go first.
    pub fn set(&self, log: Arc<dyn Appender>) {
        let mut state = self.0.lock();
        match std::mem::take(&mut *state) {
            State::Away(waiting) => {
                for (records, done) in waiting {
                    log.append(records, OnFull::Wait, done);
                }
                *state = State::There(log);
            }
            closed_or_there => *state = closed_or_there,
        }
    }
}

impl Appender for DeferredAppender {
    fn append(&self, records: Vec<Append>, on_full: OnFull, done: Done) {
        let mut state = self.0.lock();
        let refused = match (&mut *state, on_full) {
            (State::There(log), _) => {
                let log = Arc::clone(log);
                drop(state);
                return log.append(records, on_full, done);
            }
            (State::Away(waiting), OnFull::Wait) if waiting.len() < WAITING_MAX => {
                return waiting.push((records, done));
            }
            (State::Away(_), _) => AppendError::Full,
            (State::Closed, _) => AppendError::Closed,
        };
        drop(state);
        done(Err(refused));
    }

    fn health(&self) -> Health {
        match &*self.0.lock() {
            State::There(log) => log.health(),
            State::Away(_) | State::Closed => Health::Full,
        }
    }

    fn close(&self) {
        let state = std::mem::replace(&mut *self.0.lock(), State::Closed);
        match state {
            State::Away(waiting) => waiting.into_iter().for_each(|(_, done)| done(Err(AppendError::Closed))),
            State::There(log) => log.close(),
            State::Closed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn append_beyond_the_waiting_ones_is_refused() {
        let log = DeferredAppender::default();
        let (result_tx, result_rx) = sync_channel(WAITING_MAX + 1);
        for _ in 0..=WAITING_MAX {
            let result_tx = result_tx.clone();
            let done = move |result| result_tx.try_send(result).expect("the test holds the receiver");
            log.append(Vec::new(), OnFull::Wait, Box::new(done));
        }
        assert_eq!(result_rx.try_iter().collect::<Vec<_>>(), [Err(AppendError::Full)]);
        log.close();
        assert_eq!(result_rx.try_iter().filter(|result| *result == Err(AppendError::Closed)).count(), WAITING_MAX);
    }
}
