//! What happens beside minting: its progress on a terminal, and signals that stop it.

use std::io::IsTerminal;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process::output::{report, show};
use crate::process::signals::Signals;

const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Watches over a run.
#[derive(Debug)]
pub(super) struct Watch {
    interrupted: Arc<AtomicBool>,
    total: u64,
    done: u64,
    began: Instant,
    /// `None` where no progress is shown.
    last_shown: Option<Instant>,
    is_shown: bool,
}

/// Why codes were not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A run that ended before its last code.
#[derive(Debug)]
pub(super) struct Cut {
    /// The first serial that is not written.
    pub(super) next: u64,
    pub(super) cause: Cause,
}

impl Cut {
    /// How the run continues that ends with these serials.
    pub(super) fn mend(&self, serials: &Range<u64>) -> String {
        let next = self.next;
        format!("continue with --from {next} --count {}", serials.end - next)
    }
}

impl Watch {
    /// Watches over a run of this number of codes, and shows its progress if standard error is a terminal. From now on the first
    /// SIGINT or SIGTERM only asks the run to stop.
    pub(super) fn start(total: u64) -> Result<Self> {
        let mut watch = Self::quiet(total, Arc::new(AtomicBool::new(false)));
        watch.last_shown = std::io::stderr().is_terminal().then(Instant::now);
        let interrupted = Arc::clone(&watch.interrupted);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut signals = {
            let _in_runtime = runtime.enter();
            Signals::listen()?
        };
        let wait = move || {
            runtime.block_on(signals.received());
            interrupted.store(true, Ordering::Relaxed);
            // A second one ends a run that hangs in a write.
            runtime.block_on(signals.received());
            std::process::exit(1);
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
        Ok(watch)
    }

    /// Watches over a run without a terminal or signals.
    pub(super) fn quiet(total: u64, interrupted: Arc<AtomicBool>) -> Self {
        Self { interrupted, total, done: 0, began: Instant::now(), last_shown: None, is_shown: false }
    }

    /// The number of codes that an earlier run wrote.
    pub(super) fn skip(&mut self, codes: u64) {
        self.total = self.total.saturating_sub(codes);
    }

    /// Shows nothing.
    pub(super) fn hide(&mut self) {
        self.last_shown = None;
    }

    /// More codes are written. An error if the run is to stop.
    pub(super) fn done(&mut self, more: u64) -> Result<(), Cause> {
        self.done += more;
        self.progress();
        if self.interrupted.load(Ordering::Relaxed) { Err(Cause::Interrupted) } else { Ok(()) }
    }

    fn progress(&mut self) {
        let Some(last_shown) = self.last_shown else { return };
        let now = Instant::now();
        if now - last_shown < PROGRESS_EVERY {
            return;
        }
        self.last_shown = Some(now);
        self.is_shown = true;
        let rate = self.done / (now - self.began).as_secs().max(1);
        let percent = self.done * 100 / self.total.max(1);
        show(format_args!("\r{percent:3} %, {} codes, {rate}/s ", self.done));
    }
}

impl Drop for Watch {
    /// What is reported next begins a line.
    fn drop(&mut self) {
        if self.is_shown {
            report("");
        }
    }
}
