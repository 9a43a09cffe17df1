//! The ledger: facts in, tables out.
//!
//! - [`schema`]: the tables, and which files are ledgers
//! - [`answers`]: what a scan's sender is told
//! - [`batch`]: facts added up in memory between two transactions
//! - [`writer`]: one transaction writes rows, counters and positions, or nothing
//! - [`export`]: the tables of contract section 8, sorted, as CSV or NDJSON
//! - [`totals`]: sums over all days
//! - [`history`]: what `explain code` tells

pub mod answers;
pub mod batch;
pub mod export;
pub mod history;
pub mod schema;
pub mod totals;
pub mod writer;
