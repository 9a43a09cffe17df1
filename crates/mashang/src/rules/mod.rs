//! Published rules: where they are stored, how they are published, what may change.
//!
//! - `store`: rules objects under their SHA-256
//! - `object_store`: the store of a fleet
//! - `publish`: rules into every partition of a log
//! - `follow`: a thread that reads rules as they are published
//! - `diff`: what changes from old rules to new ones, and which changes are refused

pub(crate) mod diff;
pub(crate) mod follow;
pub(crate) mod object_store;
pub(crate) mod publish;
pub(crate) mod store;
