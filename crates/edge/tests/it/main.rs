//! The edge without the rest of the process: a log that is slow or away, the end of a batcher, the clients of requests, and
//! the links of minted codes.

mod batcher;
mod client;
mod links;
mod spool;
