//! The server from outside: its ports, its counts, its ledger, its processes.

pub(super) mod admin;
pub(super) mod counts;
pub(super) mod http;
pub(super) mod ledger;
pub(super) mod place;
pub(super) mod process;
