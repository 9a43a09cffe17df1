//! Where the keys of rules stand, so that a mistake which is found after reading still names its file and line.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::table::{Text, written};

/// Lists whose tables are not followed: they may be long, and no check after reading asks for their keys.
const NOT_FOLLOWED: [&str; 3] = ["store", "guide", "code"];

/// The line of each key of a rules file, and the origin of each range.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Places {
    file: String,
    /// By the dotted key.
    lines: BTreeMap<String, usize>,
    ranges: RangeOrigins,
}

/// Where the ranges are written, in the order of the rules.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct RangeOrigins {
    /// The register of ranges, as the rules name it.
    pub(super) file: Option<String>,
    pub(super) origins: Vec<RangeOrigin>,
}

/// Where one range is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RangeOrigin {
    /// The table of this index.
    Table(usize),
    /// The row of the register in this line.
    Row(usize),
}

impl Places {
    pub(super) fn new(file: &str, text: &Text, root: &DeTable<'_>, ranges: RangeOrigins) -> Self {
        let mut lines = BTreeMap::new();
        follow_table(text, "", root, &mut lines);
        Self { file: file.to_owned(), lines, ranges }
    }

    /// The file and line of a key; of one that is left out, those of its table.
    pub(super) fn find(&self, key: &str) -> Option<(String, usize)> {
        if let Some(found) = self.row(key) {
            return Some(found);
        }
        let mut key = key;
        loop {
            if let Some(&line) = self.lines.get(key) {
                return Some((self.file.clone(), line));
            }
            if key.ends_with(']') {
                // There is no such item of a list.
                return None;
            }
            match key.rsplit_once('.') {
                Some((table, _)) => key = table,
                None => return Some((self.file.clone(), 1)),
            }
        }
    }

    /// The file and line of `FILE:LINE` or `FILE:LINE.COLUMN`, FILE being the register of ranges.
    fn row(&self, key: &str) -> Option<(String, usize)> {
        let file = self.ranges.file.as_ref()?;
        let place = key.strip_prefix(file.as_str())?.strip_prefix(':')?;
        let line = place.split_once('.').map_or(place, |(line, _)| line);
        Some((file.clone(), line.parse().ok()?))
    }

    /// The key of the range of this index: of its table, or its row.
    pub(super) fn range_key(&self, index: usize) -> Option<String> {
        Some(match *self.ranges.origins.get(index)? {
            RangeOrigin::Table(index) => format!("range[{index}]"),
            RangeOrigin::Row(line) => format!("{}:{line}", self.ranges.file.as_deref().unwrap_or_default()),
        })
    }
}

fn follow_table(text: &Text, path: &str, table: &DeTable<'_>, lines: &mut BTreeMap<String, usize>) {
    for (name, value) in table {
        let key = if path.is_empty() { written(name.get_ref()) } else { format!("{path}.{}", written(name.get_ref())) };
        let is_followed = !path.is_empty() || !NOT_FOLLOWED.contains(&key.as_str());
        if is_followed {
            follow(text, &key, value.get_ref(), lines);
        }
        lines.insert(key, text.line(name.span().start));
    }
}

fn follow(text: &Text, key: &str, value: &DeValue<'_>, lines: &mut BTreeMap<String, usize>) {
    match value {
        DeValue::Table(table) => follow_table(text, key, table, lines),
        DeValue::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                let key = format!("{key}[{i}]");
                follow(text, &key, item.get_ref(), lines);
                lines.insert(key, text.line(item.span().start));
            }
        }
        _ => {}
    }
}
