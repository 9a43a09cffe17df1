//! Commands that end: each is one file, named as the command; `input` reads the files that people give them.

pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod input;
pub(crate) mod log_dump;
pub(crate) mod rules_check;
pub(crate) mod rules_publish;
pub(crate) mod run;
pub(crate) mod snapshots;
pub(crate) mod topics;
