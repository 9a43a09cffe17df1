//! The console: results of scans, and a page with the totals.
//!
//! - [`pending_results`]: answers that are in the log and not in the ledger yet
//! - [`results`]: `GET /v1/results/{id}`
//! - [`page`]: the status page

pub mod page;
pub mod pending_results;
pub mod results;
