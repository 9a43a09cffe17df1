//! The topics of a log: made once, checked at every start, and what their log is.
//!
//! - [`create`]: makes them, or finishes what was interrupted
//! - [`check`]: whether they can keep what is promised
//! - [`origin`]: what log they are of
//!
//! The first record of `rules` says what the log is: its id, its clock, its partitions. It is written before any other topic
//! is made, and every partition begins with a record that names the same log. Once all of them do, `rules` gets its own
//! first record a second time: from then on a topic that is missing or empty was lost, and is never made again. Whoever
//! reads `rules` passes over such records (`Kind::Genesis`), also over one of another log, which lost a race of two creators.

pub mod check;
pub mod create;
pub mod origin;

use domain::frame::{HEADER_BYTES, PART_BYTES_MAX};

use crate::kafka::settings::BATCH_BYTES_MAX;

/// What a topic takes at least: a part of an answer, or several that travel together.
pub const RECORD_BYTES_MIN: u64 = 1024 * 1024;
const _: () = assert!(RECORD_BYTES_MIN > (PART_BYTES_MAX + HEADER_BYTES) as u64 && RECORD_BYTES_MIN > BATCH_BYTES_MAX);
/// How the clients that ask and make are named.
const CLIENT_ID: &str = "mashang-topics";
const LOST: &str = "a topic was lost or recreated: restore it, or delete all of them and begin a new deployment";
