//! Commands that end.
//!
//! - `run`: a file of events through all desks into a ledger
//! - `export`, `explain`: what a ledger holds
//! - `log_dump`: the accepted events of a log
//! - `rules`: checks and publishes rules, lists versions, prints the notice of draws
//! - `topics`, `snapshots`: the topics and snapshots of a fleet

pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod log_dump;
pub(crate) mod rejects;
pub(crate) mod rules;
pub(crate) mod run;
pub(crate) mod snapshots;
pub(crate) mod topics;
