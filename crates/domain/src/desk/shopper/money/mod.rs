//! Money: `touch`es, the `credit` that they earn, `order`s and `member`s (contract section 5).

pub(super) mod blocks;
pub(super) mod credit;
pub(super) mod member;
pub(super) mod order;
pub(super) mod orders;
mod parts;
pub(super) mod refunds;
pub(super) mod touch;
