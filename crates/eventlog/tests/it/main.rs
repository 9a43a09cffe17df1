//! The log under faults: crashes with torn writes, full disks, damage, many threads, and a real Kafka; its archive.

mod archive;
mod crashes;
mod damage;
mod found;
mod kafka;
mod spool;
mod threads;
mod world;
