//! A merchant's rules as they are written, after every check: what the published object holds.
//!
//! References are by id here; [`rulebook`] turns them into indices once per version.

pub mod draw;
pub mod rulebook;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::code::Kind;
use crate::model::event::Action;
use crate::model::money::Ratio;
use crate::model::time::{DAY_MS, Millis};

/// One merchant's rules (contract section 4). Durations in ms, rates in ppm, money in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    pub merchant: String,
    pub currency: String,
    pub time_zone: String,
    pub late_ms: i64,
    pub dedup: Dedup,
    pub attribution: Attribution,
    pub commissions: Vec<Commission>,
    pub stores: Vec<Store>,
    pub guides: Vec<Guide>,
    pub codes: Vec<StaticCode>,
    pub campaigns: Vec<Campaign>,
    pub funnels: Vec<Funnel>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dedup {
    pub horizon_minutes: u32,
    /// 0 is off.
    pub debounce_ms: i64,
}

/// Maximum of `dedup.horizon`, minutes: 45 days; rules with a longer one are refused.
pub const HORIZON_MINUTES_MAX: u32 = 45 * 24 * 60;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribution {
    pub window_ms: i64,
    pub model: Model,
    pub protect_ms: i64,
    pub members: Members,
    pub refund_within_ms: i64,
    pub touches_max: u32,
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
    pub from: Option<Millis>,
    pub to: Option<Millis>,
    /// The order's store.
    pub store: Option<String>,
    /// The credited guide, and the credited guide's level.
    pub guide: Option<String>,
    pub level: Option<String>,
    pub payee: PayeeKind,
    pub rate_ppm: u32,
    pub hold_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    pub id: String,
    pub region: Option<String>,
    pub name: Option<String>,
    pub gln: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guide {
    pub id: String,
    /// None of a guide of the head office.
    pub store: Option<String>,
    pub level: Option<String>,
    /// The guide's own shopper id.
    pub shopper: Option<String>,
    pub gsrn: Option<u64>,
    pub left: Option<Millis>,
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticCode {
    pub id: String,
    pub kind: Kind,
    pub guide: Option<String>,
    pub store: Option<String>,
    pub campaign: Option<String>,
    pub channel: Option<String>,
}

/// A prize draw with odds; the other modes come later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    pub id: String,
    pub from: Millis,
    pub to: Millis,
    /// Region prefixes; empty is everywhere.
    pub areas: Vec<String>,
    pub limit_total: Option<u32>,
    pub limit_day: Option<u32>,
    pub limit_wins: Option<u32>,
    /// Cash over all prizes.
    pub budget: Option<i64>,
    pub landing: Option<String>,
    /// A reference (`file:` or `env:`), never the secret.
    pub secret: String,
    /// SHA-256 of the secret, hex.
    pub commit: String,
    pub prizes: Vec<Prize>,
    pub phases: Vec<Phase>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prize {
    pub id: String,
    pub kind: PrizeKind,
    /// Of cash (minor units) and points.
    pub amount: Option<i64>,
    /// The coupon that it grants.
    pub ticket: Option<String>,
    pub stock: Option<u64>,
    pub unlock: Option<Unlock>,
    /// The prize that is granted if stock or budget of this one is used up; `None` means thanks.
    pub otherwise: Option<String>,
}

crate::model::text::words! {
    PrizeKind { Cash = "cash", Points = "points", Coupon = "coupon", Goods = "goods" }
}

/// What unlocks an award, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unlock {
    /// `order`, `join` or `follow`.
    pub action: Action,
    pub within_ms: Option<i64>,
}

/// Odds for a time range and for a range of entries; the first phase that matches applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    pub from: Option<Millis>,
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Funnel {
    pub name: String,
    pub steps: Vec<Step>,
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
        }
    }
}

/// Default of `late`, ms.
pub const LATE_DEFAULT_MS: i64 = 2 * DAY_MS;

/// First 12 hex digits of a published object's SHA-256: the name of a version in messages and exports.
#[must_use]
pub fn version_text(sha256: &[u8; 32]) -> String {
    sha256[..6].iter().map(|b| format!("{b:02x}")).collect()
}
