//! Published rules: where they are stored, how they are published, what may change.
//!
//! - `store`: rules objects under their SHA-256
//! - `files`: rules from files, with their registers and secrets
//! - `publish`: rules into every partition of a log
//! - `follow`: a thread that reads rules as they are published
//! - `diff`: what changes from old rules to new ones, and which changes are refused

pub(crate) mod diff;
pub(crate) mod files;
pub(crate) mod follow;
pub(crate) mod publish;
pub(crate) mod store;
