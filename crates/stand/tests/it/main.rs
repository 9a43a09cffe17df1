//! The neighbours themselves, with the client that the roles use.

mod client;
mod clusters;
mod relays;
mod secure;
