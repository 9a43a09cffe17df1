//! The log over Kafka, which many processes share. No code outside this module uses a client of Kafka (`docs/decisions/0006`).
//!
//! - [`settings`]: where Kafka is, and which of its settings are ours alone
//! - `observer`: a client's log lines and outages
//! - `metadata`: requests for metadata, before a role starts
//! - [`topics`]: creates and checks the topics of a log, and reads the log's identity
//! - [`consumer`]: reads partitions at exact offsets
//! - [`topic_reader`]: reads a topic once from its start to its end
//! - [`appender`]: appends; an acknowledged record is in the log
//! - [`membership`]: which member of a group owns which partitions

pub mod appender;
pub mod consumer;
pub mod membership;
mod metadata;
mod observer;
pub mod settings;
pub mod topic_reader;
pub mod topics;
