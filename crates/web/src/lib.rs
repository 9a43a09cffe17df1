//! HTTP as the edge and the console both need it. It knows no endpoint of either.
//!
//! - [`server`]: listeners and connections: limits, timeouts, TLS, the graceful end
//! - [`client_address`]: the client of a request, also behind proxies
//! - `host`: which host a request is for, and which page sends it
//! - [`networks`]: sets of trusted networks
//! - [`auth`]: API keys and their scopes
//! - [`quota`]: events per second of a key or a merchant
//! - [`merchants`]: the merchants that are served, and their rules
//! - [`problem`]: errors without a body of their own (RFC 9457)
//! - [`scan_id`]: random ids of scans by a browser
//! - [`public`]: what every public port has: `/openapi.json`, CORS

pub mod auth;
pub mod client_address;
mod host;
pub mod merchants;
pub mod networks;
pub mod private_file;
pub mod problem;
pub mod public;
pub mod quota;
pub mod scan_id;
pub mod server;
