//! Looks at the run while it goes: progress for a person, the server's memory for the report.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot::Receiver;
use tokio::time::{MissedTickBehavior, interval};

use super::send::Run;
use super::server::process;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A sample of the server's memory every so many looks.
const SAMPLE_EVERY: u64 = 5;

/// (seconds since the run began, resident KiB) of the server, every five seconds until `done` is dropped.
pub(super) async fn watch(run: Arc<Run>, pid: Option<String>, mut done: Receiver<()>) -> Vec<(u64, u64)> {
    let mut samples = Vec::new();
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for look in 0_u64.. {
        tokio::select! {
            _ = looks.tick() => {}
            _ = &mut done => break,
        }
        let second = run.watch.ns() / 1_000_000_000;
        if look % SAMPLE_EVERY == 0 {
            let usage = pid.as_deref().and_then(|pid| process::usage(pid).ok());
            samples.extend(usage.map(|usage| (second, usage.rss_kib)));
        }
        tell(&run, second);
    }
    if std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr());
    }
    samples
}

fn tell(run: &Run, second: u64) {
    let mut stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return;
    }
    let tally = run.board.tally();
    let (accepted, resent) = (tally.accepted, tally.resent);
    drop(tally);
    // Progress that cannot be shown is no failure.
    let _ = write!(stderr, "\r{second} s: {accepted} events accepted, {resent} sent again ");
}
