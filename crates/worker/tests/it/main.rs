//! Tasks and lanes, and snapshots on a disk that a test can crash.

mod acks;
mod again;
mod queues;
mod set_aside;
mod snapshots;
