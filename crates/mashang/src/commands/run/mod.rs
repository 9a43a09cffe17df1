//! `mashang run`: a file of events through all desks into a ledger.
//!
//! - `event_files`: reads lines, checks events and makes frames
//! - `pipeline`: three desks and the ledger on one thread
//! - `summary`: the summary that a run prints

#[cfg(test)]
mod brand_test;
pub(crate) mod event_files;
pub(crate) mod pipeline;
pub(crate) mod summary;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use data_encoding::HEXLOWER;
use domain::model::fact::Metric;
use domain::model::rules::rulebook::Library;
use domain::protocol::kept::Kept;
use ledger::error::LedgerError;
use ledger::schema::may_replace;
use ledger::writer::Writer;
use wire::event::Merchants;

use crate::cli::{ReportFormat, RunArgs};
use crate::commands::run::event_files::{EventFileReader, Rejects, for_each_line};
use crate::commands::run::pipeline::InlinePipeline;
use crate::commands::run::summary::Summary;
use crate::process::data_dir::lock;
use crate::process::input::{self, Text};
use crate::process::output::{print, report, show};
use crate::rules::files::{Published, publish, read_all};
use crate::usage;

/// Maximum number of frames that wait between the reader and the desks; beyond it the reader waits.
const FRAMES_WAITING_MAX: usize = 16;
const READ_BYTES: usize = 1024 * 1024;
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Runs and prints the summary.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    let name = args.events.display().to_string();
    let (library, published) = publish(read_all(&args.rules, None)?)?;
    let (input, size) = open_events(&args.events)?;
    let files = prepare_out(&args.out, &published)?;
    let unfinished = || format!("{} was not finished", files.partial.display());
    let writer = Writer::create(&files.partial, [0]).with_context(unfinished)?;
    let merchants = published.iter().map(|p| (p.book.rules.merchant.clone(), p.book.rules.currency.clone()));
    let reader = EventFileReader::new(name.clone(), Merchants::new(merchants), rejects(args)?);

    let (send, frames) = sync_channel(FRAMES_WAITING_MAX);
    let (tally, finished) = std::thread::scope(|scope| {
        let desks = scope.spawn(move || run_desks(library, writer, &frames));
        let tally = read_events(&name, reader, input, size, &send);
        drop(send);
        let finished = desks
            .join()
            .map_err(|_| anyhow!("the desks stopped because of an internal error: report it with the lines above"));
        (tally, finished)
    });
    // If the desks stopped, the reader's error only says that its channel is closed: the error of the desks comes first.
    let (mut ledger, kept) = finished?.with_context(unfinished)?;
    let tally = tally?;
    let mut events = |metric| Ok::<_, LedgerError>(u64::try_from(ledger.sum(metric)?).unwrap_or(u64::MAX));
    let summary = Summary {
        tally,
        duplicates: events(Metric::Duplicates)?,
        late: events(Metric::Late)?,
        kept,
        rules: published.iter().map(|p| (p.book.rules.merchant.clone(), p.book.version())).collect(),
    };
    files.keep(ledger)?;
    match args.summary {
        ReportFormat::Json => print(summary.json()),
        ReportFormat::Text => print(format_args!("{}ledger: {}", summary.text(), files.ledger.display())),
    }
}

fn open_events(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
    let name = path.display();
    let as_text = |e: String| usage(format!("--events {name}: {e}"));
    if path == Path::new("-") {
        return Ok((input::text(std::io::stdin()).map_err(as_text)?.reader, None));
    }
    let meta = std::fs::metadata(path).map_err(|e| usage(format!("--events {name}: cannot be read: {e}")))?;
    if meta.is_dir() {
        return Err(usage(format!("--events {name}: is a directory; name a file of NDJSON, or - for standard input")));
    }
    let file = File::open(path).map_err(|e| usage(format!("--events {name}: cannot be read: {e}")))?;
    let Text { reader, is_packed } = input::text(file).map_err(as_text)?;
    Ok((reader, (!is_packed).then_some(meta.len())))
}

