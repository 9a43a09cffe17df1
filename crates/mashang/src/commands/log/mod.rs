//! `mashang log`: what a log holds, and proofs that it was not changed afterwards (contract section 6).
//!
//! - `dump`: accepted events, or whole records
//! - `days`: the records of a partition by the day to which they belong
//! - `proof`: what `prove` writes and `verify` reads
//! - `roots`, `prove`, `verify`: the roots of days, the proof of an event, and its check

pub(crate) mod days;
pub(crate) mod dump;
mod proof;
pub(crate) mod prove;
pub(crate) mod roots;
pub(crate) mod verify;
