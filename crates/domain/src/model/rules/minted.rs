//! Batches of minted codes as rules write them, and the ranges that say where their items went.

use serde::{Deserialize, Serialize};

use crate::model::code::Kind;

/// Largest number of a batch.
pub const BATCH_NUMBER_MAX: u32 = (1 << 20) - 1;
/// Largest number of codes of a batch: a serial has 32 bits.
pub const BATCH_COUNT_MAX: u64 = 1 << 32;
/// Maximum of `alarm_shoppers`: the number of shoppers of a code that are remembered.
pub const ALARM_SHOPPERS_MAX: u32 = 1_000;

/// A batch of minted one-item codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Its number, at most [`BATCH_NUMBER_MAX`].
    pub number: u32,
    /// What its codes are: a kind of one-item codes.
    pub kind: Kind,
    /// Number of its codes, from 1 to [`BATCH_COUNT_MAX`]; serials count from 0.
    pub count: u64,
    /// The campaign that its scans enter.
    pub campaign: Option<String>,
    /// The product that its codes are on: 14 digits.
    pub gtin: Option<u64>,
    /// What minted URLs begin with; without meaning where there is a `gtin`.
    pub url: Option<String>,
    /// A reference (`file:` or `env:`), never the secret.
    pub secret: String,
    /// SHA-256 of the secret, hex.
    pub commit: String,
    /// Number of distinct shoppers of one code from which on the code is in alarm.
    pub alarm_shoppers: Option<u32>,
    /// Which codes are active outside the ranges.
    pub activate: Activate,
    /// The guide that its scans touch.
    pub guide: Option<String>,
    /// The store that its scans touch.
    pub store: Option<String>,
    /// The channel of its scans.
    pub channel: Option<String>,
}

crate::model::text::words! {
    /// Which codes of a batch are active outside its ranges: all of them, or none (they are dark).
    Activate { All = "all", Ranges = "ranges" }
}

/// Consecutive serials of a batch: where these items went, and whether they live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The number of the batch.
    pub batch: u32,
    /// First serial, inclusive.
    pub from: u64,
    /// End of the serials, exclusive.
    pub to: u64,
    /// Whether the codes live.
    pub state: RangeState,
    /// The guide of these items, before the batch's.
    pub guide: Option<String>,
    /// The store of these items, before the batch's.
    pub store: Option<String>,
    /// The region that these items are meant for.
    pub region: Option<String>,
    /// The channel of these items, before the batch's.
    pub channel: Option<String>,
}

crate::model::text::words! {
    /// Whether the codes of a range live.
    RangeState { Active = "active", Frozen = "frozen", Void = "void" }
}