fn rejects(args: &RunArgs) -> Result<Rejects> {
    let Some(path) = &args.rejects else { return Ok(Rejects::Printed) };
    let file =
        File::create(path).map_err(|e| usage(format!("--rejects {}: cannot be written: {e}", path.display())))?;
    Ok(Rejects::File(Box::new(BufWriter::new(file))))
}

/// The files of a run. The ledger is written beside its place and moved there when it is whole.
struct Files {
    ledger: PathBuf,
    partial: PathBuf,
    /// The directory, locked until the run ends.
    dir: File,
}

fn prepare_out(out: &Path, published: &[Published]) -> Result<Files> {
    let fail = |e: std::io::Error| usage(format!("--out {}: cannot be written: {e}", out.display()));
    let rules = out.join("rules");
    std::fs::create_dir_all(&rules).map_err(fail)?;
    let dir = lock(out).map_err(|e| usage(format!("--out {}: {e}", out.display())))?;
    let ledger = out.join("ledger.sqlite");
    let merchants: BTreeSet<String> = published.iter().map(|p| p.book.rules.merchant.clone()).collect();
    may_replace(&ledger, &merchants).map_err(usage)?;
    for p in published {
        let name = HEXLOWER.encode(&p.book.sha256);
        std::fs::write(rules.join(format!("{name}.json")), &p.object).map_err(fail)?;
    }
    let partial = out.join("ledger.sqlite.partial");
    match std::fs::remove_file(&partial) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fail(e)),
        _ => {}
    }
    Ok(Files { ledger, partial, dir })
}

impl Files {
    fn keep(&self, ledger: Writer) -> Result<()> {
        ledger.close()?;
        File::open(&self.partial)?.sync_all()?;
        std::fs::rename(&self.partial, &self.ledger)
            .and_then(|()| self.dir.sync_all())
            .with_context(|| format!("{} cannot be written", self.ledger.display()))
    }
}

/// Reads, checks and frames events until they end.
fn read_events(
    name: &str,
    mut reader: EventFileReader,
    input: impl Read,
    size: Option<u64>,
    send: &SyncSender<Vec<u8>>,
) -> Result<event_files::Tally> {
    let mut hand_over = |record| send.send(record).map_err(|_| anyhow!("the desks stopped: see their error"));
    let mut progress = Progress::new(size);
    for_each_line(&format!("--events {name}"), BufReader::with_capacity(READ_BYTES, input), |line, bytes| {
        if line.is_too_long {
            reader.too_long(line)?;
        } else {
            reader.line(line, &mut hand_over)?;
        }
        progress.report(reader.tally.received, bytes);
        Ok(())
    })?;
    reader.flush(&mut hand_over)?;
    reader.finish()?;
    progress.end();
    Ok(reader.tally)
}

/// Takes frames through the desks until they end.
fn run_desks(library: Library, writer: Writer, frames: &Receiver<Vec<u8>>) -> Result<(Writer, Kept)> {
    let mut pipeline = InlinePipeline::open(library, writer)?;
    for record in frames {
        pipeline.events(&record)?;
    }
    let kept = pipeline.kept();
    Ok((pipeline.finish()?, kept))
}

/// Shows the progress on a terminal.
struct Progress {
    size: Option<u64>,
    began: Instant,
    last_shown: Option<Instant>,
    shown: bool,
}

impl Progress {
    fn new(size: Option<u64>) -> Self {
        Self {
            size,
            began: Instant::now(),
            last_shown: std::io::stderr().is_terminal().then(Instant::now),
            shown: false,
        }
    }

    fn report(&mut self, events: u64, bytes: u64) {
        // The clock is asked now and then only.
        let Some(last_shown) = self.last_shown.filter(|_| events.is_multiple_of(1024)) else { return };
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

    fn end(&self) {
        if self.shown {
            report("");
        }
    }
}
