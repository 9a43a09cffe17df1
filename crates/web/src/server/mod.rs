//! Connections of HTTP/1.1: how many, how slow they may be, how they end, and which handler gets their requests.
//!
//! A connection stays on the thread that accepted it. There is one such thread per processor, each with its own listener at the
//! same address, so that nothing of a request goes from one thread to another except what it makes durable.
//!
//! - [`listen`]: listeners at one address, of which the kernel gives each connection one
//! - [`port`]: what all listeners of an address share
//! - [`handler`]: what answers the requests of a port
//! - `connection`: one connection
//! - `head_timer`: how long a connection may be idle, and how long a head may take
//! - `proxy`: the header of the PROXY protocol
//! - `serve`: the loop of one listener
//! - [`tls`]: certificates, and their change
//! - [`metrics`]: connections and why they ended

mod connection;
pub mod handler;
mod head_timer;
pub mod listen;
pub mod metrics;
pub mod port;
mod proxy;
mod serve;
pub mod tls;
