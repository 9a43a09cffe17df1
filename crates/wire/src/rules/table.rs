//! Tables are read key by key; what is wrong is noted with its place, and reading goes on.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::rc::Rc;

use domain::model::time::Millis;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Mistake;
use super::values::{shown, time};

/// Where something stands.
#[derive(Clone, Debug)]
pub(super) struct SourceLocation {
    pub(super) file: Rc<str>,
    pub(super) line: usize,
    pub(super) key: String,
}

/// Everything noted so far.
#[derive(Debug)]
pub(super) struct Notes {
    mistakes: RefCell<Vec<Mistake>>,
    warnings: RefCell<Vec<Mistake>>,
    /// Whether the text is not valid TOML. Then missing keys and unknown ids are not reported.
    is_torn: bool,
}

impl Notes {
    pub(super) fn new(is_torn: bool) -> Self {
        Self { mistakes: RefCell::default(), warnings: RefCell::default(), is_torn }
    }

    pub(super) fn mistake(&self, at: &SourceLocation, message: impl Into<String>) {
        self.mistakes.borrow_mut().push(note(at, message.into()));
    }

    /// Notes a missing key or an unknown id, unless the text is not valid TOML.
    pub(super) fn lack(&self, at: &SourceLocation, message: impl Into<String>) {
        if !self.is_torn {
            self.mistake(at, message);
        }
    }

    pub(super) fn warning(&self, at: &SourceLocation, message: impl Into<String>) {
        self.warnings.borrow_mut().push(note(at, message.into()));
    }

    pub(super) fn mistake_lines(&self) -> Vec<usize> {
        self.mistakes.borrow().iter().map(|m| m.line).collect()
    }

    pub(super) fn into_lists(self) -> (Vec<Mistake>, Vec<Mistake>) {
        (self.mistakes.into_inner(), self.warnings.into_inner())
    }
}

fn note(at: &SourceLocation, message: String) -> Mistake {
    Mistake { file: at.file.to_string(), line: at.line, key: at.key.clone(), message }
}

/// A file by name, and the line of each of its bytes.
pub(super) struct Text {
    file: Rc<str>,
    lines: Lines,
}

enum Lines {
    /// Where each line of a TOML text ends.
    Ends(Vec<usize>),
    /// The one line of a row of a register.
    Row(usize),
}

impl Text {
    pub(super) fn of_toml(file: &str, text: &str) -> Self {
        Self { file: file.into(), lines: Lines::Ends(memchr::memchr_iter(b'\n', text.as_bytes()).collect()) }
    }

    pub(super) fn of_row(file: &Rc<str>, line: usize) -> Self {
        Self { file: Rc::clone(file), lines: Lines::Row(line) }
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, byte: usize) -> usize {
        match &self.lines {
            Lines::Ends(ends) => ends.partition_point(|&end| end < byte) + 1,
            Lines::Row(line) => *line,
        }
    }

    pub(super) fn place(&self, byte: usize, key: String) -> SourceLocation {
        SourceLocation { file: Rc::clone(&self.file), line: self.line(byte), key }
    }
}

/// A table that is being read. Each key that is asked for becomes a known one; [`Table::end`] refuses the others.
pub(super) struct Table<'t> {
    pub(super) notes: &'t Notes,
    text: &'t Text,
    cells: &'t DeTable<'t>,
    /// What it describes, for messages: "store".
    thing: &'static str,
    at: SourceLocation,
    known: Vec<&'static str>,
}

impl<'t> Table<'t> {
    pub(super) fn root(notes: &'t Notes, text: &'t Text, cells: &'t DeTable<'t>) -> Self {
        Self { notes, text, cells, thing: "rules file", at: text.place(0, String::new()), known: Vec::new() }
    }

    /// A row of a register, as a table of texts.
    pub(super) fn row(notes: &'t Notes, text: &'t Text, cells: &'t DeTable<'t>, thing: &'static str) -> Self {
        Self { thing, ..Self::root(notes, text, cells) }
    }

    /// Where the table begins.
    pub(super) fn at(&self) -> &SourceLocation {
        &self.at
    }

    /// Where a key stands, or the table if it is left out.
    pub(super) fn place(&self, key: &str) -> SourceLocation {
        let name = written(key);
        let path = if self.at.key.is_empty() { name } else { format!("{}.{name}", self.at.key) };
        match self.cells.get_key_value(key) {
            Some((name, _)) => self.text.place(name.span().start, path),
            None => SourceLocation { key: path, ..self.at.clone() },
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.cells.contains_key(key)
    }

    /// Whether it is a row of a register, where all values are texts.
    pub(super) fn is_row(&self) -> bool {
        matches!(self.text.lines, Lines::Row(_))
    }

    /// The text of a key, if it has one, before the key is read.
    pub(super) fn peek(&self, key: &str) -> Option<&str> {
        self.cells.get(key)?.get_ref().as_str()
    }

    fn cell(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.known.push(key);
        self.cells.get(key)
    }

    /// A value that may be left out; also none if it is wrong, which is noted.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.cell(key)?;
        read(value.get_ref()).map_err(|message| self.mistake(key, message)).ok()
    }

