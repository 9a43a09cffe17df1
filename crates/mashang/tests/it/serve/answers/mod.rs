//! The answers of a running service.
//!
//! - `requests`: bodies, paths and methods, and requests in flight at a stop
//! - `encodings`: CloudEvents and compressed bodies
//! - `results`: results of scans
//! - `keys`: API keys and quotas
//! - `overload`: clients that send too much
//! - `pages`: pages of other origins and other machines

mod encodings;
mod keys;
pub(crate) mod minted;
mod overload;
mod pages;
mod requests;
mod results;
mod strangers;
