//! The console: what became of a scan, and how everything stands.
//!
//! - [`recent`]: answers that are in the log and not in the ledger yet
//! - [`results`]: `GET /v1/results/{id}`
//! - [`page`]: the status page

pub mod page;
pub mod pending_results;
pub mod results;
