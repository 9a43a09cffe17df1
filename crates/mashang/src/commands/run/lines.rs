//! Lines of a file of events, as they are read: blank ones are skipped, and of one that is too long no more is kept than the limit.

use std::io::BufRead;

use anyhow::Result;
use wire::batch::LINE_BYTES_MAX;

use crate::usage;

/// A byte order mark, which a file may begin with.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A line that is not blank.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'l> {
    /// From 1.
    pub(super) number: u64,
    /// Bytes of space before the text.
    pub(super) indent: usize,
    /// Without the space around it; no more than the limit of one that is too long.
    pub(super) text: &'l [u8],
    pub(super) is_too_long: bool,
}

/// Reads lines one after the other.
pub(super) struct Lines<'n, R> {
    /// The option and its file, for messages.
    name: &'n str,
    input: R,
    line: Vec<u8>,
    /// The number of the last line.
    number: u64,
    /// Bytes read so far.
    bytes: u64,
    is_drained: bool,
}

impl<'n, R: BufRead> Lines<'n, R> {
    pub(super) fn new(name: &'n str, input: R) -> Self {
        Self { name, input, line: Vec::new(), number: 0, bytes: 0, is_drained: false }
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the next line may have to wait for the input.
    pub(super) fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// Reads the next line: `None` at the end, and a line without text if it is blank.
    ///
    /// # Errors
    /// The input cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>> {
        let Self { name, input, line, .. } = self;
        line.clear();
        let (start, mut indent, mut is_long) = (self.bytes, 0, false);
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
            self.is_drained = taken == chunk.len();
            input.consume(taken);
            self.bytes += taken as u64;
            if ended {
                break;
            }
        }
        if self.bytes == start {
            return Ok(None);
        }
        self.number += 1;
        let text = line.trim_ascii_end();
        let text = if self.number == 1 { text.strip_prefix(BOM).unwrap_or(text) } else { text };
        let is_too_long = is_long || text.len() > LINE_BYTES_MAX;
        Ok(Some(Line { number: self.number, indent, text, is_too_long }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], chunk: usize) -> Vec<(u64, Option<usize>)> {
        let mut found = Vec::new();
        let mut lines = Lines::new("events", std::io::BufReader::with_capacity(chunk, text));
        while let Some(line) = lines.next().expect("a line") {
            if !line.text.is_empty() {
                found.push((line.number, (!line.is_too_long).then_some(line.text.len())));
            }
        }
        assert_eq!(lines.bytes(), text.len() as u64);
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
