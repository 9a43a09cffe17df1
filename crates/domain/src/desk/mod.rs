//! The three desks. A desk gets all its input as arguments and answers with items in an outbox; it reads no clock.

pub mod campaign;
pub mod code;
pub mod shopper;
