//! `mashang rules`: what is done with rules, apart from following them.
//!
//! - `check`, `publish`: rules from files
//! - `list`: the versions that were published
//! - `notice`: what must be made public before a draw

pub(crate) mod check;
pub(crate) mod list;
pub(crate) mod notice;
pub(crate) mod publish;
