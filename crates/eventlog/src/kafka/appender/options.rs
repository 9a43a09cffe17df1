//! The options of an appender.

use std::time::Duration;

/// What an appender does when its producer fails. It never uses that producer again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// It refuses all appends from then on. A lane then starts again from its snapshot, with another appender.
    End,
    /// It sends records without an acknowledgement again, with another producer. A record that was in the log is then there twice.
    Resend,
}

/// The options of an appender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What it does when its producer fails.
    pub on_failure: OnFailure,
    /// Maximum size of records without an acknowledgement, bytes; further appends with `OnFull::Refuse` are refused.
    pub queue_bytes_max: usize,
    /// Maximum time until an acknowledgement. After it, an append with `OnFull::Refuse` is refused, and so are new ones while a
    /// record is late.
    pub ack_timeout: Duration,
}

impl Options {
    /// For a lane: its answers wait, and a failure ends the appender.
    #[must_use]
    pub fn lane() -> Self {
        Self { on_failure: OnFailure::End, ..Self::edge() }
    }

    /// For an edge: the sender of events gets an error if they are not acknowledged in time.
    #[must_use]
    pub fn edge() -> Self {
        let (queue_bytes_max, ack_timeout) = (64 * 1024 * 1024, Duration::from_secs(10));
        Self { on_failure: OnFailure::Resend, queue_bytes_max, ack_timeout }
    }
}
