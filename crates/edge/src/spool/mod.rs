//! Rounds that the log does not take in time become durable in a spool on the disk, and go to the log from there, in order.
//!
//! While the log answers in time, rounds go to it and never touch the disk. A round that it refuses, or does not acknowledge in
//! time, goes into the spool, and from then on so does every round, behind it: many of them share one sync. A thread hands what
//! is in the spool to the log. Once all of it is handed over, and the log acknowledges again, rounds go to the log directly,
//! behind what was handed over: the log's appender keeps the order of a partition. Rounds that were in flight at the same time
//! have no order among themselves; a client that waits for an answer before it sends the next event has the order of the answers.
//!
//! - [`append_target`]: where rounds go: to the log, or to a log with a spool before it
//! - `drain`: the thread that writes the spool and hands what is in it to the log
//! - `shared`: the state that this thread, the appending threads and the log share
//! - `deferred`: a log that an edge connects to only after its start
//! - `metrics`: how full the spool is, how old its oldest event is, and what went through it

pub mod append_target;
mod deferred;
mod drain;
mod metrics;
mod shared;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use domain::frame::Frame;
use domain::model::time::Millis;
use eventlog::api::{Append, Appender, Health};
use eventlog::error::LogError;
use eventlog::files::Files;
use eventlog::local::meta::Meta;
use eventlog::spool::{Sizes, Spool};
use parking_lot::Mutex;
use tracing::info;

use crate::spool::drain::Drain;
use crate::spool::shared::{Event, Round, Shared};

pub use crate::spool::deferred::DeferredAppender;
pub use metrics::Metrics;
pub use shared::{Done, Durable};

/// A spool that was opened, and what is in it.
#[derive(Debug)]
pub struct OpenedSpool {
    spool: Spool,
    /// The latest `received` of its frames, all of which were accepted.
    pub last: Option<Millis>,
    /// Number of events in it.
    pub events: u64,
}

impl OpenedSpool {
    /// Opens the spool of a log in a directory, or makes one.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub fn open(files: Arc<dyn Files>, dir: &Path, log: &Meta, sizes: Sizes) -> Result<Self, LogError> {
        let (mut last, mut events) = (None, 0);
        let spool = Spool::open(files, dir, log.id(), sizes, |record| {
            if let Ok(frame) = Frame::open(record) {
                last = last.max(Some(frame.received));
                events += u64::from(frame.count);
            }
        })?;
        Ok(Self { spool, last, events })
    }
}

/// A log with a spool before it.
#[derive(Debug)]
pub struct Spooled {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Spooled {
    /// Puts a spool before a log and begins to drain it. The log must refuse what it does not acknowledge soon.
    ///
    /// # Panics
    /// If the system cannot start a thread.
    #[must_use]
    pub fn start(opened: OpenedSpool, log: Arc<dyn Appender>, metrics: Metrics) -> Self {
        let OpenedSpool { spool, last: _, events } = opened;
        if !spool.is_empty() {
            info!(events, bytes = spool.bytes(), "the spool is drained from where it was");
        }
        let shared = Arc::new(Shared::new(log, spool.is_empty()));
        let drain = Drain::new(spool, Arc::clone(&shared), metrics);
        let thread = std::thread::Builder::new().name("spool".to_owned()).spawn(move || drain.run_guarded());
        Self { shared, thread: Mutex::new(Some(thread.expect("the system has room for a thread"))) }
    }

    /// Makes a round durable, in the log or in the spool. `done` gets the place, or the reason why neither has it.
    pub fn append(&self, records: Vec<Append>, done: Done) {
        let direct = self.shared.direct.lock();
        if *direct {
            self.shared.append_to_log(Round { records, done });
        } else {
            self.shared.report(Event::Round(Round { records, done }));
        }
    }

    /// Whether a round would be made durable now.
    #[must_use]
    pub fn health(&self) -> Health {
        let log = self.shared.log.health();
        match (self.shared.health.load(Ordering::Acquire), log) {
            (_, Health::Failed) => Health::Failed,
            (spool, _) if spool == Health::Failed as u8 => Health::Failed,
            (spool, _) if spool == Health::Good as u8 => Health::Good,
            // A full spool does not matter as long as rounds go to the log.
            (_, log) if *self.shared.direct.lock() => log,
            _ => Health::Full,
        }
    }

    /// Gives the log some time to take what it was given, spools the rest and ends. The next start drains the spool.
    pub fn close(&self) {
        self.shared.is_closing.store(true, Ordering::Release);
        // When this returns, each round in flight is done or refused, and the refused ones are in the queue.
        self.shared.log.close();
        self.shared.queue.lock().ends = true;
        self.shared.wake.notify_all();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        self.close();
    }
}
