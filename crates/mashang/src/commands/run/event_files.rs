//! Events from a file: parsed chunks are stamped in the order of the file and framed, and refused lines are reported.

use std::collections::BTreeMap;
use std::io::Write;

use crate::process::output::report;
use anyhow::{Context, Result};
use domain::frame::{Body, Kind, decode, seal};
use domain::model::event::Event;
use domain::model::time::{CLOCK_AHEAD_MAX_MS, DAY_MS, Millis};
use wire::event::{FieldError, Reason, Refused};

use super::chunk::{Checked, ParsedChunk};

/// Size of a frame, bytes; a frame that has reached it is closed. The larger it is, the fewer counters come out of the desks, for
/// each frame has one for each of its scopes; beyond the processor's caches it costs more than that saves.
const FRAME_BYTES: usize = 256 * 1024;

/// What came in: received = accepted + rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) received: u64,
    pub(crate) accepted: u64,
    pub(crate) rejected: BTreeMap<&'static str, u64>,
    pub(crate) unknown_fields: u64,
}

/// Where refused events are reported.
pub(crate) enum Rejects {
    /// On standard error, one line per error.
    Printed,
    /// As NDJSON.
    File(Box<dyn Write>),
}

/// Takes parsed chunks to frames.
pub(super) struct EventFramer {
    /// The name of the file, for reports.
    file: String,
    body: Body,
    count: u32,
    /// The running maximum of the times of all accepted events.
    received: Option<Millis>,
    pub(super) tally: Tally,
    rejects: Rejects,
}

impl EventFramer {
    pub(super) fn new(file: String, rejects: Rejects) -> Self {
        Self { file, body: Body::default(), count: 0, received: None, tally: Tally::default(), rejects }
    }

    /// Takes a chunk; hands a frame to `send` when one is full.
    pub(super) fn take(&mut self, chunk: &ParsedChunk, send: &mut impl FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
        let mut start = 0;
        for (index, checked) in chunk.checked.iter().enumerate() {
            self.tally.received += 1;
            match *checked {
                Checked::Refused(ref refused) => self.reject(chunk, index, refused)?,
                Checked::Event { end, encoded, own, is_of_dump, unknown_fields } => {
                    let event = &chunk.events[std::mem::replace(&mut start, end)..end];
                    let stamp = match self.stamp(own, is_of_dump) {
                        Ok(stamp) => stamp,
                        Err((error, reason)) => {
                            let error = format!("time: {error}");
                            let errors = vec![FieldError { field: "time".to_owned(), error, reason }];
                            let id = Some(decode::<Event<'_>>(event)?.id.to_owned());
                            self.reject(chunk, index, &Refused { id, errors })?;
                            continue;
                        }
                    };
                    self.received = Some(stamp);
                    if stamp == encoded {
                        self.body.push_encoded(event);
                    } else {
                        self.body.push(&Event { stamp, ..decode(event)? });
                    }
                    self.count += 1;
                    self.tally.accepted += 1;
                    self.tally.unknown_fields += u64::from(unknown_fields);
                    if self.body.len() >= FRAME_BYTES {
                        self.flush(send)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The stamp of an event that says this of it, or what is wrong with its time.
    fn stamp(&self, own: Option<Millis>, is_of_dump: bool) -> Result<Millis, (String, Reason)> {
        let Some(stamp) = own.max(self.received) else {
            return Err(("is missing; the first event of a run must have one".to_owned(), Reason::Missing));
        };
        // A line of `log dump` has what a clock said.
        if !is_of_dump && self.received.is_some_and(|last| stamp - last > CLOCK_AHEAD_MAX_MS) {
            let days = CLOCK_AHEAD_MAX_MS / DAY_MS;
            let error = format!(
                "is more than {days} days after all events before it; correct it, or give the events between first"
            );
            return Err((error, Reason::Range));
        }
        Ok(stamp)
    }

    /// Closes the frame under construction.
    pub(super) fn flush(&mut self, send: &mut impl FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        self.count = 0;
        let received = self.received.unwrap_or(0);
        let mut sent = Ok(());
        self.body.drain(|bytes, count| {
            if sent.is_ok() {
                sent = send(seal(Kind::Events, received, None, count, bytes));
            }
        });
        sent
    }

    /// Reports an event that is refused: its file, its line, the column where the field stands, its index among the events,
    /// its id, and every error.
    fn reject(&mut self, chunk: &ParsedChunk, line: usize, refused: &Refused) -> Result<()> {
        *self.tally.rejected.entry(refused.reason().as_str()).or_default() += 1;
        let index = self.tally.received - 1;
        for FieldError { field, error, reason } in &refused.errors {
            let (number, column) = chunk.place(line, field);
            match &mut self.rejects {
                Rejects::Printed => {
                    let id = refused.id.as_ref().map_or_else(String::new, |id| format!(", id {id}"));
                    let column = column.map_or_else(String::new, |column| format!("{column}:"));
                    report(format_args!("{}:{number}:{column} event {index}{id}: {error}", self.file));
                }
                Rejects::File(file) => {
                    let row = serde_json::json!({
                        "file": self.file, "line": number, "column": column, "index": index, "id": refused.id,
                        "field": field, "error": error, "reason": reason.as_str()
                    });
                    writeln!(file, "{row}").context("--rejects cannot be written")?;
                }
            }
        }
        Ok(())
    }

    /// Writes what is left of the report.
    pub(super) fn finish(&mut self) -> Result<()> {
        match &mut self.rejects {
            Rejects::Printed => Ok(()),
            Rejects::File(file) => file.flush().context("--rejects cannot be written"),
        }
    }
}
