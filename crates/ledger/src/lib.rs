//! The ledger: turns facts into tables, in SQLite or in Postgres.
//!
//! - [`url`]: the address of a ledger
//! - [`error`]: why a ledger cannot be used
//! - [`schema`]: recognises, creates and upgrades ledgers
//! - `batch`: sums facts in memory between two transactions
//! - [`writer`]: writes rows, counters and positions in one transaction, or nothing
//! - [`reader`]: a connection for queries
//! - [`answers`]: the answers that senders of scans get
//! - [`export`]: the tables of contract section 8, sorted, as CSV or NDJSON
//! - [`totals`]: sums over all days
//! - [`history`]: the output of `explain code`
//! - `chain`: one facts partition on its way into the ledger
//! - `segments`: what scans leave behind: answers, states of codes, claims, histories
//! - `store`: the operations that the ledger needs of a database, for SQLite and Postgres

pub mod answers;
mod batch;
mod chain;
pub mod error;
pub mod export;
pub mod history;
pub mod reader;
pub mod schema;
mod segments;
mod store;
pub mod totals;
pub mod url;
pub mod writer;
