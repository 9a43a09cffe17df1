//! The three desks. A desk gets all its input as arguments and answers with items for its outbox; no desk reads a clock.
//!
//! - [`shopper`]: reads `scans`: duplicates, touches, orders, members, entries, funnels, counters
//! - [`code`]: reads `draws`: item codes
//! - [`campaign`]: reads `awards`: campaigns with odds

pub mod campaign;
pub mod code;
pub mod shopper;
