//! Finds quoted cells that do not end as RFC 4180 requires. The CSV library accepts them silently, and would read later rows as part
//! of the cell.

use std::fmt;

/// A quoted cell that does not end as RFC 4180 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    /// Where the row begins that holds it, from byte 0.
    pub(super) row_start: usize,
    /// The line of its opening quote, from 1.
    pub(super) line: usize,
    /// The column of its opening quote, in characters from 1.
    pub(super) column: usize,
    /// Its place in the row, from 0.
    pub(super) cell: usize,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// The file ends within the quotes.
    CutOff,
    /// Something stands between the closing quote and the next comma or line.
    GoesOn,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.column;
        match self.how {
            How::CutOff => {
                write!(f, "the quoted cell at column {column} does not end; send the whole file, or close the quote")
            }
            How::GoesOn => {
                write!(f, "the quoted cell at column {column} goes on behind its quote; write a quote within it twice")
            }
        }
    }
}

/// The first torn cell of a file.
pub(super) fn torn(bytes: &[u8]) -> Option<Torn> {
    let (mut row_start, mut line, mut line_start, mut cell) = (0, 1, 0, 0);
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'"' {
            let column = 1 + chars(&bytes[line_start..at]);
            let opened = line;
            let torn = |how| Some(Torn { row_start, line: opened, column, cell, how });
            let inside = &bytes[at + 1..];
            let Some(length) = quoted_length(inside) else { return torn(How::CutOff) };
            let text = &inside[..length];
            if let Some(last) = memchr::memrchr(b'\n', text) {
                line += memchr::memchr_iter(b'\n', text).count();
                line_start = at + 1 + last + 1;
            }
            at += 1 + length + 1;
            if !matches!(bytes.get(at), None | Some(b',' | b'\r' | b'\n')) {
                return torn(How::GoesOn);
            }
        }
        // The rest of the cell; a quote within a cell that does not begin with one is a character like others.
        let length = memchr::memchr3(b',', b'\r', b'\n', &bytes[at..]).unwrap_or(bytes.len() - at);
        at += length;
        match bytes.get(at) {
            Some(b',') => cell += 1,
            Some(&end) => {
                cell = 0;
                row_start = at + 1;
                if end == b'\n' {
                    line += 1;
                    line_start = at + 1;
                }
            }
            None => {}
        }
        at += 1;
    }
    None
}

/// How many bytes stand before the closing quote; none if there is none. Two quotes are one of the text.
fn quoted_length(inside: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr(b'"', &inside[at..])?;
        if inside.get(at + 1) != Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// Number of characters that begin in these bytes; an estimate where the bytes are no UTF-8.
fn chars(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte & 0xC0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(text: &str) -> Option<(usize, usize, usize, usize)> {
        torn(text.as_bytes()).map(|torn| (torn.row_start, torn.line, torn.column, torn.cell))
    }

    #[test]
    fn torn_cells_have_line_column_and_cell() {
        assert_eq!(place("a,b\n1,\"x\"\n"), None);
        assert_eq!(place("a,b\n1,\"x\"\"\n\"\n2,\"\""), None);
        assert_eq!(place("a,b\n1,x\"y\n"), None);
        assert_eq!(place("a,b\r\n\u{7801}1,\"x"), Some((5, 2, 4, 1)));
        assert_eq!(place("a,b\n\"x\ny\",\"z\n1,2\n"), Some((4, 3, 4, 1)));
        assert_eq!(place("a\n\"x\"y\n"), Some((2, 2, 1, 0)));
        assert_eq!(place("\""), Some((0, 1, 1, 0)));
    }

    proptest! {
        /// What is written as CSV is never torn, and cut off within a quoted cell always.
        #[test]
        fn written_rows_are_whole(rows in prop::collection::vec(prop::array::uniform3("[a\",\r\n\u{7801}]{0,4}"), 1..5)) {
            let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).expect("memory");
            }
            let text = writer.into_inner().expect("memory");
            prop_assert_eq!(torn(&text), None);
            let cut = &text[..text.len() - 2];
            prop_assert!(torn(cut).is_some(), "{:?}", String::from_utf8_lossy(cut));
        }
    }
}
