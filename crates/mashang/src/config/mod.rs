//! Settings as they were given, checked and completed.
//!
//! - `serve`: the settings of the service in one process
//! - `roles`: the settings of a fleet's roles

pub(crate) mod roles;
pub(crate) mod serve;
