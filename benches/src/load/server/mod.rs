//! The server as this client sees it: its ports, its ledger, its process.

pub(super) mod admin;
pub(super) mod http;
pub(super) mod ledger;
pub(super) mod process;
