//! The parts of a process that do not depend on its role.
//!
//! - `sockets`: addresses and sockets
//! - `http`: the HTTP port and the admin port, from their binding to their end
//! - `health`: `/livez`, `/readyz` and `/metrics`
//! - `signals`: SIGTERM and SIGINT
//! - `logging`: log messages on standard error
//! - `thread`: threads whose failure ends the process
//! - `data_dir`: a directory that one process at a time writes

pub(crate) mod data_dir;
pub(crate) mod health;
pub(crate) mod http;
pub(crate) mod logging;
pub(crate) mod signals;
pub(crate) mod sockets;
pub(crate) mod thread;
