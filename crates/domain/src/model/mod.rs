//! The data types of the system. Everything here is a value; the only logic is arithmetic.

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
