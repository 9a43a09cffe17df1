//! The door: what comes in is parsed, checked, framed, and made durable before anyone is told so.
//!
//! - [`http`]: connections: limits, timeouts, the graceful end
//! - [`problem`]: errors without a body of their own (RFC 9457)
//! - [`keys`]: who may do what
//! - [`clock`]: the stamp of every event
//! - [`intake`]: events of many requests become frames, and frames rounds of the log
//! - [`events`]: `POST /v1/events`
//! - `reading`: a body becomes events, or reasons why not
//! - [`served`]: the merchants that are served
//! - `room`: memory of requests under way
//! - [`udp`]: events in datagrams
//! - [`metrics`]: received = accepted + rejected + shed

pub mod clock;
pub mod events;
pub mod http;
pub mod intake;
pub mod keys;
pub mod metrics;
pub mod problem;
mod reading;
mod room;
pub mod served;
pub mod udp;
