//! `mashang rejects`: the records of `scans` that were set aside, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write, stdout};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use domain::frame::{Frame, Kind};
use domain::model::address::Topic;
use domain::model::time::{Millis, time_text};
use domain::protocol::reject::{self, Handled};
use eventlog::api::{Append, AppendError, OnFull, now_ms};
use eventlog::error::LogError;
use eventlog::files::disk::Disk;
use eventlog::kafka::appender::{KafkaAppender, Metrics, Options};
use eventlog::kafka::topic_reader::open;
use eventlog::local::log::Log;
use eventlog::local::store::Sizes;
use eventlog::local::topic_reader::TopicReader;
use prometheus::Registry;
use serde_json::json;

use crate::cli::rejects_args::{RecordPlace, RejectsArgs, RejectsChangeArgs};
use crate::config::options::LogFormat;
use crate::process::data_dir::lock;
use crate::process::logging::log_as;
use crate::process::output::print;
use crate::usage;

const CLIENT_ID: &str = "mashang-rejects";

/// A record that was set aside, without its contents.
struct SetAside {
    received: Millis,
    /// Size of the record, and of what is kept of it, bytes.
    bytes: u64,
    kept: u64,
    why: String,
    handled: Option<Handled>,
}

/// Writes all of them to standard output.
pub(crate) fn list(args: &RejectsArgs) -> Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    for (place, record) in &read_all(args, &mut |_, _, _| ())? {
        let line = json!({
            "record": place.to_string(),
            "received": time_text(record.received),
            "bytes": record.bytes,
            "state": record.handled.map_or("waiting", Handled::as_str),
            "reason": record.why,
        });
        writeln!(out, "{line}")?;
    }
    Ok(out.flush()?)
}

/// Appends records to `scans` again.
pub(crate) fn retry(args: &RejectsChangeArgs) -> Result<()> {
    change(args, Handled::SentAgain)
}

/// Notes that records are not sent again.
pub(crate) fn discard(args: &RejectsChangeArgs) -> Result<()> {
    change(args, Handled::Discarded)
}

fn change(args: &RejectsChangeArgs, handled: Handled) -> Result<()> {
    let given: BTreeSet<RecordPlace> = args.records.iter().copied().collect();
    let is_wanted = |place: &RecordPlace| args.all || given.contains(place);
    let mut copies: BTreeMap<RecordPlace, (u128, Vec<u8>)> = BTreeMap::new();
    let found = read_all(&args.at, &mut |place, log, record| {
        if is_wanted(&place) {
            copies.insert(place, (log, record.to_vec()));
        }
    })?;
    if let Some(unknown) = given.iter().find(|place| !found.contains_key(place)) {
        return Err(usage(format!("{unknown}: no such record was set aside: see `mashang rejects list`")));
    }
    let mut appends = Vec::new();
    let mut changed = Vec::new();
    let mut cut = Vec::new();
    for (place, (log, record)) in copies {
        let known = &found[&place];
        if known.handled.is_some() && args.all {
            continue;
        }
        if handled == Handled::SentAgain {
            if known.kept < known.bytes {
                let (kept, bytes) = (known.kept, known.bytes);
                cut.push(format!("{place}: only {kept} of its {bytes} bytes are kept: discard it"));
                continue;
            }
            appends.push(Append { topic: Topic::Scans, partition: place.partition, record });
        }
        let note = reject::handled_record(log, place.partition, place.offset, now_ms(), handled);
        appends.push(Append { topic: Topic::Rejects, partition: 0, record: note });
        changed.push(place);
    }
    if !appends.is_empty() {
        append(&args.at, appends)?;
    }
    for place in changed {
        print(format_args!("{place}: {handled}"))?;
    }
    if cut.is_empty() { Ok(()) } else { Err(anyhow!("{}", cut.join("; "))) }
}

/// Gets the place of a record, the id of its topic in the log, and its contents.
type Each<'e> = dyn FnMut(RecordPlace, u128, &[u8]) + 'e;

/// What is set aside, by place; `each` gets each of them.
fn read_all(args: &RejectsArgs, each: &mut Each<'_>) -> Result<BTreeMap<RecordPlace, SetAside>> {
    let log = match &args.data {
        Some(data) => TopicReader::open(&Disk, &data.join("log"), Topic::Rejects),
        None => open(&args.kafka.settings()?, CLIENT_ID, Topic::Rejects),
    };
    let log = log.map_err(|e| match e {
        LogError::Missing { .. } => usage(e),
        other => other.into(),
    })?;
    let mut found: BTreeMap<RecordPlace, SetAside> = BTreeMap::new();
    for mut records in log.partitions {
        while let Some(record) = records.next_record()? {
            let frame = Frame::open(record.bytes)?;
            let Some(tag) = frame.tag else { continue };
            let place = RecordPlace { partition: tag.source.partition, offset: tag.at.offset };
            match frame.kind {
                Kind::Reject => {
                    let Some(copy) = reject::read(&frame)? else { continue };
                    each(place, tag.source.log, copy.record);
                    // A task that restarts copies it again.
                    found.entry(place).or_insert_with(|| SetAside {
                        received: frame.received,
                        bytes: copy.bytes,
                        kept: copy.record.len() as u64,
                        why: copy.why.to_owned(),
                        handled: None,
                    });
                }
                Kind::RejectHandled => {
                    let handled = reject::read_handled(&frame)?;
                    found.entry(place).and_modify(|record| record.handled = handled);
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Appends records and waits until they are durable.
fn append(args: &RejectsArgs, records: Vec<Append>) -> Result<()> {
    let refused = |why: AppendError| anyhow!("{why}: nothing is changed, or not all; run it again");
    match &args.data {
        Some(data) => append_to(data, records)?.map_err(refused),
        None => {
            log_as(LogFormat::Text, "warn");
            let metrics = Metrics::new(&Registry::new());
            let appender = KafkaAppender::start(&args.kafka.settings()?, CLIENT_ID, Options::edge(), &metrics)?;
            appender.append_and_wait(records, OnFull::Refuse).map_err(refused)
        }
    }
}

fn append_to(data: &Path, records: Vec<Append>) -> Result<Result<(), AppendError>> {
    let _lock = lock(data).map_err(|e| usage(format!("--data {}: {e}", data.display())))?;
    let dir = data.join("log");
    let meta = TopicReader::open(&Disk, &dir, Topic::Rejects)?.meta;
    let log = Log::open(Arc::new(Disk), &dir, &meta, Sizes::default(), &Registry::new())?;
    let appended = log.append_and_wait(records);
    log.close();
    Ok(appended)
}
