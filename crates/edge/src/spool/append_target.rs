//! Where rounds go: to the log, or to a log with a spool before it.

use std::sync::Arc;

use eventlog::api::{Append, Appender, Health, OnFull};

use crate::spool::{Done, Durable, Spooled};

/// Where rounds go.
#[derive(Clone, Debug)]
pub enum AppendTarget {
    /// To the log.
    Log(Arc<dyn Appender>),
    /// To a log with a spool before it.
    Spooled(Arc<Spooled>),
}

impl AppendTarget {
    /// Makes a round durable. `done` gets the place where it is, or the reason why it is refused.
    pub fn append(&self, records: Vec<Append>, done: Done) {
        match self {
            Self::Log(log) => {
                log.append(records, OnFull::Refuse, Box::new(|result| done(result.map(|()| Durable::Log))));
            }
            Self::Spooled(spooled) => spooled.append(records, done),
        }
    }

    /// Whether a round would be made durable now.
    #[must_use]
    pub fn health(&self) -> Health {
        match self {
            Self::Log(log) => log.health(),
            Self::Spooled(spooled) => spooled.health(),
        }
    }

    /// Makes durable what it was given, if that succeeds soon, and refuses everything that comes later.
    pub fn close(&self) {
        match self {
            Self::Log(log) => log.close(),
            Self::Spooled(spooled) => spooled.close(),
        }
    }
}
