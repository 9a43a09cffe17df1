//! The pipeline: reading, parsing, the desks and the ledger have threads of their own.
//!
//! ```text
//! reader ─▶ parsers ─▶ framer ─▶ shopper desk ─▶ code and campaign desk ─▶ ledger
//!  lines     events    stamps      answers               facts               rows
//! ```
//!
//! What comes out does not depend on the threads: the framer takes events in the order of the file, and all stages after it are in a
//! row. A stage that fails drops its ends of the queues. Those before it then cannot send and stop, those after it get nothing more
//! and end, and its error is the error of the run.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use anyhow::{Error, Result, anyhow};
use domain::model::rules::rulebook::Library;
use domain::protocol::kept::Kept;
use domain::protocol::stage::Output;
use ledger::error::LedgerError;
use ledger::writer::Writer;

use super::desks::{self, Draws, Facts, Shoppers};
use super::event_files::{EventFramer, Rejects, Tally};
use super::reading::{Reading, Source};

/// Maximum number of frames that wait before the shopper desk; beyond it the framer waits.
const FRAMES_WAITING_MAX: usize = 4;
/// Maximum number of frames whose answers wait before the code desk; beyond it the shopper desk waits.
const ANSWERS_WAITING_MAX: usize = 4;
/// Maximum number of frames whose facts wait before the ledger; beyond it the code desk waits. They are what the ledger has to do
/// when it has committed.
const FACTS_WAITING_MAX: usize = 32;
/// Number of waiting facts at which the ledger commits them.
const COMMIT_FACTS: usize = 500_000;

/// A file of events, and where its refused lines are reported.
pub(crate) struct Events {
    /// The name of the file, for reports.
    pub(crate) file: String,
    pub(crate) source: Source,
    pub(crate) rejects: Rejects,
}

/// What a run comes to.
pub(crate) struct Finished {
    pub(crate) tally: Tally,
    pub(crate) kept: Kept,
    pub(crate) ledger: Writer,
}

/// Takes events through all desks into a ledger. `progress` gets the numbers of events and of bytes so far.
///
/// # Errors
/// The events cannot be read, or a refused one cannot be reported. If the desks or the ledger fail: what `failed` makes of it.
pub(crate) fn run_through(
    library: &Library,
    ledger: Writer,
    events: Events,
    failed: impl Fn(LedgerError) -> Error,
    progress: impl FnMut(u64, u64),
) -> Result<Finished> {
    let (shoppers, draws, opening) = desks::open(library).map_err(|error| failed(error.into()))?;
    std::thread::scope(|scope| {
        let (frames, to_shoppers) = sync_channel(FRAMES_WAITING_MAX);
        let (answers, to_draws) = sync_channel(ANSWERS_WAITING_MAX);
        let (facts, to_ledger) = sync_channel(FACTS_WAITING_MAX);
        let shoppers = spawn(scope, "shopper desk", move || answer(shoppers, &to_shoppers, &answers));
        let draws = spawn(scope, "code desk", move || draw(draws, &to_draws, &facts));
        let ledger = spawn(scope, "ledger", move || write(ledger, opening, &to_ledger));
        let tally = frame(events, frames, progress);
        // If the desks stopped, the framer's error only says that its queue is closed: the error of the desks comes first.
        let ledger = joined(ledger, &failed)?;
        joined(draws, &failed)?;
        let kept = joined(shoppers, &failed)?;
        Ok(Finished { tally: tally?, kept, ledger })
    })
}

fn spawn<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 's,
) -> ScopedJoinHandle<'s, T> {
    Builder::new().name(name.to_owned()).spawn_scoped(scope, work).expect("the system has room for a thread")
}

fn joined<T>(stage: ScopedJoinHandle<'_, Result<T, LedgerError>>, failed: impl Fn(LedgerError) -> Error) -> Result<T> {
    let stopped = |_| anyhow!("the desks stopped because of an internal error: report it with the lines above");
    stage.join().map_err(stopped)?.map_err(failed)
}

/// Reads, checks and frames events until they end.
fn frame(events: Events, frames: SyncSender<Vec<u8>>, mut progress: impl FnMut(u64, u64)) -> Result<Tally> {
    let Events { file, source, rejects } = events;
    let mut framer = EventFramer::new(file, rejects);
    let mut send = |record| frames.send(record).map_err(|_| anyhow!("the desks stopped: see their error"));
    Reading::start(source).for_each(|chunk| {
        framer.take(&chunk, &mut send)?;
        progress(framer.tally.received, chunk.bytes());
        Ok(())
    })?;
    framer.flush(&mut send)?;
    framer.finish()?;
    // The desks end when there are no more frames.
    drop(frames);
    Ok(framer.tally)
}

/// Takes frames through the shopper desk until they end.
fn answer(
    mut shoppers: Shoppers<'_>,
    frames: &Receiver<Vec<u8>>,
    answers: &SyncSender<Vec<Output>>,
) -> Result<Kept, LedgerError> {
    for record in frames {
        if answers.send(shoppers.take(&record)?).is_err() {
            break;
        }
    }
    let kept = shoppers.kept();
    // The process ends soon. To free millions of small allocations one by one takes a tenth of this thread's time.
    std::mem::forget(shoppers);
    Ok(kept)
}

/// Takes its answers through the other desks until they end.
fn draw(mut draws: Draws<'_>, answers: &Receiver<Vec<Output>>, facts: &SyncSender<Facts>) -> Result<(), LedgerError> {
    for of_frame in answers {
        if facts.send(draws.take(of_frame)?).is_err() {
            break;
        }
    }
    Ok(())
}

/// Writes facts until they end.
fn write(mut ledger: Writer, opening: Facts, facts: &Receiver<Facts>) -> Result<Writer, LedgerError> {
    for of_frame in std::iter::once(opening).chain(facts) {
        for record in of_frame {
            ledger.apply(0, ledger.next_offset(0), &record)?;
        }
        if ledger.pending() >= COMMIT_FACTS {
            ledger.commit()?;
        }
    }
    ledger.commit()?;
    Ok(ledger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_in_a_stage_ends_the_run_with_a_message() {
        let error = std::thread::scope(|scope| {
            let stage = spawn(scope, "stage", || -> Result<(), LedgerError> { panic!("a test panics here") });
            joined(stage, Into::into).expect_err("an error")
        });
        let wanted = "the desks stopped because of an internal error: report it with the lines above";
        assert_eq!(error.to_string(), wanted);
    }
}
