//! Connections of HTTP/1.1: how many, how slow they may be, how they end, and who gets their requests.
//!
//! A connection stays on the thread that accepted it. There is one such thread per processor, each with a listener of its own
//! at the same address, so that nothing of a request crosses from one thread to another but what it makes durable.
//!
//! - [`listen`]: listeners at one address, of which the kernel gives each connection one
//! - [`port`]: what all listeners of an address share
//! - `serve`: the loop of one of them
//! - `connection`: one connection
//! - `proxy`: what a proxy says before anything else
//! - [`tls`]: certificates, and their change
//! - [`service`]: which request goes where

mod connection;
pub mod listen;
pub mod port;
mod proxy;
mod serve;
pub mod service;
pub mod tls;
