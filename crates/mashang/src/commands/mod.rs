//! Commands that end.
//!
//! - `run`: a file of events through all desks into a ledger
//! - `export`, `explain`: what a ledger holds
//! - `mint`: the codes of a batch; `code`: what a text is
//! - `log`: what a log holds, and proofs of it
//! - `draw`: commits to secrets, and draws recomputed
//! - `rules`: checks and publishes rules, lists versions, prints the notice of draws
//! - `topics`, `snapshots`: the topics and snapshots of a fleet; `archive`: what was archived of a log

pub(crate) mod archive;
pub(crate) mod code;
pub(crate) mod draw;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod log;
pub(crate) mod mint;
pub(crate) mod rejects;
pub(crate) mod rules;
pub(crate) mod run;
pub(crate) mod snapshots;
pub(crate) mod topics;
