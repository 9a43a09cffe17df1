//! A log that is not connected yet.

use std::sync::{Arc, Mutex};

use eventlog::api::Append;
use eventlog::api::Appender;
use eventlog::api::{AppendError, Done, Health, OnFull};

use super::shared::lock;

/// Stands in for a log until that is connected: appends that may wait are kept, all others are refused.
#[derive(Debug, Default)]
pub struct DeferredAppender(Mutex<State>);

enum State {
    /// Not connected; the appends that wait for it, in order.
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
    /// Connects the log. The appends that waited go first: they are fewer than a log takes at once.
    pub fn set(&self, log: Arc<dyn Appender>) {
        let mut state = lock(&self.0);
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
        let mut state = lock(&self.0);
        let refused = match (&mut *state, on_full) {
            (State::There(log), _) => {
                // The log may block its caller; it must not block other callers as well.
                let log = Arc::clone(log);
                drop(state);
                return log.append(records, on_full, done);
            }
            (State::Away(waiting), OnFull::Wait) => return waiting.push((records, done)),
            (State::Away(_), OnFull::Refuse) => AppendError::Full,
            (State::Closed, _) => AppendError::Closed,
        };
        drop(state);
        done(Err(refused));
    }

    fn health(&self) -> Health {
        match &*lock(&self.0) {
            State::There(log) => log.health(),
            State::Away(_) | State::Closed => Health::Full,
        }
    }

    fn close(&self) {
        let state = std::mem::replace(&mut *lock(&self.0), State::Closed);
        match state {
            State::Away(waiting) => waiting.into_iter().for_each(|(_, done)| done(Err(AppendError::Closed))),
            State::There(log) => log.close(),
            State::Closed => {}
        }
    }
}
