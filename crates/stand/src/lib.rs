//! Real neighbours for tests and benches, started once per run and ended with it.
//!
//! What is not installed is reported as skipped, unless `MASHANG_NO_SKIP` is set: then it is a failure.

pub mod postgres;
