//! The worker: desks on threads.
//!
//! - [`snapshot`]: states of stages in a directory, each with a manifest that is published last
//! - [`station`]: a stage with its place in the log, what it has sent, and when a snapshot of it may be published
//! - [`any`]: a station of whichever desk
//! - [`books`]: the rules that desks may be asked to work under
//! - [`works`]: what all lanes of a process share, and how far their stations are
//! - `seat`: a station at work in a lane
//! - [`lane`]: a thread that works for some stations
//! - [`crew`]: lanes whose partitions come and go, begun again when they end

pub mod any;
pub mod books;
pub mod crew;
pub mod lane;
mod seat;
pub mod snapshot;
pub mod station;
pub mod works;
