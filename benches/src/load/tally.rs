//! The counts of the run, on one board that all connections share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use hdrhistogram::Histogram;

use super::send::verdict::Status;
use super::traffic::Made;
use parking_lot::{Mutex, MutexGuard};

/// Maximum recorded latency, µs; longer ones are recorded as this.
const LATENCY_MAX_US: u64 = 600_000_000;
/// Number of significant digits of a recorded latency.
const DIGITS: u8 = 3;

pub(super) struct Board {
    tally: Mutex<Tally>,
    stop: AtomicBool,
    /// End of the warm-up; requests that were due before are not measured.
    warm_ns: u64,
}

/// Counts of events, unless a name says otherwise.
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) accepted: u64,
    /// Those of the accepted events that the edge stores in its spool.
    pub(super) spooled: u64,
    pub(super) rejected: u64,
    /// Retries, each counted.
    pub(super) resent: u64,
    /// Given up after retries.
    pub(super) lost: u64,
    /// Requests answered 429 or 503.
    pub(super) shed_requests: u64,
    /// Requests answered with another 5xx or 408.
    pub(super) failed_requests: u64,
    /// Requests without an answer.
    pub(super) broken_requests: u64,
    /// Kinds of the accepted events; over UDP, where those are not known, of the sent events.
    pub(super) made: Made,
    /// Requests by the status of their answers.
    pub(super) answers: BTreeMap<Status, u64>,
    pub(super) results_skipped: u64,
    pub(super) results_pending: u64,

    /// Accepted events that were due after the warm-up.
    pub(super) measured: u64,
    pub(super) measured_until_ns: u64,
    pub(super) acks: Histogram<u64>,
    /// Times from sending to the answer of the accepted attempt: the server's part.
    pub(super) answer_times: Histogram<u64>,
    /// Times from due to first sent: the part of `acks` that the client or too few connections cause.
    pub(super) waits: Histogram<u64>,
    pub(super) results: Histogram<u64>,
    failure: Option<String>,
}

/// The times of an accepted request, since the start of the run.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) due_ns: u64,
    pub(super) first_sent_ns: u64,
    pub(super) last_sent_ns: u64,
    pub(super) answered_ns: u64,
}

impl Board {
    pub(super) fn new(warm_ns: u64) -> Self {
        Self { tally: Mutex::new(Tally::new()), stop: AtomicBool::new(false), warm_ns }
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock()
    }

    /// Ends the run. Only the first failure is reported.
    pub(super) fn fail(&self, message: String) {
        self.tally().failure.get_or_insert(message);
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.tally().failure.clone()
    }

    pub(super) fn is_measured(&self, due_ns: u64) -> bool {
        due_ns >= self.warm_ns
    }

    pub(super) fn accepted(&self, status: Status, made: Made, spooled: bool, times: Times) {
        let measured = self.is_measured(times.due_ns);
        let mut tally = self.tally();
        *tally.answers.entry(status).or_default() += 1;
        let events = made.events();
        tally.accepted += events;
        tally.spooled += if spooled { events } else { 0 };
        tally.made.add(made);
        if measured {
            tally.measured += events;
            tally.measured_until_ns = tally.measured_until_ns.max(times.answered_ns);
            record(&mut tally.acks, times.due_ns, times.answered_ns);
            record(&mut tally.answer_times, times.last_sent_ns, times.answered_ns);
            record(&mut tally.waits, times.due_ns, times.first_sent_ns);
        }
    }

    /// Counts a datagram, which gets no answer.
    pub(super) fn launched(&self, made: Made, due_ns: u64, sent_ns: u64) {
        let measured = self.is_measured(due_ns);
        let mut tally = self.tally();
        tally.sent += made.events();
        tally.made.add(made);
        if measured {
            record(&mut tally.waits, due_ns, sent_ns);
        }
    }

    pub(super) fn readable(&self, due_ns: u64, now_ns: u64) {
        if self.is_measured(due_ns) {
            record(&mut self.tally().results, due_ns, now_ns);
        }
    }
}

impl Tally {
    fn new() -> Self {
        Self {
            sent: 0,
            accepted: 0,
            spooled: 0,
            rejected: 0,
            resent: 0,
            lost: 0,
            shed_requests: 0,
            failed_requests: 0,
            broken_requests: 0,
            made: Made::default(),
            answers: BTreeMap::new(),
            results_skipped: 0,
            results_pending: 0,
            measured: 0,
            measured_until_ns: 0,
            acks: latencies(),
            answer_times: latencies(),
            waits: latencies(),
            results: latencies(),
            failure: None,
        }
    }
}

fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, DIGITS).expect("valid constants")
}

fn record(histogram: &mut Histogram<u64>, from_ns: u64, to_ns: u64) {
    histogram.saturating_record(to_ns.saturating_sub(from_ns) / 1_000);
}
