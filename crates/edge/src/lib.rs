//! The door: what comes in is parsed, checked, framed, and made durable before anyone is told so.
//!
//! - [`http`]: connections: limits, timeouts, the graceful end
//! - [`client`]: who sends a request, also through proxies
//! - [`network`]: who is trusted
//! - [`problem`]: errors without a body of their own (RFC 9457)
//! - [`public`]: what every public port has: `/openapi.json`, CORS
//! - [`keys`]: who may do what
//! - [`quota`]: how much
//! - [`clock`]: the stamp of every event
//! - [`intake`]: events of many requests become frames, and frames rounds of the log
//! - [`road`]: where rounds go
//! - [`spool`]: where they are safe while the log is slow or away
//! - [`events`]: `POST /v1/events`
//! - [`browser`]: scans that a phone's browser makes itself
//! - `visitor`: who opens a link without meaning to scan
//! - `reading`: a body becomes events, or reasons why not
//! - [`served`]: the merchants that are served
//! - [`hot`]: shoppers who send far more than their share
//! - `room`: memory of requests under way
//! - [`udp`]: events in datagrams
//! - [`metrics`]: received = accepted + rejected + shed

pub mod browser;
pub mod client;
pub mod clock;
pub mod events;
pub mod hot;
pub mod http;
pub mod intake;
pub mod keys;
pub mod metrics;
pub mod network;
pub mod problem;
pub mod public;
pub mod quota;
mod reading;
pub mod road;
mod room;
pub mod served;
pub mod spool;
pub mod udp;
mod visitor;
