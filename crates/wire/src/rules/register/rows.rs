//! A register: a CSV file with a header whose rows stand for tables. Rows of empty cells, as spreadsheets leave them, are
//! passed over.

use std::borrow::Cow;
use std::rc::Rc;

use csv::{ByteRecord, ReaderBuilder};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::table::{Notes, SourceLocation, Table, Text, unknown, written};
use super::quotes;

/// What a register may and must have.
pub(super) struct Shape {
    /// What a row describes, for messages.
    pub(super) thing: &'static str,
    pub(super) columns: &'static [&'static str],
    pub(super) needed: &'static [&'static str],
}

/// Reads each row as a table of texts, an empty cell as left out.
pub(super) fn each_row(notes: &Notes, file: &str, bytes: &[u8], shape: &Shape, mut row: impl FnMut(Table<'_>)) {
    let file: Rc<str> = file.into();
    let place = |line: usize, key: &str| SourceLocation { file: Rc::clone(&file), line, key: written(key) };
    let whole = |line: usize| SourceLocation { file: Rc::clone(&file), line, key: String::new() };
    let bytes = crate::json::without_bom(bytes);
    let torn = quotes::torn(bytes);
    // What a torn cell begins is not read: it may hold the rest of the file.
    let whole_rows = torn.as_ref().map_or(bytes, |torn| &bytes[..torn.row_start]);
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(whole_rows);
    let mut record = ByteRecord::new();
    let mut names: Option<Vec<String>> = None;
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                notes.mistake(&whole(1), format!("is not CSV: {error}"));
                return;
            }
        }
        let line = first_line(bytes, record.position());
        let Some(cells) = texts(&record) else {
            notes.mistake(&whole(line), "is not UTF-8; save the file as UTF-8");
            if names.is_none() {
                return;
            }
            continue;
        };
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let Some(names) = &names else {
            if !header(notes, &cells, shape, |key| place(line, key)) {
                return;
            }
            names = Some(cells.iter().map(|name| (*name).to_owned()).collect());
            continue;
        };
        if cells.len() != names.len() {
            let what = format!("has {} cells, the header {}; write one for each column", cells.len(), names.len());
            notes.mistake(&whole(line), what);
            continue;
        }
        let mut table = DeTable::new();
        for (name, cell) in names.iter().zip(&cells).filter(|(_, cell)| !cell.is_empty()) {
            let value = DeValue::String(Cow::Borrowed(*cell));
            table.insert(Spanned::new(0..0, Cow::Borrowed(name.as_str())), Spanned::new(0..0, value));
        }
        row(Table::row(notes, &Text::of_row(&file, line), &table, shape.thing));
    }
    if let Some(torn) = torn {
        let key = names.as_ref().and_then(|names| names.get(torn.cell));
        let at = key.map_or_else(|| whole(torn.line), |key| place(torn.line, key));
        notes.mistake(&at, torn.to_string());
    } else if names.is_none() {
        notes.mistake(&whole(1), format!("is empty; begin with a header such as {}", shape.columns.join(",")));
    }
}

/// The line where a record begins: the library reports where the blank lines before it begin.
fn first_line(bytes: &[u8], position: Option<&csv::Position>) -> usize {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let (line, byte) = position.map_or((1, 0), |at| (number(at.line()), number(at.byte())));
    let before = bytes.get(byte..).unwrap_or_default();
    line + before.iter().take_while(|b| matches!(b, b'\r' | b'\n')).filter(|&&b| b == b'\n').count()
}

fn texts(record: &ByteRecord) -> Option<Vec<&str>> {
    record.iter().map(|cell| std::str::from_utf8(cell).ok()).collect()
}

/// Notes what is wrong with the names of the columns; whether the rows can be read at all.
fn header(notes: &Notes, names: &[&str], shape: &Shape, place: impl Fn(&str) -> SourceLocation) -> bool {
    for (i, name) in names.iter().enumerate() {
        if !shape.columns.contains(name) {
            notes.mistake(&place(name), unknown(name, shape.columns, "column"));
        } else if names[..i].contains(name) {
            notes.mistake(&place(name), "stands twice in the header");
        }
    }
    let missing: Vec<_> = shape.needed.iter().filter(|needed| !names.contains(needed)).collect();
    for name in &missing {
        notes.mistake(&place(name), format!("is missing in the header; a {} needs it", shape.thing));
    }
    missing.is_empty()
}
