//! What the ledger knows of one code: `explain code`.

use std::io::Write;

use domain::model::time::time_text;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::schema::LedgerError;

/// Writes a code's history: what it is, each scan in order, each draw. `Ok(false)` if no merchant has seen it.
///
/// # Errors
/// The database or the output refuses.
pub fn explain_code(
    db: &Connection,
    code: &str,
    shopper: Option<&str>,
    to: &mut dyn Write,
) -> Result<bool, LedgerError> {
    let mut merchants = db.prepare(
        "SELECT merchant FROM codes WHERE code = ?1 UNION SELECT merchant FROM seen WHERE code = ?1
         UNION SELECT merchant FROM awards WHERE code = ?1 ORDER BY 1",
    )?;
    let merchants = merchants.query_map([code], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    for merchant in &merchants {
        explain(db, merchant, code, shopper, to)?;
    }
    Ok(!merchants.is_empty())
}

fn explain(
    db: &Connection,
    merchant: &str,
    code: &str,
    shopper: Option<&str>,
    to: &mut dyn Write,
) -> Result<(), LedgerError> {
    let time = |row: &Row<'_>, at: usize| row.get::<_, i64>(at).map(time_text);
    let text = |row: &Row<'_>, at: usize| row.get::<_, Option<String>>(at);
    let item = db
        .query_row(
            "SELECT kind, scans, first_time, first_region FROM codes WHERE merchant = ?1 AND code = ?2",
            [merchant, code],
            |row| Ok((text(row, 0)?, row.get::<_, i64>(1)?, time(row, 2)?, text(row, 3)?)),
        )
        .optional()?;
    match item {
        Some((kind, scans, first, region)) => {
            let at = region.map_or_else(|| "without a region".to_owned(), |r| format!("in {r}"));
            let times = if scans == 1 { "time" } else { "times" };
            writeln!(
                to,
                "{merchant}: code {code}, {}, scanned {scans} {times}, first at {first} {at}",
                kind.unwrap_or_default()
            )?;
        }
        None => writeln!(
            to,
            "{merchant}: code {code}, not a one-item code: its scans are in the counters, its entries here"
        )?,
    }
    let mut seen = db.prepare(
        "SELECT time, shopper, region, outcome, campaign, entry FROM seen WHERE merchant = ?1 AND code = ?2
         AND (?3 IS NULL OR shopper = ?3) ORDER BY rowid",
    )?;
    let mut rows = seen.query((merchant, code, shopper))?;
    while let Some(row) = rows.next()? {
        let region = text(row, 2)?.map_or_else(String::new, |r| format!(" in {r}"));
        let outcome = text(row, 3)?.unwrap_or_default();
        let entry = match (text(row, 4)?, row.get::<_, Option<i64>>(5)?) {
            (Some(campaign), Some(n)) => format!(", entry {n} of {campaign}"),
            _ => String::new(),
        };
        writeln!(to, "  {}  scan by {}{region}: {outcome}{entry}", time(row, 0)?, text(row, 1)?.unwrap_or_default())?;
    }
    let mut awards = db.prepare(
        "SELECT time, shopper, campaign, entry, drawn, COALESCE(awarded, 'thanks'), (SELECT substr(sha256, 1, 12) FROM rules r
         WHERE r.version = a.version) FROM awards a WHERE merchant = ?1 AND code = ?2 AND (?3 IS NULL OR shopper = ?3) ORDER BY rowid",
    )?;
    let mut rows = awards.query((merchant, code, shopper))?;
    while let Some(row) = rows.next()? {
        let [by, campaign, drawn, awarded, rules] =
            [1, 2, 4, 5, 6].map(|at| text(row, at).ok().flatten().unwrap_or_default());
        let entry: i64 = row.get(3)?;
        writeln!(
            to,
            "  {}  draw of {by}, entry {entry} of {campaign}, rules {rules}: drawn {drawn}, awarded {awarded}",
            time(row, 0)?
        )?;
    }
    Ok(())
}
