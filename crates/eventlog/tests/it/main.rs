//! The log under fire: crashes that tear, full disks, damage, many threads.

mod crashes;
mod damage;
mod found;
mod kafka;
mod spool;
mod threads;
mod world;
