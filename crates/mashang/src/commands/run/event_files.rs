//! Events from a file: lines are read, checked, stamped and framed.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use crate::process::output::report;
use crate::usage;
use anyhow::{Context, Result};
use bumpalo::Bump;
use domain::frame::{Body, Kind, seal};
use domain::model::time::{CLOCK_AHEAD_MAX_MS, DAY_MS, Millis};
use wire::batch::LINE_BYTES_MAX;
use wire::event::place::byte_of;
use wire::event::{FieldError, Merchants, Reason, Refused, read};

/// Size of a frame, bytes; a frame that has reached it is closed.
const FRAME_BYTES: usize = 64 * 1024;

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

/// Takes lines to frames.
pub(crate) struct EventFileReader {
    /// The name of the file, for reports.
    file: String,
    merchants: Merchants,
    arena: Bump,
    body: Body,
    count: u32,
    /// The running maximum of the times of all accepted events.
    received: Option<Millis>,
    pub(crate) tally: Tally,
    rejects: Rejects,
}

impl EventFileReader {
    pub(crate) fn new(file: String, merchants: Merchants, rejects: Rejects) -> Self {
        Self {
            file,
            merchants: merchants.with_dump_lines(),
            arena: Bump::new(),
            body: Body::default(),
            count: 0,
            received: None,
            tally: Tally::default(),
            rejects,
        }
    }

    /// Takes one line; hands a frame to `send` when one is full.
    pub(crate) fn line(&mut self, line: Line<'_>, send: &mut impl FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
        self.tally.received += 1;
        self.arena.reset();
        let accepted = match read(line.text, &self.merchants, &self.arena) {
            Ok(accepted) => accepted,
            Err(refused) => return self.reject(line, &refused),
        };
        let mut event = accepted.event;
        let wrong = |error: String, reason| {
            let errors = vec![FieldError { field: "time".to_owned(), error: format!("time: {error}"), reason }];
            Refused { id: Some(event.id.to_owned()), errors }
        };
        let Some(stamp) = accepted.received.or(event.time).max(self.received) else {
            let refused = wrong("is missing; the first event of a run must have one".to_owned(), Reason::Missing);
            return self.reject(line, &refused);
        };
        // A line of `log dump` has what a clock said.
        if accepted.received.is_none() && self.received.is_some_and(|last| stamp - last > CLOCK_AHEAD_MAX_MS) {
            let days = CLOCK_AHEAD_MAX_MS / DAY_MS;
            let error = format!(
                "is more than {days} days after all events before it; correct it, or give the events between first"
            );
            let refused = wrong(error, Reason::Range);
            return self.reject(line, &refused);
        }
        event.stamp = stamp;
        self.received = Some(stamp);
        self.body.push(&event);
        self.count += 1;
        self.tally.accepted += 1;
        self.tally.unknown_fields += u64::from(accepted.unknown_fields);
        if self.body.len() >= FRAME_BYTES { self.flush(send) } else { Ok(()) }
    }

    /// Closes the frame under construction.
    pub(crate) fn flush(&mut self, send: &mut impl FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
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

    /// Counts a line that is too long to be looked at.
    pub(crate) fn too_long(&mut self, line: Line<'_>) -> Result<()> {
        self.tally.received += 1;
        let error = format!("the line is longer than {LINE_BYTES_MAX} bytes: send one event a line");
        let errors = vec![FieldError { field: String::new(), error, reason: Reason::Size }];
        self.reject(line, &Refused { id: None, errors })
    }

    /// Reports an event that is refused: its file, its line, the column where the field stands, its index among the events,
    /// its id, and every error.
    fn reject(&mut self, line: Line<'_>, refused: &Refused) -> Result<()> {
        *self.tally.rejected.entry(refused.reason().as_str()).or_default() += 1;
        let index = self.tally.received - 1;
        for FieldError { field, error, reason } in &refused.errors {
            let column = line.column(field);
            match &mut self.rejects {
                Rejects::Printed => {
                    let id = refused.id.as_ref().map_or_else(String::new, |id| format!(", id {id}"));
                    let column = column.map_or_else(String::new, |column| format!("{column}:"));
                    let Line { number, .. } = line;
                    report(format_args!("{}:{number}:{column} event {index}{id}: {error}", self.file));
                }
                Rejects::File(file) => {
                    let row = serde_json::json!({
                        "file": self.file, "line": line.number, "column": column, "index": index, "id": refused.id,
                        "field": field, "error": error, "reason": reason.as_str()
                    });
                    writeln!(file, "{row}").context("--rejects cannot be written")?;
                }
            }
        }
        Ok(())
    }

    /// Writes what is left of the report.
    pub(crate) fn finish(&mut self) -> Result<()> {
        match &mut self.rejects {
            Rejects::Printed => Ok(()),
            Rejects::File(file) => file.flush().context("--rejects cannot be written"),
        }
    }
}

/// A line that is not blank.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'l> {
    /// From 1.
    pub(crate) number: u64,
    /// Bytes of space before the text.
    indent: usize,
    /// Without the space around it; no more than the limit of one that is too long.
    pub(crate) text: &'l [u8],
    pub(crate) is_too_long: bool,
}

