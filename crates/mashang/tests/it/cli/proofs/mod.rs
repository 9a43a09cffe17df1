//! The commands that prove: draws recomputed, roots of the log, and the same by another implementation.
//!
//! - `draws`, `sealed`: `draw commit`, `draw pick`, `draw verify`
//! - `log`: `log roots`, `log prove`, `log verify`
//! - `kafka`: the same over a fleet's log
//! - `archive`: the same over what was archived
//! - `verifier`: docs/verify/verify.py over the same files

mod archive;
mod draws;
mod kafka;
mod log;
mod sealed;
mod verifier;
