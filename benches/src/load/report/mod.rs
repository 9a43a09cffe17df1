//! The report of a run: for people on stdout and as a page, for machines as JSON.
//!
//! - `text`: lines of text
//! - `page`, `plot`: an HTML page, and its plots

pub(super) mod page;
mod plot;
mod text;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::server::counts::Counts;
use super::tally::Tally;
use super::watch::Look;

/// Counts of events unless a name says otherwise; times have their unit in the name.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) seed: u64,
    /// The options of the load.
    pub(super) setting: Setting,
    pub(super) sent: u64,
    pub(super) accepted: u64,
    pub(super) spooled: u64,
    pub(super) rejected: u64,
    pub(super) lost: u64,
    /// Events that were due but never sent: the backlog at the end of the time to drain.
    pub(super) unsent: u64,
    pub(super) resent: u64,
    /// Duplicates on purpose among the accepted events; over UDP, among the sent events.
    pub(super) duplicates: u64,
    /// Requests by the status of their answers; `none` for requests without an answer.
    pub(super) answers: Vec<(String, u64)>,
    pub(super) shed_requests: u64,
    pub(super) failed_requests: u64,
    pub(super) broken_requests: u64,
    /// CoAP messages that were sent again.
    pub(super) retransmissions: u64,
    /// The server's counts, if its admin port was read.
    pub(super) counted: Option<Counted>,
    /// Accepted events that were due after the warm-up, up to their last answer; over UDP the events that the server accepted
    /// between the end of the warm-up and the last datagram.
    pub(super) measured: u64,
    pub(super) measured_ms: u64,
    pub(super) throughput_per_s: u64,
    pub(super) ack: Latency,
    pub(super) answer: Latency,
    pub(super) client_wait: Latency,
    pub(super) result: Latency,
    pub(super) results_skipped: u64,
    pub(super) results_pending: u64,
    pub(super) client_cpu_ms: Option<u64>,
    pub(super) servers: Vec<Server>,
    /// Samples of every second.
    pub(super) looks: Vec<Look>,
    /// The result of the check of the ledger.
    pub(super) ledger: Ledger,
    pub(super) failures: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Setting {
    pub(super) transport: String,
    pub(super) format: String,
    pub(super) arrivals: &'static str,
    pub(super) rate_per_s: u64,
    pub(super) burst: Option<String>,
    pub(super) seconds: u64,
    pub(super) warmup_s: u64,
    pub(super) connections: u64,
    /// Requests in flight on each connection.
    pub(super) depth: u64,
    pub(super) batch: u64,
    pub(super) shopper_skew: f64,
    pub(super) code_skew: f64,
}

/// The growth of the server's counts during the run.
#[derive(Debug, Serialize)]
pub(super) struct Counted {
    /// With the pings, one of each socket.
    pub(super) datagrams_sent: u64,
    pub(super) datagrams: u64,
    pub(super) kernel_drops: u64,
    /// Datagrams that were refused unread, the pings among them.
    pub(super) refused: u64,
    pub(super) received: u64,
    pub(super) accepted: u64,
    pub(super) rejected: u64,
    pub(super) shed: u64,
}

impl Counted {
    pub(super) fn new(counts: &Counts, datagrams_sent: u64) -> Self {
        let Counts { datagrams, kernel_drops, refused, received, accepted, rejected, shed, .. } = *counts;
        Self { datagrams_sent, datagrams, kernel_drops, refused, received, accepted, rejected, shed }
    }
}

/// Percentiles of times, µs.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Latency {
    pub(super) count: u64,
    pub(super) p50_us: u64,
    pub(super) p90_us: u64,
    pub(super) p99_us: u64,
    pub(super) p99_9_us: u64,
    pub(super) max_us: u64,
    /// Points of a curve: the share of times up to a value in millionths, and the value in µs.
    pub(super) curve: Vec<(u32, u64)>,
}

/// A measured process.
#[derive(Debug, Serialize)]
pub(super) struct Server {
    pub(super) name: String,
    /// From before the first event until the ledger held all events, if the ledger was checked.
    pub(super) cpu_ms: u64,
    pub(super) cpu_ms_per_million_events: Option<u64>,
    pub(super) peak_rss_kib: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ledger {
    #[default]
    NotAsked,
    Right,
    Wrong,
    /// The run itself failed, so the right counts of the ledger are not known.
    NotChecked,
}

impl Report {
    pub(super) fn new(tally: &Tally, warm_ns: u64) -> Self {
        let mut report = Self {
            sent: tally.sent,
            accepted: tally.accepted,
            spooled: tally.spooled,
            rejected: tally.rejected,
            lost: tally.lost,
            resent: tally.resent,
            duplicates: tally.made.duplicates,
            answers: tally.answers.iter().map(|(status, count)| (status.to_string(), *count)).collect(),
            shed_requests: tally.shed_requests,
            failed_requests: tally.failed_requests,
            broken_requests: tally.broken_requests,
            ack: Latency::of(&tally.acks),
            answer: Latency::of(&tally.answer_times),
            client_wait: Latency::of(&tally.waits),
            result: Latency::of(&tally.results),
            results_skipped: tally.results_skipped,
            results_pending: tally.results_pending,
            ..Self::default()
        };
        report.measure(tally.measured, tally.measured_until_ns.saturating_sub(warm_ns));
        report
    }

    /// Sets the throughput: the events that were accepted in a time.
    pub(super) fn measure(&mut self, events: u64, ns: u64) {
        self.measured = events;
        self.measured_ms = ns / 1_000_000;
        self.throughput_per_s = per(events, 1_000_000_000, ns).unwrap_or(0);
    }
}

/// amount × times / whole, rounded down; `None` if `whole` is 0.
pub(super) fn per(amount: u64, times: u64, whole: u64) -> Option<u64> {
    (u128::from(amount) * u128::from(times)).checked_div(u128::from(whole)).and_then(|per| u64::try_from(per).ok())
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        /// Number of steps for each halving of the remaining share.
        const STEPS: u32 = 5;
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::float_arithmetic,
            reason = "a share in millionths, for a picture"
        )]
        let curve = histogram
            .iter_quantiles(STEPS)
            .map(|step| ((step.quantile_iterated_to() * 1e6) as u32, step.value_iterated_to()))
            .collect();
        Self {
            count: histogram.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: histogram.max(),
            curve,
        }
    }
}
