//! The topics of a log: made once, checked at every start, and what their log is.
//!
//! - [`create`]: makes them, or finishes what was interrupted
//! - [`check`]: whether they can keep what is promised
//! - [`origin`]: what log they are of
//!
//! The first record of `rules` says what the log is: its id, its clock, its partitions. It is written before any other topic
//! is made, and every partition begins with a record that names the same log. Once all of them do, `rules` gets its own
//! first record a second time: from then on a topic that is missing or empty was lost, and is never made again. Whoever
//! reads `rules` passes over such records (`Kind::Birth`), also over one of another log, which lost a race of two creators.

pub mod check;
pub mod create;
pub mod origin;

/// How the clients that ask and make are named.
const CLIENT_ID: &str = "mashang-topics";
const LOST: &str = "a topic was lost or recreated: restore it, or delete all of them and begin a new deployment";
