//! Published rules: where they are stored, how they are published, what may change.
//!
//! - `store`: rules objects under their SHA-256
//! - `files`: rules from files, with their registers and secrets
//! - `publish`: rules into every partition of a log
//! - `follow`: a thread that reads rules as they are published
//! - `diff`: what changes from old rules to new ones, and which changes are refused
//! - `promises`: what must stay while a draw is on
//! - `notice`: what must be made public before a draw, as a page
//! - `local_time`: moments and durations as people read them
//! - `sample`: rules for the tests of these

pub(crate) mod diff;
pub(crate) mod files;
pub(crate) mod follow;
pub(crate) mod local_time;
pub(crate) mod notice;
pub(crate) mod promises;
pub(crate) mod publish;
#[cfg(test)]
mod sample;
pub(crate) mod store;