impl<'l> Line<'l> {
    /// A line of no more than the limit, without space around it.
    #[cfg(test)]
    pub(crate) fn new(number: u64, text: &'l [u8]) -> Self {
        Self { number, indent: 0, text, is_too_long: false }
    }

    /// Where a field stands, in characters from 1; none if it is not there.
    fn column(&self, field: &str) -> Option<usize> {
        let before = &self.text[..byte_of(self.text, field)?];
        Some(self.indent + before.iter().filter(|&&byte| byte & 0xC0 != 0x80).count() + 1)
    }
}

/// Hands every line that is not blank to `each`, with the bytes read so far. `name` is the option and its file, for messages.
pub(crate) fn for_each_line(
    name: &str,
    mut input: impl BufRead,
    mut each: impl FnMut(Line<'_>, u64) -> Result<()>,
) -> Result<()> {
    let mut line = Vec::new();
    let mut bytes = 0;
    for number in 1.. {
        line.clear();
        let (start, mut indent, mut is_long) = (bytes, 0, false);
        loop {
            let chunk = input.fill_buf().map_err(|e| usage(format!("{name}: cannot be read: {e}")))?;
            let end = memchr::memchr(b'\n', chunk);
            let taken = end.map_or(chunk.len(), |end| end + 1);
            let part = if line.is_empty() { chunk[..taken].trim_ascii_start() } else { &chunk[..taken] };
            indent += taken - part.len();
            let room = (LINE_BYTES_MAX + BOM.len()).saturating_sub(line.len()).min(part.len());
            line.extend_from_slice(&part[..room]);
            is_long |= !part[room..].trim_ascii().is_empty();
            let ended = end.is_some() || chunk.is_empty();
            input.consume(taken);
            bytes += taken as u64;
            if ended {
                break;
            }
        }
        if bytes == start {
            return Ok(());
        }
        let text = line.trim_ascii_end();
        let text = if number == 1 { text.strip_prefix(BOM).unwrap_or(text) } else { text };
        let is_too_long = is_long || text.len() > LINE_BYTES_MAX;
        if !text.is_empty() {
            each(Line { number, indent, text, is_too_long }, bytes)?;
        }
    }
    Ok(())
}

/// A byte order mark, which a file may begin with.
const BOM: &[u8] = b"\xEF\xBB\xBF";

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], chunk: usize) -> Vec<(u64, Option<usize>)> {
        let mut found = Vec::new();
        let input = std::io::BufReader::with_capacity(chunk, text);
        for_each_line("events", input, |line, _| {
            found.push((line.number, (!line.is_too_long).then_some(line.text.len())));
            Ok(())
        })
        .expect("lines");
        found
    }

    #[test]
    fn lines_are_the_same_however_they_are_read() {
        let text = [
            b"\xEF\xBB\xBF{}\r\n\n  \n".as_slice(),
            &[b' '; 300_000],
            b"{\"a\":1}",
            &[b' '; 100_000],
            b"\n",
            &[b'x'; LINE_BYTES_MAX],
            b"\n",
            &[b'x'; LINE_BYTES_MAX + 1],
            b"\nlast",
        ];
        let text = text.concat();
        let wanted = [(1, Some(2)), (4, Some(7)), (5, Some(LINE_BYTES_MAX)), (6, None), (7, Some(4))];
        for chunk in [1, 7, 4096, 65_536, 65_537, 1 << 20] {
            assert_eq!(lines(&text, chunk), wanted, "in chunks of {chunk}");
        }
    }
}
