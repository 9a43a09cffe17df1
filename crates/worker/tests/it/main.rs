//! Snapshots on a disk that a test can crash.

mod snapshots;