    /// A value that may not be left out.
    pub(super) fn need<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        self.require(key);
        self.get(key, read)
    }

    /// Notes a key that is left out.
    pub(super) fn require(&self, key: &'static str) {
        if !self.has(key) {
            self.notes.lack(&self.place(key), format!("is missing; a {} needs it", self.thing));
        }
    }

    /// `from` and `to`, the first before the second; either may be left out.
    pub(super) fn span(&mut self) -> (Option<Millis>, Option<Millis>) {
        let (from, to) = (self.get("from", time), self.get("to", time));
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            self.mistake("to", "is not after `from`; the interval holds no moment");
        }
        (from, to)
    }

    /// A list that may be left out, with a range of lengths; items with mistakes are noted and left out.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        count: RangeInclusive<usize>,
        read: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let value = self.cell(key)?.get_ref();
        let DeValue::Array(array) = value else {
            self.mistake(key, format!("is {}; write a list, in []", shown(value)));
            return None;
        };
        if !count.contains(&array.len()) {
            self.mistake(key, format!("has {} items; write {} to {}", array.len(), count.start(), count.end()));
        }
        let path = self.place(key).key;
        let mut items = Vec::with_capacity(array.len());
        for (i, item) in array.iter().enumerate() {
            match read(item.get_ref()) {
                Ok(item) => items.push(item),
                Err(message) => {
                    self.notes.mistake(&self.text.place(item.span().start, format!("{path}[{i}]")), message);
                }
            }
        }
        Some(items)
    }

    /// A table with keys of the writer's own; what is wrong in it is noted and left out.
    pub(super) fn map<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<Vec<(String, T, SourceLocation)>> {
        let value = self.cell(key)?.get_ref();
        let DeValue::Table(table) = value else {
            self.mistake(key, format!("is {}; write a table, in {{}}", shown(value)));
            return None;
        };
        let path = self.place(key).key;
        let mut items = Vec::with_capacity(table.len());
        for (name, item) in table {
            let at = self.text.place(name.span().start, format!("{path}.{}", written(name.get_ref())));
            match read(item.get_ref()) {
                Ok(item) => items.push((name.get_ref().to_string(), item, at)),
                Err(message) => self.notes.mistake(&at, message),
            }
        }
        Some(items)
    }

    /// A table that may be left out.
    pub(super) fn table(&mut self, key: &'static str, thing: &'static str) -> Option<Self> {
        let value = self.cell(key)?;
        let DeValue::Table(cells) = value.get_ref() else {
            self.mistake(key, format!("is {}; write [{}]", shown(value.get_ref()), self.place(key).key));
            return None;
        };
        Some(self.inner(cells, self.place(key), thing))
    }

    /// All tables of a name, none if there are none.
    pub(super) fn tables(&mut self, key: &'static str, thing: &'static str) -> Vec<Self> {
        let Some(value) = self.cell(key) else { return Vec::new() };
        let path = self.place(key).key;
        let DeValue::Array(array) = value.get_ref() else {
            self.mistake(key, format!("is {}; write [[{key}]]", shown(value.get_ref())));
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(array.len());
        for (i, item) in array.iter().enumerate() {
            let at = self.text.place(item.span().start, format!("{path}[{i}]"));
            match item.get_ref() {
                DeValue::Table(cells) => tables.push(self.inner(cells, at, thing)),
                other => self.notes.mistake(&at, format!("is {}; write [[{key}]]", shown(other))),
            }
        }
        tables
    }

    fn inner(&self, cells: &'t DeTable<'t>, at: SourceLocation, thing: &'static str) -> Self {
        Self { notes: self.notes, text: self.text, cells, thing, at, known: Vec::new() }
    }

    pub(super) fn mistake(&self, key: &str, message: impl Into<String>) {
        self.notes.mistake(&self.place(key), message);
    }

    /// Notes the keys that were not asked for.
    pub(super) fn end(self) {
        for (name, _) in self.cells {
            let name: &str = name.get_ref();
            if !self.known.contains(&name) {
                self.notes.lack(&self.place(name), unknown(name, &self.known, "key"));
            }
        }
    }
}

/// What to say of a name that is none of the known ones.
pub(super) fn unknown(name: &str, known: &[&str], what: &str) -> String {
    match nearest(name, known) {
        Some(near) => format!("is no known {what}; did you mean {near}?"),
        None => format!("is no known {what}; known are {}", known.join(", ")),
    }
}

/// A key as TOML writes it: in quotes if it must.
pub(super) fn written(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if is_bare { name.to_owned() } else { crate::json::quoted(name) }
}

/// The known name that takes the fewest letters to change into, if these are few.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    const NAME_BYTES_MAX: usize = 64;
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let near = known.iter().map(|known| (distance(name, known), *known)).min()?;
    (near.0 <= 1 + name.len() / 3).then_some(near.1)
}

/// How many letters must be put in, taken out or changed to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
