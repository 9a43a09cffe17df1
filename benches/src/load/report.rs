//! What a run tells: for people on stdout, for machines as JSON.

use std::fmt::{Display, Formatter, Result};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::tally::Tally;

/// Figures are events unless their names say otherwise; times have their unit in the name.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) seed: u64,
    /// How the load was made.
    pub(super) setting: Setting,
    pub(super) sent: u64,
    pub(super) accepted: u64,
    pub(super) spooled: u64,
    pub(super) rejected: u64,
    pub(super) lost: u64,
    /// Due but never sent: the backlog when the time to drain was over.
    pub(super) unsent: u64,
    pub(super) resent: u64,
    /// On purpose, of the accepted.
    pub(super) duplicates: u64,
    pub(super) shed_requests: u64,
    pub(super) failed_requests: u64,
    pub(super) broken_requests: u64,
    /// Accepted of those due after the warm-up, up to the last of their answers.
    pub(super) measured: u64,
    pub(super) measured_ms: u64,
    pub(super) throughput_per_s: u64,
    pub(super) ack: Latency,
    pub(super) client_wait: Latency,
    pub(super) result: Latency,
    pub(super) results_skipped: u64,
    pub(super) results_pending: u64,
    pub(super) client_cpu_ms: Option<u64>,
    pub(super) server: Option<Server>,
    /// Whether the ledger was read and showed everything.
    pub(super) ledger: Ledger,
    pub(super) failures: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Setting {
    pub(super) arrivals: &'static str,
    pub(super) rate_per_s: u64,
    pub(super) seconds: u64,
    pub(super) warmup_s: u64,
    pub(super) connections: u64,
    pub(super) batch: u64,
}

/// Microseconds.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Latency {
    pub(super) count: u64,
    pub(super) p50_us: u64,
    pub(super) p90_us: u64,
    pub(super) p99_us: u64,
    pub(super) p99_9_us: u64,
    pub(super) max_us: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Server {
    /// From before the first event until everything was in the ledger, if that was waited for.
    pub(super) cpu_ms: u64,
    pub(super) cpu_ms_per_million_events: Option<u64>,
    pub(super) peak_rss_kib: u64,
    /// (seconds since the run began, KiB)
    pub(super) rss: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ledger {
    #[default]
    NotAsked,
    Right,
    Wrong,
    /// The run itself failed: what the ledger should show is not known.
    NotChecked,
}

impl Report {
    pub(super) fn new(tally: &Tally, warm_ns: u64) -> Self {
        let measured_ns = tally.measured_until_ns.saturating_sub(warm_ns);
        Self {
            sent: tally.sent,
            accepted: tally.accepted,
            spooled: tally.spooled,
            rejected: tally.rejected,
            lost: tally.lost,
            resent: tally.resent,
            duplicates: tally.made.duplicates,
            shed_requests: tally.shed_requests,
            failed_requests: tally.failed_requests,
            broken_requests: tally.broken_requests,
            measured: tally.measured,
            measured_ms: measured_ns / 1_000_000,
            throughput_per_s: per(tally.measured, 1_000_000_000, measured_ns).unwrap_or(0),
            ack: Latency::of(&tally.acks),
            client_wait: Latency::of(&tally.waits),
            result: Latency::of(&tally.results),
            results_skipped: tally.results_skipped,
            results_pending: tally.results_pending,
            ..Self::default()
        }
    }
}

/// amount × times / whole, rounded down; none if there is no whole.
pub(super) fn per(amount: u64, times: u64, whole: u64) -> Option<u64> {
    (u128::from(amount) * u128::from(times)).checked_div(u128::from(whole)).and_then(|per| u64::try_from(per).ok())
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: histogram.max(),
        }
    }
}

impl Display for Latency {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.count == 0 {
            return write!(f, "none");
        }
        let ms = |us: u64| format!("{}.{:03}", us / 1_000, us % 1_000);
        let (p50, p90, p99) = (ms(self.p50_us), ms(self.p90_us), ms(self.p99_us));
        let (p99_9, max, count) = (ms(self.p99_9_us), ms(self.max_us), self.count);
        write!(f, "p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p99_9}  max {max} ms  ({count} times)")
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Setting { arrivals, rate_per_s, seconds, warmup_s, connections, batch } = self.setting;
        let rate = if arrivals == "closed" { String::new() } else { format!(" at {rate_per_s}/s") };
        writeln!(
            f,
            "load         {arrivals}{rate}, {seconds} s after {warmup_s} s of warm-up, {connections} connections, {batch} events a request, seed {}",
            self.seed
        )?;
        writeln!(f, "sent         {}", self.sent)?;
        writeln!(
            f,
            "accepted     {}, {} of them duplicates on purpose, {} spooled",
            self.accepted, self.duplicates, self.spooled
        )?;
        writeln!(f, "not          {} rejected, {} lost, {} never sent", self.rejected, self.lost, self.unsent)?;
        writeln!(
            f,
            "sent again   {}: requests {} shed, {} failed, {} broken off",
            self.resent, self.shed_requests, self.failed_requests, self.broken_requests
        )?;
        writeln!(f, "throughput   {} events/s: {} in {} ms", self.throughput_per_s, self.measured, self.measured_ms)?;
        let since = if arrivals == "closed" { "sent" } else { "due" };
        writeln!(f, "{:<13}{}", format!("{since} → 202"), self.ack)?;
        writeln!(f, "due → sent   {}", self.client_wait)?;
        if self.result.count + self.results_skipped + self.results_pending > 0 {
            let (skipped, pending) = (self.results_skipped, self.results_pending);
            let name = format!("{since} → result");
            writeln!(f, "{name:<13}{}; {skipped} not asked for, {pending} still pending", self.result)?;
        }
        if let Some(cpu_ms) = self.client_cpu_ms {
            writeln!(f, "client       {cpu_ms} ms of processor time")?;
        }
        if let Some(server) = &self.server {
            let each = server.cpu_ms_per_million_events.map_or("-".to_owned(), |ms| ms.to_string());
            writeln!(
                f,
                "server       {} ms of processor time, {each} ms per million events; {} KiB of memory at its peak",
                server.cpu_ms, server.peak_rss_kib
            )?;
        }
        let ledger = match self.ledger {
            Ledger::NotAsked => "not asked for (--ledger)",
            Ledger::Right => "everything accepted is counted exactly once",
            Ledger::Wrong => "WRONG, see below",
            Ledger::NotChecked => "not checked: the run failed before",
        };
        writeln!(f, "ledger       {ledger}")?;
        self.failures.iter().try_for_each(|failure| writeln!(f, "FAILED       {failure}"))
    }
}
