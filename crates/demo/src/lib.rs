//! A sample brand and its traffic, for `mashang demo`. The service itself does not use this crate.
//!
//! - [`brand`]: stores, guides and codes, and the rules files that list them; begin reading here
//! - `cities`: the regions of the stores
//! - `journey`: the steps of a shopper, from a scan to an order
//! - `event`: one step as an event and its JSON line
//! - [`traffic`]: the time of each event
//! - [`client`]: sends events to `serve` and asks for results
//! - [`table`]: the table on the terminal

pub mod brand;
mod cities;
pub mod client;
mod event;
mod journey;
pub mod table;
pub mod traffic;
