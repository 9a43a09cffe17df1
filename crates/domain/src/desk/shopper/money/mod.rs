//! Money: touches, the credit that they earn, orders and members (contract section 5).

pub(super) mod credit;
pub(super) mod member;
pub(super) mod order;
pub(super) mod touch;
