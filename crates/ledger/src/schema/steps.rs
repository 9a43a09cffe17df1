//! The tables, as the steps that made them what they are: a ledger made anew takes all of them, an older one those that it
//! has not taken yet. A step that was released is never changed.
//!
//! Counters and funnels are kept per facts partition and added when read. Times are ms, days and hours count from
//! 1970-01-01, money is minor units, log ids and hashes are hex, events are by their keys. Only a service keeps answers.
//! In Postgres every text is ordered bytewise, as in SQLite and as exports are.

use crate::store::Dialect;

/// What makes a ledger of the schema before it one of schema `to`.
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

pub(crate) const STEPS: [Step; 3] = [
    Step { to: 2, sqlite: include_str!("2.sqlite.sql"), postgres: include_str!("2.postgres.sql") },
    // A code's history is told in the order of its facts, by their places in the log: SQLite's own row numbers, in which
    // the older ones are, Postgres does not have. There rows lie in the order in which they were added.
    Step { to: 3, sqlite: include_str!("3.sqlite.sql"), postgres: include_str!("3.postgres.sql") },
    // Whose earlier entry a keyless scan is told again: whoever asks for it does not know.
    Step { to: 4, sqlite: include_str!("4.sqlite.sql"), postgres: include_str!("4.postgres.sql") },
];
