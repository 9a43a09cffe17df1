//! Exports: the tables of contract section 8, rows sorted as text by all columns, as CSV or NDJSON.

use std::io::Write;

use domain::model::time::{DAY_MS, Day, TIME_MAX, day_text, time_text};

use crate::error::LedgerError;
use crate::reader::Ledger;
use crate::segments::{SegmentKind, read, values};
use crate::store::sums::{SUM_COLUMNS, sum, total};
use crate::store::{Dialect, Row, Store, reading};

/// A table that can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Postings of commission.
    Postings,
    /// Orders and their amounts.
    Orders,
    /// Members and who is credited with them.
    Members,
    /// Draws and prizes.
    Awards,
    /// Counters by scope, day and metric.
    Counters,
    /// Steps of funnels by cohort.
    Funnels,
    /// Scans by code.
    Codes,
}

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, with a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Csv, Self::Ndjson];

    /// The name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Time,
    Day,
    /// The sum of a counter, in the three columns of [`sum`]: the last one of a table, because it is not sorted by. A row with the
    /// sum 0 is left out.
    Sum,
}

use Kind::{Day as Date, Number, Sum, Text, Time};

impl Table {
    /// All tables.
    pub const ALL: [Self; 7] =
        [Self::Postings, Self::Orders, Self::Members, Self::Awards, Self::Counters, Self::Funnels, Self::Codes];

    /// The name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postings => "postings",
            Self::Orders => "orders",
            Self::Members => "members",
            Self::Awards => "awards",
            Self::Counters => "counters",
            Self::Funnels => "funnels",
            Self::Codes => "codes",
        }
    }

    /// The columns, and the SELECT that returns them in this order.
    fn query(self) -> (&'static [(&'static str, Kind)], &'static str) {
        match self {
            Self::Postings => (
                &[
                    ("merchant", Text),
                    ("order", Text),
                    ("shopper", Text),
                    ("payee_kind", Text),
                    ("payee", Text),
                    ("amount", Number),
                    ("currency", Text),
                    ("approve_at", Time),
                    ("cause", Text),
                ],
                "SELECT merchant, number, shopper, payee_kind, payee, amount, (SELECT currency FROM rules r
                 WHERE r.merchant = p.merchant ORDER BY version DESC LIMIT 1), approve_at, cause FROM postings p",
            ),
            Self::Orders => (
                &[
                    ("merchant", Text),
                    ("order", Text),
                    ("shopper", Text),
                    ("time", Time),
                    ("base", Number),
                    ("refunded", Number),
                    ("currency", Text),
                    ("kind", Text),
                    ("guide", Text),
                    ("store", Text),
                ],
                "SELECT merchant, number, shopper, time, base, refunded, (SELECT currency FROM rules r
                 WHERE r.merchant = o.merchant ORDER BY version DESC LIMIT 1), kind, guide, store FROM orders o",
            ),
            Self::Members => (
                &[("merchant", Text), ("shopper", Text), ("time", Time), ("guide", Text), ("store", Text)],
                "SELECT merchant, shopper, time, guide, store FROM members",
            ),
            Self::Awards => (
                &[
                    ("merchant", Text),
                    ("campaign", Text),
                    ("rules", Text),
                    ("code", Text),
                    ("shopper", Text),
                    ("entry", Number),
                    ("time", Time),
                    ("drawn", Text),
                    ("awarded", Text),
                    ("prize_kind", Text),
                    ("amount", Number),
                    ("state", Text),
                ],
                "SELECT merchant, campaign, (SELECT substr(sha256, 1, 12) FROM rules r WHERE r.version = a.version), code,
                 shopper, entry, time, drawn, COALESCE(awarded, 'thanks'), prize_kind, amount, CASE
                 WHEN awarded IS NULL THEN 'thanks' WHEN unlock IS NULL THEN 'granted'
                 WHEN EXISTS (SELECT 1 FROM unlocking u WHERE u.merchant = a.merchant AND u.shopper = a.shopper
                   AND u.action = a.unlock AND u.time >= a.time AND (a.unlock_until IS NULL OR u.time < a.unlock_until))
                   THEN 'unlocked'
                 WHEN unlock_until <= (SELECT MAX(received) FROM progress) THEN 'expired' ELSE 'locked' END FROM awards a",
            ),
            Self::Counters => (
                &[("merchant", Text), ("scope", Text), ("key", Text), ("day", Date), ("metric", Text), ("value", Sum)],
                concat!(
                    "SELECT merchant, scope, key, day, metric, ",
                    sum!(),
                    " FROM counters GROUP BY merchant, scope, key, day, metric"
                ),
            ),
            Self::Funnels => (
                &[
                    ("merchant", Text),
                    ("funnel", Text),
                    ("step", Number),
                    ("action", Text),
                    ("channel", Text),
                    ("day", Date),
                    ("shoppers", Number),
                ],
                "SELECT merchant, funnel, step, action, NULLIF(channel, ''), day, CAST(SUM(shoppers) AS BIGINT) FROM funnels
                 GROUP BY merchant, funnel, step, action, channel, day",
            ),
            Self::Codes => (
                &[
                    ("merchant", Text),
                    ("code", Text),
                    ("kind", Text),
                    ("scans", Number),
                    ("first_time", Time),
                    ("first_region", Text),
                ],
                // Its rows are in segments.
                "",
            ),
        }
    }
}

