//! Reads the ledger's file, and checks that its counters hold every accepted event exactly once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};

/// Maximum wait for the ledger's lock, which the server holds while it writes; after it, reading fails.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// The sums over all days in the merchant's scope, by metric.
#[derive(Debug, Default)]
pub(crate) struct Sums(BTreeMap<String, i64>);

/// What a run must add to the sums.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Owed {
    pub(crate) scans: u64,
    pub(crate) visits: u64,
    pub(crate) orders: u64,
    /// Duplicates that were sent on purpose.
    pub(crate) duplicates: u64,
    /// Events of retries, whose first request may have arrived too.
    pub(crate) resent: u64,
}

/// What is known about the outcomes of the sent events.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    /// The outcome of each event.
    Each(Owed),
    /// Only the number of accepted events.
    Sum(u64),
}

impl Sums {
    /// # Errors
    /// The file cannot be read or is no ledger.
    pub(crate) fn read(file: &Path, merchant: &str) -> Result<Self> {
        let name =
            || format!("--ledger {}: cannot be read as a ledger; name the server's ledger.sqlite", file.display());
        read(file, merchant).with_context(name)
    }

    fn of(&self, metrics: &[&str]) -> i128 {
        metrics.iter().map(|metric| i128::from(self.0.get(*metric).copied().unwrap_or(0))).sum()
    }
}

fn read(file: &Path, merchant: &str) -> rusqlite::Result<Sums> {
    const SELECT: &str =
        "SELECT metric, SUM(value) FROM counters WHERE merchant = ?1 AND scope = 'merchant' GROUP BY metric";
    let db = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY_MAX)?;
    let mut select = db.prepare(SELECT)?;
    let rows = select.query_map([merchant], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect::<rusqlite::Result<_>>().map(Sums)
}

/// The differences between the ledger and the accepted events; empty if there are none.
pub(crate) fn differences(before: &Sums, after: &Sums, known: &Known) -> Vec<String> {
    let added = |metrics: &[&str]| after.of(metrics) - before.of(metrics);
    let owed = match known {
        Known::Each(owed) => owed,
        Known::Sum(accepted) => {
            let all = added(&["scans", "repeats", "forged", "visits", "orders", "duplicates"]);
            let wrong = format!("{accepted} events accepted, {all} in the ledger, duplicates among them");
            return if all == i128::from(*accepted) { Vec::new() } else { vec![wrong] };
        }
    };
    let mut found = Vec::new();
    for (metrics, expected) in
        [(&["scans", "repeats", "forged"][..], owed.scans), (&["visits"], owed.visits), (&["orders"], owed.orders)]
    {
        let added = added(metrics);
        if added != i128::from(expected) {
            let by = i128::from(expected) - added;
            let what = if by > 0 { format!("{by} lost") } else { format!("{} too many", -by) };
            found.push(format!("{}: {expected} accepted, {added} in the ledger: {what}", metrics.join(" + ")));
        }
    }
    let (least, most) = (i128::from(owed.duplicates), i128::from(owed.duplicates) + i128::from(owed.resent));
    let duplicates = added(&["duplicates"]);
    if !(least..=most).contains(&duplicates) {
        found.push(format!(
            "duplicates: {least} sent on purpose and {} resent, {duplicates} in the ledger: should be from {least} to {most}",
            owed.resent
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWED: Owed = Owed { scans: 100, visits: 10, orders: 5, duplicates: 7, resent: 2 };

    fn sums(rows: &[(&str, i64)]) -> Sums {
        Sums(rows.iter().map(|(metric, value)| ((*metric).to_owned(), *value)).collect())
    }

    #[test]
    fn each_difference_is_reported() {
        let before = sums(&[("scans", 1_000), ("orders", 1)]);
        let right = [("scans", 1_090), ("repeats", 9), ("forged", 1), ("visits", 10), ("orders", 6), ("duplicates", 8)];
        assert_eq!(differences(&before, &sums(&right), &Known::Each(OWED)), [""; 0]);
        assert_eq!(differences(&before, &sums(&right), &Known::Sum(123)), [""; 0]);
        assert_eq!(differences(&before, &sums(&right), &Known::Sum(122)).len(), 1);
        for (metric, value, part) in [
            ("scans", 1_089, "1 lost"),
            ("repeats", 10, "1 too many"),
            ("visits", 0, "visits: 10 accepted, 0 in the ledger: 10 lost"),
            ("orders", 7, "1 too many"),
            ("duplicates", 6, "should be from 7 to 9"),
            ("duplicates", 10, "should be from 7 to 9"),
        ] {
            let mut wrong = right;
            wrong.iter_mut().filter(|row| row.0 == metric).for_each(|row| row.1 = value);
            let found = differences(&before, &sums(&wrong), &Known::Each(OWED));
            assert_eq!(found.len(), 1, "{metric} {value}: {found:?}");
            assert!(found[0].contains(part), "{found:?}");
        }
    }

    #[test]
    fn sums_cover_days_and_partitions_of_one_merchant() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ledger.sqlite");
        assert!(Sums::read(&file, "acme").is_err_and(|error| error.to_string().contains("--ledger")));
        let db = Connection::open(&file).expect("a database");
        db.execute_batch(
            "CREATE TABLE counters(merchant TEXT, scope TEXT, key TEXT, day INTEGER, metric TEXT, facts INTEGER,
               value INTEGER NOT NULL, PRIMARY KEY(merchant, scope, key, day, metric, facts)) WITHOUT ROWID, STRICT;
             INSERT INTO counters VALUES ('acme', 'merchant', '*', 1, 'scans', 0, 3), ('acme', 'merchant', '*', 1, 'scans', 1, 4),
               ('acme', 'merchant', '*', 2, 'scans', 0, 5), ('acme', 'store', 's', 1, 'scans', 0, 100),
               ('other', 'merchant', '*', 1, 'scans', 0, 1000);",
        )
        .expect("rows");
        assert_eq!(Sums::read(&file, "acme").expect("sums").of(&["scans"]), 12);
    }
}
