//! The neighbours themselves, tested with the client that the roles use.

mod client;
mod clusters;
mod missing;
mod relays;
mod secure;
