//! Ranges of batches: where items went, and whether they live.

use std::collections::BTreeSet;

use domain::model::rules::{BATCH_COUNT_MAX, BATCH_NUMBER_MAX, Range, RangeState};

use super::places::{RangeOrigin, RangeOrigins};
use super::register::{Files, Known, each_range};
use super::table::{Notes, SourceLocation, Table};
use super::values::{id, natural, natural_in_digits, word};

/// A range and where it is written.
struct WrittenRange {
    range: Range,
    /// Its `from`.
    at: SourceLocation,
    origin: RangeOrigin,
}

/// Reads the ranges and sorts them by batch and serial.
pub(super) fn ranges(root: &mut Table<'_>, files: &Files, known: &Known) -> (Vec<Range>, RangeOrigins) {
    let mut written = Vec::new();
    let mut tables = 0;
    let mut named = BTreeSet::new();
    each_range(root, files, |table| {
        let origin = if table.is_row() { RangeOrigin::Row(table.at().line) } else { RangeOrigin::Table(tables) };
        tables += usize::from(!table.is_row());
        named.extend(table_range(table, known, origin, &mut written));
    });
    for (number, batch) in &known.batches {
        if let Some(at) = batch.ranges_wanted_at.as_ref().filter(|_| !named.contains(number)) {
            root.notes.warning(at, format!("is \"ranges\", and batch {number} has none: all of its codes are dark"));
        }
    }
    // In a stable sort what is written first comes first.
    written.sort_by_key(|w| (w.range.batch, w.range.from, w.range.to));
    check_overlaps(root.notes, &written);
    let file = files.ranges_name().map(str::to_owned);
    let origins = RangeOrigins { file, origins: written.iter().map(|w| w.origin).collect() };
    (written.into_iter().map(|w| w.range).collect(), origins)
}

/// Reads a range; returns the batch that it names.
fn table_range(
    table: &mut Table<'_>,
    known: &Known,
    origin: RangeOrigin,
    written: &mut Vec<WrittenRange>,
) -> Option<u32> {
    let batch = number(table, "batch", BATCH_NUMBER_MAX.into()).and_then(|n| u32::try_from(n).ok());
    let from = number(table, "from", BATCH_COUNT_MAX);
    let to = number(table, "to", BATCH_COUNT_MAX);
    let state = table.get("state", word(RangeState::ALL, RangeState::as_str)).unwrap_or(RangeState::Active);
    let guide = table.get("guide", id);
    let store = table.get("store", id);
    if guide.is_some() {
        known.guides.check(table.notes, guide.as_ref(), &table.place("guide"));
    }
    if store.is_some() {
        known.stores.check(table.notes, store.as_ref(), &table.place("store"));
    }
    let region = table.get("region", id);
    let channel = table.get("channel", id);
    let of = batch.and_then(|batch| known.batches.get(&batch));
    if let Some(batch) = batch.filter(|_| of.is_none()) {
        table.notes.lack(&table.place("batch"), format!("is {batch}, which is no batch here"));
    }
    if let Some((to, batch)) = to.zip(of)
        && let Some(count) = batch.count.filter(|&count| to > count)
    {
        let (file, line) = (&batch.at.file, batch.at.line);
        let what = format!("is {to}, above the {count} codes of the batch at {file}:{line}; write {count} at most");
        table.mistake("to", what);
    }
    let (from, to) = from.zip(to)?;
    if from >= to {
        table.mistake("to", "is not above `from`; the range holds no serial");
    } else if let Some(batch) = batch {
        let range = Range { batch, from, to, state, guide, store, region, channel };
        written.push(WrittenRange { range, at: table.place("from"), origin });
    }
    batch
}

/// A number that may not be left out; in a register it is a text.
fn number(table: &mut Table<'_>, key: &'static str, max: u64) -> Option<u64> {
    if table.is_row() { table.need(key, natural_in_digits(0, max)) } else { table.need(key, natural(0, max)) }
}

/// Notes ranges of one batch that overlap: each that begins before the end of an earlier one, with the one that ends last.
fn check_overlaps(notes: &Notes, sorted: &[WrittenRange]) {
    let mut last: Option<&WrittenRange> = None;
    for next in sorted {
        let of_batch = last.filter(|last| last.range.batch == next.range.batch);
        if let Some(last) = of_batch.filter(|last| next.range.from < last.range.to) {
            let (Range { batch, from, to, .. }, SourceLocation { file, line, .. }) = (&last.range, &last.at);
            let what = format!(
                "overlaps the range from {from} to {to} of batch {batch} at {file}:{line}; end one where the other begins"
            );
            notes.mistake(&next.at, what);
        }
        last = of_batch.filter(|last| last.range.to >= next.range.to).or(Some(next));
    }
}
