//! A table of regions: what a header or the database says, and the region that the rules know. A CSV file with the header `from,region`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::path::{Path, PathBuf};

use csv::{ByteRecord, ReaderBuilder};

use super::{REGION_BYTES_MAX, is_region};

/// Maximum number of rows; more are refused.
const ROWS_MAX: usize = 100_000;
/// Maximum length of the file, bytes: the rows fit, with quotes; a longer one is refused.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Maximum number of mistakes that are shown; further ones are counted.
const SHOWN_MAX: usize = 20;
/// The columns, in their order.
const COLUMNS: [&str; 2] = ["from", "region"];
/// The byte order mark, which spreadsheets put in front.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Every mistake of a table.
#[derive(Debug)]
pub struct RegionMapError {
    path: PathBuf,
    /// Each with its line; line 0 is the file as a whole.
    mistakes: Vec<(u64, String)>,
}

impl std::error::Error for RegionMapError {}

impl fmt::Display for RegionMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        for (number, (line, what)) in self.mistakes.iter().take(SHOWN_MAX).enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            match line {
                0 => write!(f, "{end}--region-map {path}: {what}")?,
                line => write!(f, "{end}--region-map {path}:{line}: {what}")?,
            }
        }
        match self.mistakes.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\n--region-map {path}: {more} more mistakes"),
        }
    }
}

/// The regions of texts; a text is found as it stands, in the same case.
#[derive(Debug)]
pub struct RegionMap(HashMap<Box<str>, Box<str>>);

impl RegionMap {
    /// Reads a table.
    ///
    /// # Errors
    /// It cannot be read, or has mistakes: all of them.
    pub fn open(path: &Path) -> Result<Self, RegionMapError> {
        let wrong = |mistakes| RegionMapError { path: path.to_owned(), mistakes };
        let whole = |what: String| wrong(vec![(0, what)]);
        let meta = std::fs::metadata(path).map_err(|error| whole(unreadable(&error)))?;
        if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
            return Err(whole(format!("is no file of at most {FILE_BYTES_MAX} bytes: give a CSV file: from,region")));
        }
        let bytes = std::fs::read(path).map_err(|error| whole(unreadable(&error)))?;
        read(&bytes).map(Self).map_err(wrong)
    }

    /// The region of a text, if the table has it.
    pub(super) fn region(&self, text: &str) -> Option<&str> {
        self.0.get(text).map(|region| &**region)
    }
}

fn unreadable(error: &std::io::Error) -> String {
    format!("cannot be read: {error}: give a file that this process may read")
}

/// Regions by what they are given for.
type Regions = HashMap<Box<str>, Box<str>>;

/// Reads a table; each mistake with its line.
fn read(bytes: &[u8]) -> Result<Regions, Vec<(u64, String)>> {
    let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut regions = Regions::default();
    let mut lines: HashMap<Box<str>, u64> = HashMap::new();
    let mut mistakes = Vec::new();
    let mut record = ByteRecord::new();
    let (mut has_header, mut line) = (false, 1);
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                mistakes.push((line, format!("is not CSV: {error}: save the table as CSV")));
                break;
            }
        }
        line = first_line(bytes, record.position());
        let cells: Vec<&[u8]> = record.iter().collect();
        if cells.iter().all(|cell| cell.trim_ascii().is_empty()) {
            continue;
        }
        if !has_header {
            if cells != COLUMNS.map(str::as_bytes) {
                mistakes.push((line, "is no header: write from,region".to_owned()));
                break;
            }
            has_header = true;
            continue;
        }
        match row(&cells) {
            Err(what) => mistakes.push((line, what)),
            Ok((from, region)) => match lines.entry(from.into()) {
                Entry::Occupied(first) => {
                    mistakes.push((line, format!("{from} stands in line {} already: remove one", first.get())));
                }
                Entry::Vacant(place) => {
                    place.insert(line);
                    regions.insert(from.into(), region.into());
                }
            },
        }
        if lines.len() > ROWS_MAX {
            mistakes.push((line, format!("is beyond the {ROWS_MAX} rows that a table may have: give fewer")));
            break;
        }
    }
    // The library reads a cell that does not end as the rest of the file.
    if quotes(bytes) % 2 == 1 {
        let what = "has a quote that is not closed: close it, or write a quote within a cell twice";
        mistakes.retain(|(at, _)| *at != line);
        mistakes.push((line, what.to_owned()));
    } else if !has_header && mistakes.is_empty() {
        mistakes.push((1, "is empty: begin with the header from,region".to_owned()));
    }
    if mistakes.is_empty() { Ok(regions) } else { Err(mistakes) }
}

fn quotes(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'"').count()
}

/// The line where a record begins: the library reports where the blank lines before it begin.
fn first_line(bytes: &[u8], position: Option<&csv::Position>) -> u64 {
    let (line, byte) = position.map_or((1, 0), |at| (at.line(), usize::try_from(at.byte()).unwrap_or(usize::MAX)));
    let before = bytes.get(byte..).unwrap_or_default();
    let blank = before.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|&&byte| byte == b'\n').count();
    line + blank as u64
}

/// The two cells of a row.
fn row<'r>(cells: &[&'r [u8]]) -> Result<(&'r str, &'r str), String> {
    let [from, region] = cells else {
        return Err(format!("has {} cells: write two, from and region", cells.len()));
    };
    let text = |column: &str, cell: &'r [u8]| {
        let text = std::str::from_utf8(cell).map_err(|_| format!("{column} is not UTF-8: save the file as UTF-8"))?;
        if text.trim() != text {
            return Err(format!("{column} has blanks at an end: remove them"));
        }
        if !is_region(text) {
            return Err(format!("{column} is no text of 1 to {REGION_BYTES_MAX} bytes without control characters"));
        }
        Ok(text)
    };
    Ok((text(COLUMNS[0], from)?, text(COLUMNS[1], region)?))
}
