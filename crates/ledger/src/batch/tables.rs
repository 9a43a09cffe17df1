//! The tables that facts are written to: their columns, and how an existing row changes.

use crate::store::Insert;
use crate::store::Type::{Int, Text};

pub(super) const RULES: Insert = Insert {
    table: "rules",
    columns: &[("version", Int), ("merchant", Text), ("sha256", Text), ("currency", Text)],
    conflict: "ON CONFLICT(version) DO UPDATE SET merchant = excluded.merchant, sha256 = excluded.sha256,
      currency = excluded.currency",
};
pub(super) const COUNTERS: Insert = Insert {
    table: "counters",
    columns: &[
        ("merchant", Text),
        ("scope", Text),
        ("key", Text),
        ("day", Int),
        ("metric", Text),
        ("facts", Int),
        ("carry", Int),
        ("value", Int),
    ],
    // Both sides of `value` are below 10¹⁸, so their sum has 64 bits.
    conflict: "ON CONFLICT(merchant, scope, key, day, metric, facts) DO UPDATE SET
      carry = counters.carry + excluded.carry + (counters.value + excluded.value) / 1000000000000000000,
      value = (counters.value + excluded.value) % 1000000000000000000",
};
pub(super) const FUNNELS: Insert = Insert {
    table: "funnels",
    columns: &[
        ("merchant", Text),
        ("funnel", Text),
        ("step", Int),
        ("action", Text),
        ("channel", Text),
        ("day", Int),
        ("facts", Int),
        ("shoppers", Int),
    ],
    conflict: "ON CONFLICT(merchant, funnel, step, action, channel, day, facts)
      DO UPDATE SET shoppers = funnels.shoppers + excluded.shoppers",
};
pub(super) const POSTINGS: Insert = Insert {
    table: "postings",
    columns: &[
        ("merchant", Text),
        ("number", Text),
        ("shopper", Text),
        ("payee_kind", Text),
        ("payee", Text),
        ("amount", Int),
        ("approve_at", Int),
        ("cause", Text),
    ],
    conflict: "",
};
pub(super) const ORDERS: Insert = Insert {
    table: "orders",
    columns: &[
        ("merchant", Text),
        ("number", Text),
        ("shopper", Text),
        ("time", Int),
        ("base", Int),
        ("refunded", Int),
        ("kind", Text),
        ("guide", Text),
        ("store", Text),
    ],
    conflict: "ON CONFLICT(merchant, number, shopper) DO UPDATE SET time = excluded.time, base = excluded.base,
      refunded = excluded.refunded, kind = excluded.kind, guide = excluded.guide, store = excluded.store",
};
pub(super) const MEMBERS: Insert = Insert {
    table: "members",
    columns: &[("merchant", Text), ("shopper", Text), ("time", Int), ("guide", Text), ("store", Text)],
    conflict: "ON CONFLICT(merchant, shopper) DO UPDATE SET time = excluded.time, guide = excluded.guide,
      store = excluded.store",
};
pub(super) const AWARDS: Insert = Insert {
    table: "awards",
    columns: &[
        ("merchant", Text),
        ("campaign", Text),
        ("version", Int),
        ("code", Text),
        ("shopper", Text),
        ("entry", Int),
        ("time", Int),
        ("drawn", Text),
        ("awarded", Text),
        ("prize_kind", Text),
        ("amount", Int),
        ("unlock", Text),
        ("unlock_until", Int),
    ],
    conflict: "",
};
pub(super) const UNLOCKING: Insert = Insert {
    table: "unlocking",
    columns: &[("merchant", Text), ("shopper", Text), ("action", Text), ("time", Int)],
    conflict: "",
};
/// A code is in alarm once.
pub(super) const ALARMS: Insert = Insert {
    table: "alarms",
    columns: &[("merchant", Text), ("code", Text), ("time", Int), ("shoppers", Int)],
    conflict: "ON CONFLICT(merchant, code) DO UPDATE SET time = excluded.time, shoppers = excluded.shoppers",
};
