//! Checks that the server's counts add up, and that its ledger counts every accepted event exactly once.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use super::args::{LoadArgs, Transport};
use super::drive::Launched;
use super::report::{Counted, Ledger, Report};
use super::send::Run;
use super::server::admin::wait_for_no_lag;
use super::server::counts::{Counts, wait_until};
use super::server::http::Connection;
use super::server::ledger::{Known, Owed, Sums, differences};
use super::traffic::Made;

/// The server's counts before the run; earlier runs may have added to them.
#[derive(Default)]
pub(super) struct Before {
    admin: Option<Connection>,
    counts: Counts,
    sums: Sums,
}

impl Before {
    /// # Errors
    /// The server does not show its counts, or still has a lag.
    pub(super) async fn look(args: &LoadArgs) -> Result<Self> {
        if args.ledger.is_none() && (args.transport != Transport::Udp || args.blind) {
            return Ok(Self::default());
        }
        let admin = Connection::new(&args.admin, None, Duration::from_secs(args.timeout));
        let mut before = Self { admin: None, counts: Counts::default(), sums: Sums::default() };
        if let Some(file) = &args.ledger {
            wait_for_no_lag(&admin, drain(args)).await?;
            before.sums = if file.exists() { Sums::read(file, &args.merchant)? } else { Sums::default() };
        }
        before.counts = Counts::read(&admin).await?;
        before.admin = Some(admin);
        Ok(before)
    }

    /// The server's admin port, if it is used.
    pub(super) fn admin(&self) -> Option<&Connection> {
        self.admin.as_ref()
    }

    /// Compares the server's counts and ledger with what was sent; differences become failures of the run.
    pub(super) async fn check(&self, args: &LoadArgs, run: &Run, launched: Option<Launched>, report: &mut Report) {
        let Some(admin) = &self.admin else { return };
        if !report.failures.is_empty() {
            report.ledger = if args.ledger.is_some() { Ledger::NotChecked } else { Ledger::NotAsked };
            return;
        }
        if let Err(error) = self.check_counts(admin, args, launched, report).await {
            report.failures.push(format!("{error:#}"));
        }
        if let Some(file) = &args.ledger {
            report.ledger = self.check_ledger(admin, args, file, run, report).await;
        }
    }

    async fn check_counts(
        &self,
        admin: &Connection,
        args: &LoadArgs,
        launched: Option<Launched>,
        report: &mut Report,
    ) -> Result<()> {
        let sent = launched.as_ref().map_or(0, |launched| launched.datagrams);
        if launched.is_some() {
            let wanted = format!("{sent} datagrams sent = received + dropped by the kernel");
            let all_there = |added: &Counts| added.datagrams + added.kernel_drops == sent;
            wait_until(admin, &self.counts, drain(args), &wanted, all_there).await?;
        }
        let wanted = "received = accepted + rejected + shed";
        let added = wait_until(admin, &self.counts, drain(args), wanted, Counts::adds_up).await?;
        report.counted = Some(Counted::new(&added, sent));
        let Some(Launched { accepted, ns, .. }) = launched else { return Ok(()) };
        (report.accepted, report.rejected) = (added.accepted_udp, added.rejected);
        report.measure(accepted, ns);
        if added.rejected > 0 || added.refused > args.connections {
            let refused = added.refused.saturating_sub(args.connections);
            bail!(
                "{} events were rejected and {refused} datagrams were refused; see --merchant, --udp-trust of the server, and its mashang_udp_refused_total",
                added.rejected
            );
        }
        Ok(())
    }

    async fn check_ledger(
        &self,
        admin: &Connection,
        args: &LoadArgs,
        file: &Path,
        run: &Run,
        report: &mut Report,
    ) -> Ledger {
        let known = if args.transport == Transport::Udp && report.accepted != report.sent {
            // The lost datagrams are not known individually.
            Known::Sum(report.accepted)
        } else {
            let tally = run.board.tally();
            let Made { scans, visits, orders, duplicates } = tally.made;
            let resent = tally.resent + report.retransmissions * args.batch;
            Known::Each(Owed { scans, visits, orders, duplicates, resent })
        };
        let after = match wait_for_no_lag(admin, drain(args)).await {
            Ok(()) => Sums::read(file, &args.merchant),
            Err(error) => Err(error),
        };
        let found = match after {
            Ok(after) => differences(&self.sums, &after, &known),
            Err(error) => vec![format!("{error:#}")],
        };
        let ledger = if found.is_empty() { Ledger::Right } else { Ledger::Wrong };
        report.failures.extend(found);
        ledger
    }
}

fn drain(args: &LoadArgs) -> Duration {
    Duration::from_secs(args.drain)
}
