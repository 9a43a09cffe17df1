//! Settings: each is declared once and given on the command line, in the environment or in a file.
//!
//! - `groups`: settings that several commands take
//! - `serve`: the service in one process
//! - `roles`: the roles of a fleet
//! - `demo`: the demo
//! - `file`: the file of `--config`
//! - `options`, `address`: the forms of single values

pub(crate) mod address;
pub(crate) mod demo;
pub(crate) mod file;
pub(crate) mod groups;
pub(crate) mod options;
pub(crate) mod roles;
pub(crate) mod serve;
