//! The edge without the rest of the process: a log that is slow or away, the end of a batcher, and the clients of requests.

mod batcher;
mod client;
mod spool;
