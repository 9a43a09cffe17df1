//! The parts of a process that do not depend on its role.
//!
//! - `sockets`: addresses and sockets
//! - `health`: `/livez`, `/readyz` and `/metrics`
//! - `signals`: SIGTERM and SIGINT, and the time limit of a stop
//! - `logging`: log messages on standard error
//! - `thread`: threads whose failure ends the process
//! - `input`: reads files that a user names, packed ones too
//! - `output`: lines on standard output and standard error
//! - `data_dir`: a directory that one process at a time writes

pub(crate) mod data_dir;
pub(crate) mod health;
pub(crate) mod input;
pub(crate) mod logging;
pub(crate) mod output;
pub(crate) mod signals;
pub(crate) mod sockets;
pub(crate) mod thread;
