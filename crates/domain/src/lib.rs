//! The pure core of Mashang: what an event is, what rules say, what each desk does with a frame.
//!
//! Nothing here does I/O, reads a clock, uses random numbers or logs; the same input gives the same bytes. A test of the
//! `mashang` crate (`architecture`) checks it, for the source and for the dependencies.
//!
//! - [`model`]: time, ids, addresses of partitions, events, codes, money, rules, draws, facts
//! - [`frame`]: the codec, one log record in and out
//! - [`protocol`]: the partition protocol as data: which frame may be applied, how an answer is tagged, how rules are published
//! - [`table`]: the tables whose entries expire (delivery duplicates, unique shoppers)
//! - [`desk`]: the shopper, code and campaign desk: (state, frame) → (state, frames)

pub mod desk;
pub mod frame;
pub mod model;
pub mod protocol;
pub mod table;
