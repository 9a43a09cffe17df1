//! Tables whose entries expire. Each query compares stored times to decide what is expired; sweeping only frees memory.

pub mod dedup_window;
pub mod uniform;
pub mod uniques;
