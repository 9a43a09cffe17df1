//! The pure core of Mashang: what an event is, what rules say, what each desk does with a frame.
//!
//! Nothing here does I/O, reads a clock, rolls dice or logs; the same input gives the same bytes. A test of the
//! `mashang` crate (`house`) enforces it, for the source and for the dependencies.
//!
//! - [`model`]: time, ids, events, codes, money, rules, draws, facts
//! - [`behaviour`]: what may differ between builds, and what a build knows
//! - [`birth`]: the first record of a partition, which says what log it is of
//! - [`publish`]: how rules come into every partition, in one order
//! - [`reject`]: a record of `scans` that is no frame, set aside
//! - [`frame`]: the codec, one log record in and out
//! - [`flow`]: the partition protocol as data: which frame may be applied, how an answer is tagged
//! - [`table`]: the tables that forget (delivery duplicates, unique shoppers)
//! - [`desk`]: the shopper, code and campaign desk: (state, frame) → (state, frames)

pub mod behaviour;
pub mod birth;
pub mod desk;
pub mod flow;
pub mod frame;
pub mod model;
pub mod publish;
pub mod reject;
pub mod table;
