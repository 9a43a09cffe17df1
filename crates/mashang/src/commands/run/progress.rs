//! How far a run is.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::process::output::{report, show};

const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Shows the progress on a terminal.
pub(super) struct Progress {
    size: Option<u64>,
    began: Instant,
    last_shown: Option<Instant>,
    shown: bool,
}

impl Progress {
    pub(super) fn new(size: Option<u64>) -> Self {
        Self {
            size,
            began: Instant::now(),
            last_shown: std::io::stderr().is_terminal().then(Instant::now),
            shown: false,
        }
    }

    pub(super) fn report(&mut self, events: u64, bytes: u64) {
        let Some(last_shown) = self.last_shown else { return };
        let now = Instant::now();
        if now - last_shown < PROGRESS_EVERY {
            return;
        }
        self.last_shown = Some(now);
        self.shown = true;
        let rate = events / (now - self.began).as_secs().max(1);
        let part = self.size.filter(|&s| s > 0).map_or_else(String::new, |s| format!("{:3} %, ", bytes * 100 / s));
        show(format_args!("\r{part}{events} events, {rate}/s "));
    }

    pub(super) fn end(&self) {
        if self.shown {
            report("");
        }
    }
}
