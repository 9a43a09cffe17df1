//! Chunks of lines: a chunk is parsed by itself, on any thread, into events that lack only what depends on earlier chunks.

use bumpalo::Bump;
use domain::frame::encode_into;
use domain::model::time::Millis;
use wire::batch::LINE_BYTES_MAX;
use wire::event::place::byte_of;
use wire::event::{FieldError, Merchants, Reason, Refused, read};

use super::lines::Line;

/// Size of the text at which a chunk is closed, bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// Lines that are not blank, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    text: Vec<u8>,
    lines: Vec<Span>,
    /// Bytes of the file up to the end of the chunk.
    pub(super) bytes: u64,
}

/// Where a line is in the text of its chunk.
#[derive(Clone, Copy, Debug)]
struct Span {
    number: u64,
    indent: usize,
    end: usize,
    is_too_long: bool,
}

/// What became of a line.
#[derive(Debug)]
pub(super) enum Checked {
    /// It is an event.
    Event {
        /// Where it ends in the encoded events.
        end: usize,
        /// The stamp with which it was encoded: right if no earlier chunk has a later one.
        encoded: Millis,
        /// What it says of its stamp; `None` if nothing.
        own: Option<Millis>,
        /// Whether a log dump says it.
        is_of_dump: bool,
        unknown_fields: u32,
    },
    Refused(Box<Refused>),
}

/// A chunk whose lines are checked.
#[derive(Debug)]
pub(super) struct ParsedChunk {
    chunk: Chunk,
    /// By line.
    pub(super) checked: Vec<Checked>,
    /// The events, encoded one after the other.
    pub(super) events: Vec<u8>,
}

impl Chunk {
    /// An empty chunk.
    pub(super) fn new() -> Self {
        Self { text: Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8), ..Self::default() }
    }

    /// Adds a line that is not blank.
    pub(super) fn push(&mut self, line: Line<'_>) {
        let Line { number, indent, text, is_too_long } = line;
        self.text.extend_from_slice(text);
        self.lines.push(Span { number, indent, end: self.text.len(), is_too_long });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.text.len() >= CHUNK_BYTES || self.lines.len() >= CHUNK_BYTES / 16
    }

    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut start = 0;
        self.lines.iter().map(move |&Span { number, indent, end, is_too_long }| {
            let text = &self.text[start..end];
            start = end;
            Line { number, indent, text, is_too_long }
        })
    }

    /// Parses every line.
    pub(super) fn parse(self, merchants: &Merchants, arena: &mut Bump) -> ParsedChunk {
        let mut checked = Vec::with_capacity(self.lines.len());
        let mut events = Vec::with_capacity(self.text.len());
        let mut latest = None;
        for line in self.lines() {
            if line.is_too_long {
                checked.push(Checked::Refused(Box::new(too_long())));
                continue;
            }
            arena.reset();
            checked.push(match read(line.text, merchants, arena) {
                Ok(accepted) => {
                    let mut event = accepted.event;
                    let own = accepted.received.or(event.time);
                    latest = own.max(latest);
                    event.stamp = latest.unwrap_or(0);
                    encode_into(&mut events, &event);
                    Checked::Event {
                        end: events.len(),
                        encoded: event.stamp,
                        own,
                        is_of_dump: accepted.received.is_some(),
                        unknown_fields: accepted.unknown_fields,
                    }
                }
                Err(refused) => Checked::Refused(Box::new(refused)),
            });
        }
        ParsedChunk { chunk: self, checked, events }
    }
}

impl ParsedChunk {
    /// Bytes of the file up to the end of the chunk.
    pub(super) fn bytes(&self) -> u64 {
        self.chunk.bytes
    }

    /// The line at an index of the chunk: its number, and the column at which a field stands, in characters from 1; none if it is
    /// not there.
    pub(super) fn place(&self, index: usize, field: &str) -> (u64, Option<usize>) {
        let Span { number, indent, end, .. } = self.chunk.lines[index];
        let start = index.checked_sub(1).map_or(0, |before| self.chunk.lines[before].end);
        let text = &self.chunk.text[start..end];
        let column = byte_of(text, field).map(|at| {
            let before = &text[..at];
            indent + before.iter().filter(|&&byte| byte & 0xC0 != 0x80).count() + 1
        });
        (number, column)
    }
}

fn too_long() -> Refused {
    let error = format!("the line is longer than {LINE_BYTES_MAX} bytes: send one event a line");
    Refused { id: None, errors: vec![FieldError { field: String::new(), error, reason: Reason::Size }] }
}
