//! The log that is shared: Kafka. Nothing outside this module knows of it (`docs/decisions/0006`).
//!
//! - [`settings`]: where Kafka is, and which of its settings are ours alone
//! - `watch`: what a client says beside its answers: log lines, outages
//! - `probe`: questions that are asked before a role starts
//! - [`topics`]: the topics of a log: made, checked, and what their log is
//! - [`feed`]: reads partitions at exact offsets
//! - [`archive`]: a topic, read once from its start to its end
//! - [`appender`]: appends; what is acknowledged is in the log
//! - [`membership`]: who of a group owns which partitions

pub mod appender;
pub mod archive;
pub mod consumer;
pub mod membership;
mod metadata;
mod observer;
pub mod settings;
pub mod topics;
