//! A sample brand and its traffic, for `mashang demo`: nothing of it is in the service itself.
//!
//! - [`brand`]: stores, guides and codes, and the rules files that list them
//! - `cities`: their regions
//! - `journey`: what shoppers do one after the other
//! - `event`: the same as events
//! - [`traffic`]: at which moments events occur
//! - [`client`]: sends events to `serve`
//! - [`table`]: the table on the terminal

pub mod brand;
mod cities;
pub mod client;
mod event;
mod journey;
pub mod table;
pub mod traffic;
