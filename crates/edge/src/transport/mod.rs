//! How events reach the edge.
//!
//! - [`http`]: which request goes to which handler
//! - [`browser`]: scans that a phone's browser makes itself
//! - [`udp`]: events in datagrams: JSON and CoAP

pub mod browser;
pub mod http;
pub mod udp;
