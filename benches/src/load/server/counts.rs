//! Reads from `/metrics` what the server received, accepted, refused and lost (contract section 11).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::http::Connection;

/// Pause between two requests.
const PAUSE: Duration = Duration::from_millis(50);

/// Counts since the start of the server: of datagrams in the first three fields, of events in the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) datagrams: u64,
    pub(crate) kernel_drops: u64,
    /// Datagrams that were refused unread.
    pub(crate) refused: u64,
    pub(crate) received: u64,
    pub(crate) accepted: u64,
    /// Those of the accepted events that came over UDP.
    pub(crate) accepted_udp: u64,
    pub(crate) rejected: u64,
    pub(crate) shed: u64,
}

impl Counts {
    /// # Errors
    /// The port does not answer, or is not the admin port.
    pub(crate) async fn read(admin: &Connection) -> Result<Self> {
        let answer = admin.get("/metrics").await.context("counts are read from /metrics; see --admin")?;
        ensure!(answer.is_success(), "GET /metrics was answered {}; see --admin", answer.status);
        Self::parse(&String::from_utf8_lossy(&answer.body))
    }

    fn parse(metrics: &str) -> Result<Self> {
        ensure!(
            metrics.contains("mashang_events_received_total"),
            "/metrics has no mashang_events_received_total: is --admin the admin port of this server?"
        );
        let sum = |name: &str, label: &str| {
            let values = metrics.lines().filter_map(|line| {
                let rest =
                    line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))?;
                rest.rsplit(' ').next()?.parse::<u64>().ok()
            });
            values.sum()
        };
        Ok(Self {
            datagrams: sum("mashang_udp_datagrams_total", ""),
            kernel_drops: sum("mashang_udp_kernel_drops_total", ""),
            refused: sum("mashang_udp_refused_total", ""),
            received: sum("mashang_events_received_total", ""),
            accepted: sum("mashang_events_accepted_total", ""),
            accepted_udp: sum("mashang_events_accepted_total", "transport=\"udp\""),
            rejected: sum("mashang_events_rejected_total", ""),
            shed: sum("mashang_events_shed_total", ""),
        })
    }

    /// The differences from earlier counts.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let added = |count: fn(&Self) -> u64| count(self).saturating_sub(count(before));
        Self {
            datagrams: added(|counts| counts.datagrams),
            kernel_drops: added(|counts| counts.kernel_drops),
            refused: added(|counts| counts.refused),
            received: added(|counts| counts.received),
            accepted: added(|counts| counts.accepted),
            accepted_udp: added(|counts| counts.accepted_udp),
            rejected: added(|counts| counts.rejected),
            shed: added(|counts| counts.shed),
        }
    }

    /// Whether every received event has an outcome.
    pub(crate) fn adds_up(&self) -> bool {
        self.received == self.accepted + self.rejected + self.shed
    }
}

/// Waits until the differences from `before` fulfil a condition, and returns them.
///
/// # Errors
/// The counts cannot be read, or do not fulfil the condition within the timeout; the error names it as `wanted`.
pub(crate) async fn wait_until(
    admin: &Connection,
    before: &Counts,
    bound: Duration,
    wanted: &str,
    is_so: impl Fn(&Counts) -> bool,
) -> Result<Counts> {
    let until = Instant::now() + bound;
    loop {
        let added = Counts::read(admin).await?.since(before);
        if is_so(&added) {
            return Ok(added);
        }
        if Instant::now() >= until {
            let seconds = bound.as_secs();
            bail!("after {seconds} s the server's counts do not add up: {wanted}, but since the start {added:?}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until the count of datagrams does not change: every datagram is received or lost.
///
/// # Errors
/// The counts cannot be read.
pub(crate) async fn wait_for_quiet(admin: &Connection, bound: Duration) -> Result<()> {
    const LOOKS: u32 = 4;
    let until = Instant::now() + bound;
    let (mut seen, mut same) = (0, 0);
    while same < LOOKS && Instant::now() < until {
        let now = Counts::read(admin).await?.datagrams;
        same = if now == seen { same + 1 } else { 0 };
        seen = now;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name_and_label() {
        let metrics = "# HELP mashang_events_received_total x\nmashang_events_received_total 10\n\
            mashang_events_accepted_total{transport=\"http\"} 2\nmashang_events_accepted_total{transport=\"udp\"} 3\n\
            mashang_events_rejected_total{reason=\"json\"} 1\nmashang_events_rejected_total{reason=\"type\"} 3\n\
            mashang_events_shed_total{reason=\"busy\"} 1\nmashang_udp_datagrams_total 6\nmashang_udp_kernel_drops_total 7\n";
        let counts = Counts::parse(metrics).expect("counts");
        let wanted = Counts {
            datagrams: 6,
            kernel_drops: 7,
            refused: 0,
            received: 10,
            accepted: 5,
            accepted_udp: 3,
            rejected: 4,
            shed: 1,
        };
        assert_eq!(counts, wanted);
        assert!(counts.adds_up());
        assert_eq!(counts.since(&counts), Counts::default());
        assert!(Counts::parse("up 1\n").is_err());
    }
}
