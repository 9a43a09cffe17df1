//! The door for datagrams (contract section 10): JSON that nobody answers for, and CoAP that is answered once it is durable.
//!
//! - [`socket`]: several sockets at one address, many datagrams at once
//! - [`receiver`]: the thread of a socket: what comes in becomes one parcel a batch
//! - `exchanges`: requests that were there already, and what they were answered
//! - `reply`: an answer that is no larger than its request

mod exchanges;
pub mod receiver;
mod reply;
pub mod socket;
