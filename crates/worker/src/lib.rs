//! The worker: desks on threads.
//!
//! - [`snapshot`]: states of stages in a directory, each with a manifest that is published last
//! - [`station`]: a stage with its place in the log, what it has sent, and when a snapshot of it may be published
//! - [`any`]: a station of whichever desk
//! - [`lane`]: a thread that works for some stations

pub mod any;
pub mod lane;
pub mod snapshot;
pub mod station;
