//! Events in datagrams (contract section 10): JSON without an answer, and CoAP that is answered once its events are durable.
//!
//! - [`socket`]: several sockets at one address, many datagrams per system call
//! - [`receiver`]: the thread of a socket: one receive's datagrams become one batch of events
//! - `refusal`: requests that are not answered as events
//! - `responder`: answers, once events are durable or refused
//! - `exchanges`: requests that were received before, and their answers
//! - [`signatures`]: signatures that were received before
//! - `reply`: an answer that is no larger than its request

mod exchanges;
pub mod receiver;
mod refusal;
mod reply;
mod responder;
pub mod signatures;
pub mod socket;
