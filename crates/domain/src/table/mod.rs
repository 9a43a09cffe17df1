//! Tables whose entries expire. A lookup decides from stored time what has expired; sweeping only frees memory.
//!
//! - [`dedup_window`]: the keys of events that were delivered
//! - [`uniques`]: distinct shoppers per day and scope
//! - [`uniform`]: maps from keys that are uniform already

pub mod dedup_window;
pub mod uniform;
pub mod uniques;
