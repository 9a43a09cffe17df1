//! The console: results of scans, and a page with the totals.
//!
//! - [`pending_results`]: answers that are in the log and not in the ledger yet, which `held_answers` holds
//! - [`results`]: `GET /v1/results/{id}`
//! - [`page`]: the status page

mod held_answers;
pub mod page;
pub mod pending_results;
pub mod results;
