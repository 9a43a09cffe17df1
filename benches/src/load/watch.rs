//! Observes the run: shows progress on a terminal, and records samples for the report.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot::Receiver;
use tokio::time::{MissedTickBehavior, interval};

use super::send::Run;
use super::server::process;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One sample: counts since the start of the run, and the current memory.
#[derive(Debug, Serialize)]
pub(super) struct Look {
    pub(super) at_ms: u64,
    pub(super) sent: u64,
    pub(super) accepted: u64,
    /// The memory of each process, in the order of --server-pid.
    pub(super) rss_kib: Vec<u64>,
}

/// Takes a sample every second until `done` is dropped.
pub(super) async fn watch(run: Arc<Run>, pids: Vec<String>, mut done: Receiver<()>) -> Vec<Look> {
    let mut looks = Vec::new();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = &mut done => break,
        }
        let rss = pids.iter().map(|pid| process::usage(pid).map_or(0, |usage| usage.rss_kib));
        let tally = run.board.tally();
        let (sent, accepted, resent) = (tally.sent, tally.accepted, tally.resent);
        drop(tally);
        let look = Look { at_ms: run.watch.ns() / 1_000_000, sent, accepted, rss_kib: rss.collect() };
        show(&look, resent);
        looks.push(look);
    }
    if std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr());
    }
    looks
}

fn show(look: &Look, resent: u64) {
    let mut stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return;
    }
    let Look { at_ms, sent, accepted, .. } = look;
    // A closed terminal is no failure of the run.
    let _ = write!(stderr, "\r{} s: {sent} events sent, {accepted} accepted, {resent} sent again ", at_ms / 1_000);
}
