//! An accepted event, as it travels in a frame of `scans`.

use serde::{Deserialize, Serialize};

use super::code::Link;
use super::ids;
use super::time::Millis;

super::text::words! {
    /// What the shopper did (contract section 1).
    Action {
        Scan = "scan",
        Visit = "visit",
        Follow = "follow",
        Join = "join",
        Claim = "claim",
        Redeem = "redeem",
        Order = "order",
        Refund = "refund",
    }
}

super::text::words! {
    /// Which part of an order an `order` event is.
    Part { Sale = "sale", Deposit = "deposit", Balance = "balance" }
}

/// An event that passed every check of contract section 1. All texts borrow from the record that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event<'a> {
    /// SHA-256 of merchant, shopper and id, truncated to 16 bytes; computed once, at the edge.
    pub key: u128,
    /// SHA-256 of merchant and shopper, truncated to 16 bytes.
    pub shopper_key: u128,
    /// The merchant's name.
    #[serde(borrow)]
    pub merchant: &'a str,
    /// The sender's id of the event; unique for a shopper and an action.
    pub id: &'a str,
    /// `device:` ‖ device if the event names a device instead of a shopper.
    pub shopper: &'a str,
    /// What the shopper did.
    pub action: Action,
    /// When the edge received it; the shopper desk derives `received` from it.
    pub stamp: Millis,
    /// When it happened; `None` means `received`.
    pub time: Option<Millis>,
    /// The scanned code.
    pub code: Option<Code<'a>>,
    /// The id of the store that the sender names.
    pub store: Option<&'a str>,
    /// The id of the guide that the sender names.
    pub guide: Option<&'a str>,
    /// The region that the sender names, such as `310000`.
    pub region: Option<&'a str>,
    /// The channel that the sender names.
    pub channel: Option<&'a str>,
    /// The device that the sender names.
    pub device: Option<&'a str>,
    /// The coupon that is claimed or redeemed.
    pub ticket: Option<&'a str>,
    /// On `order` and `refund`.
    pub order: Option<Payment<'a>>,
    /// A scan that a browser made at the edge itself, without a key (contract section 9).
    pub keyless: bool,
}

impl Event<'_> {
    /// The key of the event's answer. The sender of a keyless scan knows only its random id, and must not be able to read the
    /// answer to another event with it; so the answers to keyless scans have keys of their own.
    #[must_use]
    pub(crate) fn answer_key(&self) -> u128 {
        if self.keyless { ids::keyless_answer_key(self.id) } else { self.key }
    }
}

/// The code of an event: its text as received, and what the edge read from it if it is a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code<'a> {
    /// The text as received.
    #[serde(borrow)]
    pub text: &'a str,
    /// What a URL in the text stands for; `None` if it is none.
    pub link: Option<Link<'a>>,
}

/// The order number, amount and part of an `order` or a `refund`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment<'a> {
    /// The order number.
    pub number: &'a str,
    /// Minor units, 0…10¹⁵.
    pub amount: i64,
    /// Without meaning on a refund.
    pub part: Part,
}
