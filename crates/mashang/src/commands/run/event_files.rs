//! Events from a file: parsed chunks are stamped in the order of the file and framed, and refused lines are reported.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result};
use domain::frame::{Body, Kind, PART_BYTES_MAX, decode, seal};
use domain::model::event::Event;
use domain::model::time::{CLOCK_AHEAD_MAX_MS, DAY_MS, Millis};
use wire::batch::LINE_BYTES_MAX;
use wire::event::{FieldError, Reason, Refused};

use super::chunk::{Checked, ParsedChunk};
use crate::process::output::report;

/// Size of a frame, bytes; a frame that has reached it is closed. The larger it is, the fewer counters come out of the desks, for
/// each frame has one for each of its scopes.
const FRAME_BYTES: usize = 448 * 1024;
const _: () = assert!(FRAME_BYTES + LINE_BYTES_MAX <= PART_BYTES_MAX, "a frame is never cut");

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

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use bumpalo::Bump;
    use domain::frame::Frame;
    use expect_test::expect;
    use proptest::prelude::*;
    use wire::event::Merchants;

    use super::*;
    use crate::commands::run::chunk::Chunk;
    use crate::commands::run::lines::Lines;

    /// What a run does with lines that are parsed in chunks of these numbers of lines: frames, counts, refused events.
    fn framed(text: &str, chunks: &[usize]) -> (Vec<Vec<u8>>, Tally, String) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let rejects = Rejects::File(Box::new(file.reopen().expect("a file")));
        let mut framer = EventFramer::new("events".to_owned(), rejects);
        let mut frames = Vec::new();
        let mut send = |frame| {
            frames.push(frame);
            Ok(())
        };
        let merchants = Merchants::new([("acme", "CNY")]).with_dump_lines();
        let mut lines = Lines::new("events", Cursor::new(text));
        let mut sizes = chunks.iter().cycle();
        let mut is_end = false;
        while !is_end {
            let mut chunk = Chunk::new();
            for _ in 0..*sizes.next().expect("a size") {
                let Some(line) = lines.next().expect("a line") else {
                    is_end = true;
                    break;
                };
                if !line.text.is_empty() {
                    chunk.push(line);
                }
            }
            framer.take(&chunk.parse(&merchants, &mut Bump::new()), &mut send).expect("no error");
        }
        framer.flush(&mut send).expect("no error");
        framer.finish().expect("no error");
        (frames, framer.tally, std::fs::read_to_string(file.path()).expect("a file"))
    }

    fn stamps(frames: &[Vec<u8>]) -> Vec<(String, Millis)> {
        let events = frames.iter().flat_map(|record| {
            let events: Vec<_> = Frame::open(record).expect("a frame").items::<Event<'_>>().collect();
            events
        });
        events.map(|event| event.map(|event| (event.id.to_owned(), event.stamp)).expect("an event")).collect()
    }

    const DAY: u32 = 86_400_000;

    /// A visit: its time in days, its `received`, or neither.
    fn line(id: usize, own: Option<(u32, bool)>) -> String {
        let at = |days: u32| 1_700_000_000_000 + i64::from(days) * i64::from(DAY);
        let own = own.map_or_else(String::new, |(days, is_dump)| {
            format!(r#","{}":{}"#, if is_dump { "received" } else { "time" }, at(days))
        });
        format!(r#"{{"id":"e{id}","action":"visit","shopper":"u{id}"{own}}}"#)
    }

    proptest! {
        /// Neither frames nor stamps nor refused lines depend on the chunks; a stamp is the greatest time so far.
        #[test]
        fn chunks_of_any_size_give_the_same(
            times in prop::collection::vec(prop_oneof![
                4 => (0..900_u32, any::<bool>()).prop_map(|own| Some(Some(own))),
                1 => Just(Some(None)),
                1 => Just(None),
            ], 1..60),
            chunks in prop::collection::vec(1..9_usize, 1..5),
        ) {
            let lines: Vec<String> = times.iter().enumerate()
                .map(|(id, own)| own.map_or_else(|| "{\"id\":".to_owned(), |own| line(id, own))).collect();
            let text = lines.join("\n \n");
            let one = framed(&text, &[1]);
            prop_assert_eq!(&framed(&text, &chunks), &one);
            let (mut latest, mut wanted) = (None, Vec::new());
            for (id, own) in times.iter().enumerate().filter_map(|(id, own)| Some((id, (*own)?))) {
                let is_far = |days: u32| latest.is_some_and(|latest| days > latest + 366);
                if own.is_some_and(|(days, is_dump)| !is_dump && is_far(days)) {
                    continue;
                }
                latest = latest.max(own.map(|(days, _)| days));
                if let Some(days) = latest {
                    wanted.push((format!("e{id}"), 1_700_000_000_000 + i64::from(days) * i64::from(DAY)));
                }
            }
            prop_assert_eq!(stamps(&one.0), wanted);
        }
    }

    #[test]
    fn full_frame_is_closed_and_the_next_begins() {
        let lines: Vec<String> = (0..20_000).map(|id| line(id, Some((1, false)))).collect();
        let (frames, tally, _) = framed(&lines.join("\n"), &[1_000]);
        assert_eq!(tally.accepted, 20_000);
        let (last, full) = frames.split_last().expect("frames");
        assert!(!full.is_empty() && last.len() < FRAME_BYTES);
        assert!(full.iter().all(|frame| (FRAME_BYTES..FRAME_BYTES + 1_000).contains(&frame.len())));
        let ids: Vec<String> = stamps(&frames).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, (0..20_000).map(|id| format!("e{id}")).collect::<Vec<_>>());
    }

    #[test]
    fn refused_lines_keep_number_column_index_and_id() {
        let text = [&line(0, Some((0, false))), "", "  [1]", &line(1, Some((400, false))), &line(2, None)].join("\n");
        for chunks in [1, 2, 5] {
            let (_, tally, rejects) = framed(&text, &[chunks]);
            assert_eq!((tally.received, tally.accepted), (4, 2), "in chunks of {chunks}");
            expect![[r#"
                {"column":null,"error":"the event is a list; send a JSON object","field":"","file":"events","id":null,"index":1,"line":3,"reason":"object"}
                {"column":44,"error":"time: is more than 366 days after all events before it; correct it, or give the events between first","field":"time","file":"events","id":"e1","index":2,"line":4,"reason":"range"}
            "#]]
            .assert_eq(&rejects);
        }
    }
}
