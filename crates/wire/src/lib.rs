//! The border: bytes from outside become events and rules, or a complete list of what is wrong with them.
//!
//! Nothing here does I/O, reads a clock, uses random numbers or logs; what a rules file names (registers, secrets) is asked
//! of the caller. Everything that parses is fuzzed (`fuzz/`).
//!
//! - [`batch`]: bodies and files are cut into events: one object, an array, NDJSON
//! - [`coap`]: messages of CoAP
//! - [`datagram`]: what is JSON among datagrams
//! - [`event`]: one JSON object becomes an event, borrowed from the input
//! - [`code`]: what the text of a code says (GS1 Digital Link, GS1 element strings, what scanners add)
//! - `hex`: hashes and secrets as hex digits
//! - [`keys`]: the file of API keys
//! - [`compression`]: compressed bodies
//! - [`rules`]: TOML and CSV become a merchant's rules and their published object

pub mod batch;
pub mod coap;
pub mod code;
pub mod compression;
pub mod datagram;
pub mod event;
mod hex;
mod json;
pub mod keys;
pub mod rules;