impl Ledger {
    /// Writes one consistent state of a table.
    ///
    /// # Errors
    /// The database or the output fails.
    pub fn export(&mut self, table: Table, format: Format, to: &mut dyn Write) -> Result<(), LedgerError> {
        let (columns, _) = table.query();
        let mut out = Output::new(format, columns, to)?;
        let mut cells = vec![String::new(); columns.len()];
        let mut empty = vec![false; columns.len()];
        reading(self.store.as_mut(), |store| {
            if table == Table::Codes {
                return write_codes(store, &mut out);
            }
            let sql = sorted(table, store.dialect());
            store.walk(&sql, &[], &mut |row| {
                for (i, (_, kind)) in columns.iter().enumerate() {
                    cells[i].clear();
                    empty[i] = !write_cell(&mut cells[i], *kind, row, i)?;
                    if *kind == Sum && empty[i] {
                        return Ok(());
                    }
                }
                out.row(columns, &cells, &empty)
            })
        })?;
        out.finish()
    }
}

/// Writes the rows of the table `codes`: the order of keys is their order.
fn write_codes(store: &mut dyn Store, out: &mut Output<'_>) -> Result<(), LedgerError> {
    let (columns, _) = Table::Codes.query();
    let mut all = read::in_order(store, SegmentKind::Codes)?;
    let mut done = Ok(());
    let mut write = |key: &[u8], value: &[u8]| {
        let ([merchant, code], _) = values::texts(SegmentKind::Codes, key)?;
        let (scans, state) = values::code(value)?;
        let region = state.first_region.unwrap_or_default();
        let time = time_text(state.first_time.min(TIME_MAX));
        let cells = [merchant, code, state.kind.as_str(), &scans.to_string(), &time, region].map(ToOwned::to_owned);
        out.row(columns, &cells, &[false, false, false, false, false, state.first_region.is_none()])
    };
    while done.is_ok() && all.next(store, &mut |(key, value)| done = write(key, value))? {}
    done
}

/// A table's SELECT with its order: by all columns, compared bytewise as text.
fn sorted(table: Table, dialect: Dialect) -> String {
    let (columns, select) = table.query();
    // Postgres orders text by its locale, unless the query says otherwise.
    let bytewise = match dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => " COLLATE \"C\"",
    };
    // Times have the same order as numbers and as text; those past the year 9999 are written as its end. So have days, except those
    // of years of five digits: as text they come before all other years (from 1969 on). Amounts must be compared as the text that is written.
    let order = (1..).zip(columns).filter(|(_, (_, kind))| *kind != Sum).map(|(i, (_, kind))| match kind {
        Time => format!("CASE WHEN c{i} > {TIME_MAX} THEN {TIME_MAX} ELSE c{i} END"),
        Date => format!("c{i} <= {}, c{i}", TIME_MAX / DAY_MS),
        Text | Number | Sum => format!("COALESCE(CAST(c{i} AS TEXT), ''){bytewise}"),
    });
    let order = order.collect::<Vec<_>>().join(", ");
    let width = columns.iter().map(|(_, kind)| if *kind == Sum { SUM_COLUMNS } else { 1 }).sum();
    let names = (1..=width).map(|i| format!("c{i}")).collect::<Vec<_>>().join(", ");
    format!("WITH t({names}) AS ({select}) SELECT * FROM t ORDER BY {order}")
}

/// Writes a cell; returns `false` if it is empty, which a sum of 0 is.
fn write_cell(cell: &mut String, kind: Kind, row: &dyn Row, at: usize) -> Result<bool, LedgerError> {
    if let Text = kind {
        let text = row.text(at)?;
        cell.push_str(text.unwrap_or_default());
        return Ok(text.is_some());
    }
    if let Sum = kind {
        let sum = total(row, at)?;
        cell.push_str(&sum.to_string());
        return Ok(sum != 0);
    }
    let Some(int) = row.int(at)? else { return Ok(false) };
    match kind {
        Time => cell.push_str(&time_text(int.min(TIME_MAX))),
        Date => cell.push_str(&day_text(Day::try_from(int).unwrap_or(Day::MAX))),
        Number | Text | Sum => cell.push_str(&int.to_string()),
    }
    Ok(true)
}

/// The I/O error inside a CSV error, so that callers recognise a closed pipe.
fn io_error(error: csv::Error) -> std::io::Error {
    let text = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        _ => std::io::Error::other(text),
    }
}

enum Output<'a> {
    /// RFC 4180, with a header.
    Csv(Box<csv::Writer<&'a mut dyn Write>>),
    /// One JSON object a line.
    Ndjson(&'a mut dyn Write),
}

impl<'a> Output<'a> {
    fn new(format: Format, columns: &[(&str, Kind)], to: &'a mut dyn Write) -> Result<Self, LedgerError> {
        Ok(match format {
            Format::Ndjson => Self::Ndjson(to),
            Format::Csv => {
                let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(to);
                csv.write_record(columns.iter().map(|(name, _)| name)).map_err(io_error)?;
                Self::Csv(Box::new(csv))
            }
        })
    }

    fn row(&mut self, columns: &[(&str, Kind)], cells: &[String], empty: &[bool]) -> Result<(), LedgerError> {
        match self {
            Self::Csv(csv) => csv.write_record(cells).map_err(io_error)?,
            Self::Ndjson(to) => {
                for (i, ((name, kind), cell)) in columns.iter().zip(cells).enumerate() {
                    write!(to, "{}\"{name}\":", if i == 0 { '{' } else { ',' })?;
                    match kind {
                        _ if empty[i] => write!(to, "null")?,
                        Number | Sum => write!(to, "{cell}")?,
                        _ => serde_json::to_writer(&mut *to, cell).map_err(std::io::Error::from)?,
                    }
                }
                writeln!(to, "}}")?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), LedgerError> {
        match self {
            Self::Csv(mut csv) => csv.flush()?,
            Self::Ndjson(to) => to.flush()?,
        }
        Ok(())
    }
}
