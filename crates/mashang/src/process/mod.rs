//! What a process needs beside its role.
//!
//! - `sockets`: addresses and sockets
//! - `health`: `/livez`, `/readyz` and `/metrics`

pub(crate) mod health;
pub(crate) mod sockets;
