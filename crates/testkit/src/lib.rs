//! Real neighbours for tests and benches, started once per run and ended with it.
//!
//! What is not installed is reported as skipped, unless `MASHANG_NO_SKIP` is set: then it is a failure.
//!
//! - [`kafka`]: clusters of one or three brokers; kill, pause and restart them
//! - [`relay`]: between clients and a broker, hurts Produce requests as planned
//! - [`process`]: children that end with the test binary, whatever ends it
//! - [`postgres`]: a server with a database for every test
//! - [`disk`]: disks that can be full
//! - [`ports`]: ports that nobody else takes meanwhile

pub mod disk;
pub mod kafka;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod relay;
