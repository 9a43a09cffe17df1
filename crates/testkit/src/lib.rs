//! Real neighbours for tests and benches, started once in a run and ended with it.
//!
//! A test whose neighbour is not installed is skipped with a message, or fails if `MASHANG_NO_SKIP` is set.
//!
//! - [`kafka`]: clusters of one or three brokers that tests can kill, pause and restart
//! - [`relay`]: a relay between clients and a broker that injects planned faults into Produce requests
//! - [`process`]: child processes that end with the test binary, in any case
//! - [`postgres`]: a server with a database for every test
//! - [`bucket`]: an S3 server that tests can kill, slow down and let refuse
//! - [`disk`]: small disks that tests can fill
//! - [`ports`]: ports that no other test takes meanwhile

pub mod bucket;
pub mod disk;
pub mod kafka;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod relay;
