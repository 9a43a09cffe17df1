//! The steps that create the tables: a new ledger runs all of them, an older one those that it has not run yet. A released step
//! never changes.
//!
//! Counters and funnels are stored for each facts partition and summed by queries. Times are ms, days and hours count from
//! 1970-01-01, money is in minor units, log ids and hashes are hexadecimal, events are named by their keys. Only a service
//! stores answers. The contents of segments are in the crate's module `segments`. In Postgres every text is ordered bytewise, as in SQLite and in exports.

use crate::store::Dialect;

/// A step from the schema before it to schema `to`.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) to: i64,
    sqlite: &'static str,
    postgres: &'static str,
}

impl Step {
    pub(crate) fn sql(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }
}

/// The schema that has segments, and still the rows of before.
pub(crate) const SEGMENTS: i64 = 7;

pub(crate) const STEPS: [Step; 8] = [
    Step { to: 2, sqlite: include_str!("2.sqlite.sql"), postgres: include_str!("2.postgres.sql") },
    // The history of a code is ordered by its facts' positions in the log. Rows from before this step are ordered by SQLite's row
    // numbers; Postgres has none, but stores those rows in the order in which they were added.
    Step { to: 3, sqlite: include_str!("3.sqlite.sql"), postgres: include_str!("3.postgres.sql") },
    // The merchant and shopper of the earlier entry that a keyless scan repeats: a query for the scan does not know them.
    Step { to: 4, sqlite: include_str!("4.sqlite.sql"), postgres: include_str!("4.postgres.sql") },
    // Counters have 128 bits: `carry` counts the times that `value` passed 10¹⁸.
    Step { to: 5, sqlite: include_str!("5.sqlite.sql"), postgres: include_str!("5.postgres.sql") },
    // What a prize amounts to; the codes in alarm.
    Step { to: 6, sqlite: include_str!("6.sqlite.sql"), postgres: include_str!("6.postgres.sql") },
    // What scans leave behind is in segments, not in rows. Between these two steps the rows are moved.
    Step { to: SEGMENTS, sqlite: include_str!("7.sqlite.sql"), postgres: include_str!("7.postgres.sql") },
    Step { to: 8, sqlite: include_str!("8.sql"), postgres: include_str!("8.sql") },
    // The checksum of the last record of a facts partition, so that a log which lost it and went on is recognised.
    Step { to: 9, sqlite: include_str!("9.sqlite.sql"), postgres: include_str!("9.postgres.sql") },
];
