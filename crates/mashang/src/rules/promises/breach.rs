//! A broken promise: its key and line in the new file, and what it says.

use std::fmt;

/// The mend of every breach.
pub(super) const MEND: &str = "keep it, or publish with --because TEXT";

/// A promise that the new rules break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    /// The new file, or its register, and a line from 1.
    at: (String, usize),
    /// The key in the new file, such as `campaign[0].prize[1].stock`; of what is removed, the key that lists its like.
    pub(crate) key: String,
    /// What it was, what it is, and the mend.
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = &self.at;
        write!(f, "{file}:{line}: {}: {}", self.key, self.what)
    }
}

/// The file of the new rules.
#[derive(Clone, Copy)]
pub(crate) struct NewFile<'a> {
    pub(crate) name: &'a str,
    /// File and line of a key, if the key is there.
    pub(crate) place: &'a dyn Fn(&str) -> Option<(String, usize)>,
    /// The key of a range by its place among all, which are sorted: `range[2]`, or file and line of a register.
    pub(crate) range_key: &'a dyn Fn(usize) -> Option<String>,
}

impl NewFile<'_> {
    /// Where a key stands, else what it is part of, else the file's first line.
    fn at(&self, key: &str) -> (String, usize) {
        let mut part = key;
        loop {
            if let Some(place) = (self.place)(part) {
                return place;
            }
            let Some((whole, _)) = part.rsplit_once('.') else { return (self.name.to_owned(), 1) };
            part = whole;
        }
    }
}

/// The breaches so far, in the order of the old rules.
pub(super) struct Breaches<'a> {
    pub(super) list: Vec<Breach>,
    pub(super) file: NewFile<'a>,
}

impl Breaches<'_> {
    pub(super) fn add(&mut self, key: String, what: String) {
        self.list.push(Breach { at: self.file.at(&key), key, what });
    }

    /// A breach in the state of a range, by its place among all. A row of a register has file and line, and a column as its key.
    pub(super) fn range_state(&mut self, index: usize, what: String) {
        let range = (self.file.range_key)(index).unwrap_or_else(|| "range".to_owned());
        let place = format!("{range}.state");
        let key = if range.contains(':') { "state".to_owned() } else { place.clone() };
        self.list.push(Breach { at: self.file.at(&place), key, what });
    }

    pub(super) fn changed(&mut self, key: String, was: &str, is: &str) {
        self.add(key, format!("was {was}, is {is}: {MEND}"));
    }

    /// A bound that must not sink; a bound where there was none is lower.
    pub(super) fn bound<T: PartialOrd + Copy + fmt::Display>(&mut self, key: String, was: Option<T>, is: Option<T>) {
        if is.is_some_and(|is| was.is_none_or(|was| is < was)) {
            self.changed(key, &shown(was), &shown(is));
        }
    }

    /// A value that must not sink or go.
    pub(super) fn value<T: PartialOrd + Copy + fmt::Display>(&mut self, key: String, was: Option<T>, is: Option<T>) {
        if was.is_some_and(|was| is.is_none_or(|is| is < was)) {
            self.changed(key, &shown(was), &shown(is));
        }
    }
}

fn shown<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}
