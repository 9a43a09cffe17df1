//! The edge: it parses, checks and frames what comes in, and acknowledges it once it is durable.
//!
//! - [`ingest`]: from a request's bytes to a durable round
//! - [`transport`]: HTTP, UDP and scans by a phone's browser
//! - [`spool`]: where rounds are safe while the log is slow or unavailable
//! - [`metrics`]: received = accepted + rejected + shed

pub mod ingest;
pub mod metrics;
pub mod spool;
pub mod transport;
