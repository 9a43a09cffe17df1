//! The types of the system. Everything here is a value; nothing does anything but arithmetic.
//!
//! - [`event`], [`code`]: an accepted event, and what its code says
//! - [`rules`], [`rulebook`]: a merchant's rules as written, and one version ready for the desks
//! - [`fact`]: what desks send to each other and to the ledger
//! - [`draw`], [`money`], [`time`]: arithmetic
//! - [`address`], [`ids`]: topics and partitions; keys, and the shards that they fall into
//! - [`text`]: closed sets of words

pub mod address;
pub mod code;
pub mod draw;
pub mod event;
pub mod fact;
pub mod ids;
pub mod money;
pub mod rulebook;
pub mod rules;
pub mod text;
pub mod time;
