//! The report as lines of text.

use std::fmt::{Display, Formatter, Result};

use super::{Counted, Latency, Ledger, Report, Setting};

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

impl Display for Setting {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { transport, format, arrivals, rate_per_s, seconds, warmup_s, connections, depth, batch, .. } = self;
        let rate = if *arrivals == "closed" { String::new() } else { format!(" at {rate_per_s} events/s") };
        let burst = self.burst.as_ref().map_or(String::new(), |burst| format!(", burst {burst}"));
        write!(
            f,
            "{transport} {format} × {batch}, {arrivals}{rate}{burst}, {seconds} s after {warmup_s} s of warm-up, {connections} connections × {depth}"
        )
    }
}

impl Display for Ledger {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::NotAsked => "not asked for (--ledger)",
            Self::Right => "every accepted event is counted exactly once",
            Self::Wrong => "WRONG, see below",
            Self::NotChecked => "not checked: the run failed before",
        })
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "load         {}, seed {}", self.setting, self.seed)?;
        writeln!(f, "sent         {}", self.sent)?;
        writeln!(
            f,
            "accepted     {}, {} of them duplicates on purpose, {} spooled",
            self.accepted, self.duplicates, self.spooled
        )?;
        writeln!(f, "not          {} rejected, {} lost, {} never sent", self.rejected, self.lost, self.unsent)?;
        writeln!(
            f,
            "sent again   {}: requests {} shed, {} failed, {} broken off; {} retransmissions",
            self.resent, self.shed_requests, self.failed_requests, self.broken_requests, self.retransmissions
        )?;
        if let Some(counted) = &self.counted {
            let Counted { datagrams_sent, datagrams, kernel_drops, received, accepted, rejected, shed, .. } = counted;
            writeln!(f, "counted      {received} received = {accepted} accepted + {rejected} rejected + {shed} shed")?;
            if *datagrams_sent > 0 {
                writeln!(
                    f,
                    "datagrams    {datagrams_sent} sent, {datagrams} received, {kernel_drops} dropped by the kernel"
                )?;
            }
        }
        writeln!(f, "throughput   {} events/s: {} in {} ms", self.throughput_per_s, self.measured, self.measured_ms)?;
        let since = if self.setting.arrivals == "closed" { "sent" } else { "due" };
        if self.setting.transport != "udp" {
            writeln!(f, "{:<13}{}", format!("{since} → ack"), self.ack)?;
        }
        if since == "due" && self.setting.transport != "udp" {
            writeln!(f, "sent → ack   {}", self.answer)?;
        }
        writeln!(f, "due → sent   {}", self.client_wait)?;
        if self.result.count + self.results_skipped + self.results_pending > 0 {
            let (skipped, pending) = (self.results_skipped, self.results_pending);
            let name = format!("{since} → result");
            writeln!(f, "{name:<13}{}; {skipped} not asked for, {pending} still pending", self.result)?;
        }
        if let Some(cpu_ms) = self.client_cpu_ms {
            writeln!(f, "client       {cpu_ms} ms of processor time")?;
        }
        for server in &self.servers {
            let each = server.cpu_ms_per_million_events.map_or("-".to_owned(), |ms| ms.to_string());
            writeln!(
                f,
                "{:<12} {} ms of processor time, {each} ms per million events; {} KiB of memory at its peak",
                server.name, server.cpu_ms, server.peak_rss_kib
            )?;
        }
        writeln!(f, "ledger       {}", self.ledger)?;
        self.failures.iter().try_for_each(|failure| writeln!(f, "FAILED       {failure}"))
    }
}
