//! `mashang run`: a file of events through all desks into a ledger.
//!
//! - `reading`: reads and parses the file, in chunks of lines
//! - `lines`: its lines
//! - `chunk`: lines that are parsed together
//! - `event_files`: stamps events, makes frames of them, reports refused lines
//! - `desks`: the three desks in a row
//! - `pipeline`: the threads
//! - `progress`: shows how far a run is
//! - `summary`: the summary that a run prints

#[cfg(test)]
mod brand_test;
mod chunk;
mod desks;
pub(crate) mod event_files;
mod lines;
pub(crate) mod pipeline;
mod progress;
pub(crate) mod reading;
mod summary;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result};
use data_encoding::HEXLOWER;
use domain::model::fact::Metric;
use ledger::error::LedgerError;
use ledger::schema::may_replace;
use ledger::writer::Writer;
use wire::event::Merchants;

use crate::cli::{ReportFormat, RunArgs};
use crate::commands::log::days::{named, open_archive};
use crate::commands::log::dump::DumpedEvents;
use crate::commands::run::event_files::Rejects;
use crate::commands::run::pipeline::{Events, Finished, run_through};
use crate::commands::run::progress::Progress;
use crate::commands::run::reading::Source;
use crate::commands::run::summary::Summary;
use crate::process::data_dir::lock;
use crate::process::input::{self, Text};
use crate::process::output::print;
use crate::rules::files::{Published, publish, read_all};
use crate::usage;

/// Runs and prints the summary.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    let (library, published) = publish(read_all(&args.rules, None)?)?;
    let Input { option, name, reader, size } = open_events(args)?;
    let files = prepare_out(&args.out, &published)?;
    let unfinished = || format!("{} was not finished", files.partial.display());
    let writer = Writer::create(&files.partial, [0]).with_context(unfinished)?;
    let merchants = published.iter().map(|p| (p.book.rules.merchant.clone(), p.book.rules.currency.clone()));
    let merchants = Merchants::new(merchants);
    let source = Source { name: format!("{option} {name}"), input: reader, merchants, is_wanted: None };
    let events = Events { file: name, source, rejects: rejects(args)? };
    let mut progress = Progress::new(size);
    let failed = |error| Error::new(error).context(unfinished());
    let finished = run_through(&library, writer, events, failed, |events, bytes| progress.report(events, bytes));
    let Finished { tally, kept, mut ledger } = finished?;
    progress.end();
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

/// The events that are read: where they come from, for messages, and how many bytes they are, if that is known.
struct Input {
    option: &'static str,
    name: String,
    reader: Box<dyn Read + Send>,
    size: Option<u64>,
}

fn open_events(args: &RunArgs) -> Result<Input> {
    if let Some(url) = &args.archive {
        let archived = open_archive(url)?.open(None).map_err(named)?.reader;
        let reader = Box::new(DumpedEvents::new(archived, None).text());
        return Ok(Input { option: "--archive", name: url.clone(), reader, size: None });
    }
    let Some(path) = &args.events else {
        return Err(usage("give --events FILE, --events - for standard input, or --archive URL"));
    };
    let name = path.display().to_string();
    let as_text = |e: String| usage(format!("--events {name}: {e}"));
    if path == Path::new("-") {
        let reader = input::text(std::io::stdin()).map_err(as_text)?.reader;
        return Ok(Input { option: "--events", name, reader, size: None });
    }
    let meta = std::fs::metadata(path).map_err(|e| usage(format!("--events {name}: cannot be read: {e}")))?;
    if meta.is_dir() {
        return Err(usage(format!("--events {name}: is a directory; name a file of NDJSON, or - for standard input")));
    }
    let file = File::open(path).map_err(|e| usage(format!("--events {name}: cannot be read: {e}")))?;
    let Text { reader, is_packed } = input::text(file).map_err(as_text)?;
    Ok(Input { option: "--events", name, reader, size: (!is_packed).then_some(meta.len()) })
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
