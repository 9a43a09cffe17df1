//! A merchant's rules as they are written, after every check: what the published object holds.
//!
//! References are by id here; [`rulebook`] turns them into indices once per version.

pub mod batches;
pub mod draw;
pub mod ff1;
pub mod rulebook;
pub mod secrets;

mod minted;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::code::Kind;
use crate::model::event::Action;
use crate::model::money::Ratio;
use crate::model::time::{DAY_MS, Millis};

pub use minted::{ALARM_SHOPPERS_MAX, Activate, BATCH_COUNT_MAX, BATCH_NUMBER_MAX, Batch, Range, RangeState};

/// One merchant's rules (contract section 4). Durations in ms, rates in ppm, money in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The merchant's name.
    pub merchant: String,
    /// ISO 4217 code of all amounts.
    pub currency: String,
    /// IANA name of the zone that decides days.
    pub time_zone: String,
    /// Maximum age of an event at `received`, ms; an older one is no touch, and does not count its shopper.
    pub late_ms: i64,
    /// What counts as the same event, and as a repeat.
    pub dedup: Dedup,
    /// How orders are credited to touches.
    pub attribution: Attribution,
    /// Commission terms; the first that matches applies.
    pub commissions: Vec<Commission>,
    /// The listed stores.
    pub stores: Vec<Store>,
    /// The listed guides.
    pub guides: Vec<Guide>,
    /// The listed codes.
    pub codes: Vec<StaticCode>,
    /// The prize draws.
    pub campaigns: Vec<Campaign>,
    /// The funnels.
    pub funnels: Vec<Funnel>,
    /// Maximum number of distinct texts that the rules do not list and that are counted by name: of a scope and day, in a
    /// partition. The object omits the default, so rules of builds before it keep their version.
    #[serde(default = "names_max_default", skip_serializing_if = "is_names_max_default")]
    pub names_max: u32,
    /// The batches of minted codes. The object omits what a build before them does not know, as long as it is not used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<Batch>,
    /// Where the items of batches went, sorted by batch and serial; no two of a batch overlap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
}

/// Smallest number of codes of a batch that a sealed campaign can draw from; rules with a smaller one are refused.
pub const SEALED_COUNT_MIN: u64 = 1_000;
/// Maximum number of moments of a campaign; rules with more are refused.
pub const MOMENTS_MAX: u64 = 1_000_000;

/// Default of `names_max`.
pub const NAMES_MAX_DEFAULT: u32 = 100_000;
/// Maximum of `names_max`; rules with a larger one are refused.
pub const NAMES_MAX_MAX: u32 = 10_000_000;
/// Default of `attribution.orders_max`.
pub const ORDERS_MAX_DEFAULT: u32 = 10_000;
/// Maximum of `attribution.orders_max`; rules with a larger one are refused.
pub const ORDERS_MAX_MAX: u32 = 1_000_000;

fn names_max_default() -> u32 {
    NAMES_MAX_DEFAULT
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_names_max_default(names_max: &u32) -> bool {
    *names_max == NAMES_MAX_DEFAULT
}

fn orders_max_default() -> u32 {
    ORDERS_MAX_DEFAULT
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_orders_max_default(orders_max: &u32) -> bool {
    *orders_max == ORDERS_MAX_DEFAULT
}

/// When a delivery is a duplicate, and a scan a repeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dedup {
    /// How long the identity of an event is remembered, minutes.
    pub horizon_minutes: u32,
    /// 0 is off.
    pub debounce_ms: i64,
}

/// Maximum of `dedup.horizon`, minutes: 45 days; rules with a longer one are refused.
pub const HORIZON_MINUTES_MAX: u32 = 45 * 24 * 60;

/// How orders are credited to touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribution {
    /// How long before an order a touch counts, ms.
    pub window_ms: i64,
    /// How credit is shared.
    pub model: Model,
    /// How long a holder of credit is safe from a later touch of the same rank, ms; only in the model `last`.
    pub protect_ms: i64,
    /// Whose orders earn commission.
    pub members: Members,
    /// How long after an order its refunds count, and the order is kept, ms.
    pub refund_within_ms: i64,
    /// Maximum number of touches of a shopper; beyond it the smallest are dropped.
    pub touches_max: u32,
    /// Maximum number of orders of a shopper; beyond it the one with the smallest (time, key) is no longer kept. The object
    /// omits the default, so rules of builds before it keep their version.
    #[serde(default = "orders_max_default", skip_serializing_if = "is_orders_max_default")]
    pub orders_max: u32,
}

