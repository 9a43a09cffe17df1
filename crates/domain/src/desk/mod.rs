//! The three desks. Each is told everything and answers with items for its outbox; none knows the time of day.

pub mod campaign;
pub mod code;
pub mod shopper;
