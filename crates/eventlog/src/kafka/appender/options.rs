//! How an appender behaves.

use std::time::Duration;

/// What happens once a producer fails. It is thrown away in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Everything is refused from then on: a lane begins again from its snapshot, with another appender.
    End,
    /// What is not acknowledged is sent again, by another producer: what was there already is there twice.
    Resend,
}

/// How an appender behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub on_failure: OnFailure,
    /// Appends that may be refused are, while so many bytes are not acknowledged.
    pub queue_bytes_max: usize,
    /// Appends that may be refused are, if they are not acknowledged for so long; and new ones, while there is such a one.
    pub ack_timeout: Duration,
}

impl Options {
    /// For a lane: its answers wait, and a failure ends it.
    #[must_use]
    pub fn lane() -> Self {
        Self { on_failure: OnFailure::End, ..Self::edge() }
    }

    /// For an edge: whoever sends events is told if they are not taken soon.
    #[must_use]
    pub fn edge() -> Self {
        let (queue_bytes_max, ack_timeout) = (64 * 1024 * 1024, Duration::from_secs(10));
        Self { on_failure: OnFailure::Resend, queue_bytes_max, ack_timeout }
    }
}