crate::model::text::words! {
    /// How the credit of an order is shared among its touches.
    Model { Last = "last", First = "first", Linear = "linear", Position = "position" }
}

crate::model::text::words! {
    /// Whose orders earn commission: all shoppers', or only those of shoppers who had not bought before the touch.
    Members { All = "all", New = "new" }
}

crate::model::text::words! {
    /// Who is paid by a `[[commission]]`.
    PayeeKind { Guide = "guide", Store = "store" }
}

/// Commission terms; the first that matches a credited touch applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commission {
    /// First time of an order, inclusive.
    pub from: Option<Millis>,
    /// End of the times of orders, exclusive.
    pub to: Option<Millis>,
    /// The order's store.
    pub store: Option<String>,
    /// The credited guide, and the credited guide's level.
    pub guide: Option<String>,
    /// The level of the credited guide.
    pub level: Option<String>,
    /// Who is paid.
    pub payee: PayeeKind,
    /// Share of the net amount, parts per million.
    pub rate_ppm: u32,
    /// How long a posting waits before it is due, ms.
    pub hold_ms: i64,
}

/// A listed store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// The store's id.
    pub id: String,
    /// The store's region.
    pub region: Option<String>,
    /// The store's name, for people.
    pub name: Option<String>,
    /// GS1 location number, 13 digits.
    pub gln: Option<u64>,
}

/// A listed guide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guide {
    /// The guide's id.
    pub id: String,
    /// The guide's store; `None` for a guide of the head office.
    pub store: Option<String>,
    /// The guide's level, which commission terms may name.
    pub level: Option<String>,
    /// The guide's own shopper id.
    pub shopper: Option<String>,
    /// GS1 service relation number, 18 digits.
    pub gsrn: Option<u64>,
    /// When the guide left; orders from then on pay the successor.
    pub left: Option<Millis>,
    /// Who is paid after that.
    pub successor: Successor,
}

/// Who is paid instead of a guide who has left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Successor {
    /// The guide's store, which there must be.
    Store,
    /// The guide who has left.
    Keep,
    /// Another guide, who may have left as well.
    Guide(String),
}

/// A listed code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticCode {
    /// The code's id: its text.
    pub id: String,
    /// What the code is.
    pub kind: Kind,
    /// The guide that its scans touch.
    pub guide: Option<String>,
    /// The store that its scans touch.
    pub store: Option<String>,
    /// The campaign that its scans enter.
    pub campaign: Option<String>,
    /// The channel of its scans.
    pub channel: Option<String>,
}

crate::model::text::words! {
    /// How a campaign draws: by odds, by exact counts over a batch, or at moments.
    Mode { Odds = "odds", Sealed = "sealed", Moments = "moments" }
}

impl Mode {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
    fn is_odds(&self) -> bool {
        *self == Self::Odds
    }
}

fn mode_default() -> Mode {
    Mode::Odds
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A prize draw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// The campaign's id.
    pub id: String,
    /// First `received` of an entry, inclusive.
    pub from: Millis,
    /// End of the entries, exclusive.
    pub to: Millis,
    /// Region prefixes; empty is everywhere.
    pub areas: Vec<String>,
    /// Maximum number of entries of a shopper; further scans are refused.
    pub limit_total: Option<u32>,
    /// Maximum number of entries of a shopper on one day.
    pub limit_day: Option<u32>,
    /// Maximum number of wins of a shopper; further draws win thanks.
    pub limit_wins: Option<u32>,
    /// Cash over all prizes.
    pub budget: Option<i64>,
    /// Where a browser is redirected to after a keyless scan.
    pub landing: Option<String>,
    /// A reference (`file:` or `env:`), never the secret.
    pub secret: String,
    /// SHA-256 of the secret, hex.
    pub commit: String,
    /// The prizes, in the order of their thresholds.
    pub prizes: Vec<Prize>,
    /// The odds; the first phase that matches applies. Empty in other modes.
    pub phases: Vec<Phase>,
    /// How it draws.
    #[serde(default = "mode_default", skip_serializing_if = "Mode::is_odds")]
    pub mode: Mode,
    /// Cash of one of the merchant's days, over all prizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_day: Option<i64>,
    /// Whether guides' own shopper ids enter no draw. An object of a build that did not know it lacks it, and means no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exclude_guides: bool,
    /// Who runs the draw, for the public notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organiser: Option<String>,
    /// How to reach the organiser, for the public notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// How prizes are redeemed, for the public notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redeem: Option<String>,
}

