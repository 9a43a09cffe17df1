//! The topics of a log: created once, checked at every start.
//!
//! - [`create`]: creates them, or finishes an interrupted creation
//! - [`check`]: checks whether they can keep the guarantees
//! - [`origin`]: reads which log they belong to
//!
//! The first record of `rules` holds the log's identity: its id, its clock, its partitions. It is written before any other topic
//! is created, and every partition begins with a record that names the same log. Once all of them do, the first record of
//! `rules` is appended to it a second time. From then on a topic that is missing or empty was lost, and is never created again.
//! Readers of `rules` ignore such records (`Kind::Genesis`), also those of another log, whose creator lost a race.

pub mod check;
pub mod create;
pub mod origin;

use domain::frame::{HEADER_BYTES, PART_BYTES_MAX};

use crate::kafka::settings::BATCH_BYTES_MAX;

/// Minimum size of a record that a topic must accept, bytes: a part of an answer, or a batch of several.
pub const RECORD_BYTES_MIN: u64 = 1024 * 1024;
const _: () = assert!(RECORD_BYTES_MIN > (PART_BYTES_MAX + HEADER_BYTES) as u64 && RECORD_BYTES_MIN > BATCH_BYTES_MAX);
/// Client id of the clients that check and create topics.
const CLIENT_ID: &str = "mashang-topics";
const LOST: &str = "a topic was lost or recreated: restore it, or delete all of them and begin a new deployment";
