//! Tables whose entries expire. Each query compares stored times to decide what is expired; sweeping only frees memory.

pub(crate) mod bucket;
pub(crate) mod changes;
pub(crate) mod debounce;
pub mod dedup_window;
mod part;
pub mod recent;
#[expect(clippy::module_inception, reason = "the table of the tables")]
pub mod table;
pub mod uniform;
pub mod uniques;
