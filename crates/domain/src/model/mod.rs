//! The data types of the system. Everything here is a value; the only logic is arithmetic.

pub mod address;
pub mod code;
pub mod event;
pub mod fact;
pub mod ids;
pub mod money;
pub mod rules;
pub mod text;
pub mod time;
pub mod token;
