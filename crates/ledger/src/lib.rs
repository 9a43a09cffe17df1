//! The ledger: facts in, tables out, in SQLite or in Postgres.
//!
//! - [`url`]: where a ledger is
//! - [`error`]: why it cannot be used
//! - [`schema`]: which databases are ledgers, and how they become one
//! - [`batch`]: facts added up in memory between two transactions
//! - [`writer`]: one transaction writes rows, counters and positions, or nothing
//! - [`reader`]: a ledger to ask
//! - [`answers`]: what a scan's sender is told
//! - [`export`]: the tables of contract section 8, sorted, as CSV or NDJSON
//! - [`totals`]: sums over all days
//! - [`history`]: what `explain code` tells
//! - `chain`: one facts partition on its way into the ledger
//! - `store`: the little that is asked of a database, and the two that answer

pub mod answers;
pub mod batch;
mod chain;
pub mod error;
pub mod export;
pub mod history;
pub mod reader;
pub mod schema;
mod store;
pub mod totals;
pub mod url;
pub mod writer;