/// A prize of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prize {
    /// The prize's id.
    pub id: String,
    /// What is given.
    pub kind: PrizeKind,
    /// The amount of a cash prize (minor units) or a points prize.
    pub amount: Option<i64>,
    /// The coupon that it grants.
    pub ticket: Option<String>,
    /// Maximum number that is granted; `None` is without limit.
    pub stock: Option<u64>,
    /// What the shopper must do first.
    pub unlock: Option<Unlock>,
    /// The prize that is granted if stock or budget of this one is used up; `None` means thanks.
    pub otherwise: Option<String>,
    /// Sealed draws and moments: the exact number of winners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The largest amount, if it is above `amount`: then any whole amount between them is drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_max: Option<i64>,
    /// Maximum number that is granted on one of the merchant's days; `None` is without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stock_day: Option<u64>,
    /// What it is worth, minor units, for the public notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
}

crate::model::text::words! {
    /// What a prize gives.
    PrizeKind { Cash = "cash", Points = "points", Coupon = "coupon", Goods = "goods" }
}

/// What unlocks an award, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unlock {
    /// `order`, `join` or `follow`.
    pub action: Action,
    /// How long after the award, ms; `None` is without limit.
    pub within_ms: Option<i64>,
}

/// Odds for a time range and for a range of entries; the first phase that matches applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// First `received`, inclusive.
    pub from: Option<Millis>,
    /// End, exclusive.
    pub to: Option<Millis>,
    /// The shopper's entries to which it applies, by number: the first and, unless open, the last.
    pub entries: (u64, Option<u64>),
    /// By prize id.
    pub odds: BTreeMap<String, Ratio>,
}

crate::model::text::words! {
    /// A step of a funnel.
    Step {
        Visit = "visit",
        Scan = "scan",
        Follow = "follow",
        Join = "join",
        Claim = "claim",
        Return = "return",
        Redeem = "redeem",
        Order = "order",
    }
}

/// A list of steps, of which the shoppers who reach each are counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Funnel {
    /// The funnel's name.
    pub name: String,
    /// Its steps, at most [`FUNNEL_STEPS_MAX`].
    pub steps: Vec<Step>,
    /// How long after its first step an attempt can go on, ms.
    pub within_ms: i64,
    /// Narrows claims and redeems.
    pub ticket: Option<String>,
    /// Narrows scans.
    pub kind: Option<Kind>,
}

/// Maximum number of steps of a funnel; rules with a longer one are refused. It keeps a shopper's progress small.
pub const FUNNEL_STEPS_MAX: usize = 16;

impl Default for Dedup {
    fn default() -> Self {
        Self { horizon_minutes: 3 * 24 * 60, debounce_ms: 0 }
    }
}

impl Default for Attribution {
    fn default() -> Self {
        Self {
            window_ms: 15 * DAY_MS,
            model: Model::Last,
            protect_ms: 0,
            members: Members::All,
            refund_within_ms: 90 * DAY_MS,
            touches_max: 256,
            orders_max: ORDERS_MAX_DEFAULT,
        }
    }
}

/// Default of `late`, ms.
pub const LATE_DEFAULT_MS: i64 = 2 * DAY_MS;

/// The number of a version of rules: its place in the order of publishing over all merchants, from 1; 0 stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RulesSeq(pub u32);

impl RulesSeq {
    /// The number of the first version.
    pub const FIRST: Self = Self(1);

    /// The number of the version that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for RulesSeq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// First 12 hex digits of a published object's SHA-256: the name of a version in messages and exports.
#[must_use]
pub fn version_text(sha256: &[u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(&sha256[..6])
}
