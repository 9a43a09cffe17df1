//! What desks send to each other and to the ledger: the items of `draws`, `awards` and `facts` frames.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::code::Kind;
use super::event::Action;
use super::ids::SEPARATOR;
use super::rules::{PayeeKind, PrizeKind, RulesSeq, Step};
use super::time::{Day, Millis};

super::text::words! {
    /// What a counter is about (contract section 7).
    Scope {
        Merchant = "merchant",
        Store = "store",
        Guide = "guide",
        Campaign = "campaign",
        Kind = "kind",
        Region = "region",
        Channel = "channel",
        Ticket = "ticket",
    }
}

super::text::words! {
    /// What a counter counts (contract section 7).
    Metric {
        Scans = "scans",
        Repeats = "repeats",
        Interactions = "interactions",
        Visits = "visits",
        Follows = "follows",
        Claims = "claims",
        Redeems = "redeems",
        Entries = "entries",
        Late = "late",
        Forged = "forged",
        Unknown = "unknown",
        Joins = "joins",
        Duplicates = "duplicates",
        Orders = "orders",
        Gmv = "gmv",
        Refunds = "refunds",
        Refunded = "refunded",
        Wins = "wins",
        PrizeCash = "prize_cash",
        Shoppers = "shoppers",
        CreditedOrders = "credited_orders",
        CreditedNet = "credited_net",
        Commission = "commission",
        CreditedJoins = "credited_joins",
        Inactive = "inactive",
        Diverted = "diverted",
    }
}

super::text::words! {
    /// The outcome of a scan of a code that draws, or of an item code.
    Outcome {
        Entered = "entered",
        Repeat = "repeat",
        NoCampaign = "no-campaign",
        NotStarted = "not-started",
        Ended = "ended",
        OutOfArea = "out-of-area",
        Yours = "yours",
        Limit = "limit",
        AlreadyClaimed = "already-claimed",
        Excluded = "excluded",
        Inactive = "inactive",
    }
}

super::text::words! {
    /// The result of a scan, for the sender (contract section 9).
    ScanResult {
        Counted = "counted",
        Repeat = "repeat",
        /// An entry whose draw is in progress.
        Pending = "pending",
        Prize = "prize",
        Thanks = "thanks",
        AlreadyClaimed = "already-claimed",
        Limit = "limit",
        OutOfArea = "out-of-area",
        NotStarted = "not-started",
        Ended = "ended",
        NoCampaign = "no-campaign",
        /// The result of this shopper's earlier entry of the same code, again.
        Yours = "yours",
        Excluded = "excluded",
        Inactive = "inactive",
    }
}

impl From<Outcome> for ScanResult {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Entered => Self::Pending,
            Outcome::Repeat => Self::Repeat,
            Outcome::NoCampaign => Self::NoCampaign,
            Outcome::NotStarted => Self::NotStarted,
            Outcome::Ended => Self::Ended,
            Outcome::OutOfArea => Self::OutOfArea,
            Outcome::Yours => Self::Yours,
            Outcome::Limit => Self::Limit,
            Outcome::AlreadyClaimed => Self::AlreadyClaimed,
            Outcome::Excluded => Self::Excluded,
            Outcome::Inactive => Self::Inactive,
        }
    }
}

/// Shopper desk → code desk: a scan of an item code, or an entry by any code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeScan<'a> {
    /// The merchant's name.
    #[serde(borrow)]
    pub merchant: &'a str,
    /// The key of the answer to the event (`Event::answer_key`).
    pub key: u128,
    /// The version number of the rules that the shopper desk applied.
    pub rules: RulesSeq,
    /// The code's name.
    pub code: &'a str,
    /// What the code is.
    pub kind: Kind,
    /// The `received` of the scan.
    pub received: Millis,
    /// The derived region of the scan.
    pub region: Option<Region<'a>>,
    /// The shopper's id.
    pub shopper: &'a str,
    /// The shopper's key.
    pub shopper_key: u128,
    /// Whether the scan enters the draw, or why it does not.
    pub outcome: Outcome,
    /// With `Entered`: the campaign's index in the rules, and the number of the entry.
    pub entry: Option<(u32, u64)>,
}

/// Code desk → campaign desk: an entry that drew a prize, or that draws at moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Win<'a> {
    /// The merchant's name.
    #[serde(borrow)]
    pub merchant: &'a str,
    /// As in [`CodeScan`].
    pub key: u128,
    /// The version number of the rules that admitted the entry.
    pub rules: RulesSeq,
    /// Indices in that version of the rules.
    pub campaign: u32,
    /// The index of the drawn prize in its campaign; `None` where moments draw, which the campaign desk knows.
    #[serde(with = "drawn_index")]
    pub prize: Option<u32>,
    /// The code's name.
    pub code: &'a str,
    /// The shopper's id.
    pub shopper: &'a str,
    /// The shopper's key.
    pub shopper_key: u128,
    /// The number of the shopper's entry, from 1.
    pub entry: u64,
    /// The `received` of the scan.
    pub received: Millis,
    /// The derived region of the scan.
    pub region: Option<Region<'a>>,
}

/// An optional index as a number, so that frames of behaviours without moments keep their bytes.
mod drawn_index {
    use serde::{Deserialize, Deserializer, Serializer};

    const NONE: u32 = u32::MAX;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
    pub(super) fn serialize<S: Serializer>(index: &Option<u32>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u32(index.unwrap_or(NONE))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
        Ok(Some(u32::deserialize(from)?).filter(|&index| index != NONE))
    }
}

/// The key under which texts beyond `names_max` are counted.
pub const OTHER_TEXT: &str = "*other*";

/// A region, and whether it is counted by name or under `*other*`. In a frame the latter has a [`SEPARATOR`] before its text, which
/// no text of an event has; regions of behaviour 1 have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region<'a> {
    /// Its text.
    pub text: &'a str,
    /// Whether it is counted by name.
    pub is_named: bool,
}

impl Serialize for Region<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.is_named {
            return to.serialize_str(self.text);
        }
        to.collect_str(&format_args!("{}{}", char::from(SEPARATOR), self.text))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Region<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(from)?;
        let other = text.strip_prefix(char::from(SEPARATOR));
        Ok(Self { text: other.unwrap_or(text), is_named: other.is_none() })
    }
}

/// Any desk → ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact<'a> {
    /// The merchant's name.
    #[serde(borrow)]
    pub merchant: &'a str,
    /// What is stated.
    pub what: What<'a>,
}

/// The kinds of facts. Counts are differences; orders, members and codes are current states; every other fact adds a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What<'a> {
    /// Rules that are in force from here on.
    Rules {
        /// The number of the version.
        seq: RulesSeq,
        /// SHA-256 of the published object.
        sha256: [u8; 32],
        /// ISO 4217 code of the merchant's amounts.
        #[serde(borrow)]
        currency: &'a str,
    },
    /// A change of a counter.
    Count {
        /// What the counter is about.
        scope: Scope,
        /// The id in that scope; `*` for the merchant.
        #[serde(borrow)]
        key: &'a str,
        /// The day of the event's time.
        day: Day,
        /// What it counts.
        metric: Metric,
        /// What is added; minor units for money.
        delta: i64,
    },
    /// One more shopper who reached the step (from 1).
    Funnel {
        /// The funnel's name.
        #[serde(borrow)]
        funnel: &'a str,
        /// The step's number, from 1.
        step: u8,
        /// What the step is.
        action: Step,
        /// The channel in which the attempt began.
        channel: Option<&'a str>,
        /// The day of `received` on which it began.
        day: Day,
    },
    /// A row of money.
    Posting(#[serde(borrow)] Posting<'a>),
    /// The current state of an order.
    Order(#[serde(borrow)] OrderState<'a>),
    /// The current state of a membership.
    Member {
        /// The shopper's id.
        #[serde(borrow)]
        shopper: &'a str,
        /// The time of the earliest join.
        time: Millis,
        /// The credited guide.
        guide: Option<&'a str>,
        /// The credited store.
        store: Option<&'a str>,
    },
    /// A draw that drew a prize.
    Award(#[serde(borrow)] Award<'a>),
    /// The result of a scan.
    Answer(#[serde(borrow)] Answer<'a>),
    /// The current state of an item code.
    Code {
        /// The code's name.
        #[serde(borrow)]
        code: &'a str,
        /// What the code is.
        kind: Kind,
        /// Number of its scans so far.
        scans: u64,
        /// The `received` of the first scan.
        first_time: Millis,
        /// The region of the first scan.
        first_region: Option<&'a str>,
    },
    /// One scan in a code's history.
    Seen {
        /// As in [`CodeScan`].
        key: u128,
        /// The code's name.
        #[serde(borrow)]
        code: &'a str,
        /// The `received` of the scan.
        time: Millis,
        /// The shopper's id.
        shopper: &'a str,
        /// The derived region of the scan.
        region: Option<&'a str>,
        /// Whether it enters the draw, or why it does not.
        outcome: Outcome,
        /// The campaign of an entry.
        campaign: Option<&'a str>,
        /// The number of the shopper's entry, from 1.
        entry: Option<u64>,
    },
    /// An event that may unlock awards.
    Unlocking {
        /// The shopper's id.
        #[serde(borrow)]
        shopper: &'a str,
        /// What the shopper did.
        action: Action,
        /// The event's time.
        time: Millis,
    },
    /// The answer to an entry that was granted a prize. Behaviours below 3 say it with `Answer` alone.
    Granted {
        /// The answer.
        #[serde(borrow)]
        answer: Answer<'a>,
        /// The kind of the granted prize.
        kind: PrizeKind,
        /// Minor units of cash, or points.
        amount: Option<i64>,
    },
    /// As many distinct shoppers as `alarm_shoppers` says have scanned one item code: it may be copied.
    CodeAlarm {
        /// The code's name.
        #[serde(borrow)]
        code: &'a str,
        /// The `received` of the scan that set it off.
        time: Millis,
        /// Number of distinct shoppers.
        shoppers: u32,
    },
}

impl What<'_> {
    /// Whether it only says the result of a scan.
    #[must_use]
    pub fn is_result(&self) -> bool {
        matches!(self, Self::Answer(_) | Self::Granted { .. })
    }
}

/// The result of one scan as far as a desk knows it; the answer of a later desk replaces that of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer<'a> {
    /// As in [`CodeScan`].
    pub key: u128,
    /// The `received` of the scan.
    pub received: Millis,
    /// The desk that answers: 1 the shopper desk, 2 the code desk, 3 the campaign desk.
    pub desk: u8,
    /// The result, as the sender reads it.
    pub result: ScanResult,
    /// Present on entries, and on scans that get an earlier entry's result again.
    #[serde(borrow)]
    pub code: Option<&'a str>,
    /// The campaign of an entry.
    pub campaign: Option<&'a str>,
    /// The granted prize.
    pub prize: Option<&'a str>,
    /// If another shopper claimed the code first: when, and in which region.
    pub claim: Option<(Millis, Option<&'a str>)>,
    /// On keyless scans that get an earlier entry's result again: the shopper of that entry, whom the sender does not know.
    pub shopper: Option<&'a str>,
}

/// A row of money; it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting<'a> {
    /// The order number.
    #[serde(borrow)]
    pub order: &'a str,
    /// The buyer's id.
    pub shopper: &'a str,
    /// Whether a guide or a store is paid.
    pub payee_kind: PayeeKind,
    /// The payee's id.
    pub payee: &'a str,
    /// Minor units; negative where something is taken back.
    pub amount: i64,
    /// When the hold ends.
    pub approve_at: Millis,
    /// The id of the event that caused it.
    pub cause: &'a str,
}

/// The current state of an order. Kind, guide and store are those of the touch with the largest share of the credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderState<'a> {
    /// The order number.
    #[serde(borrow)]
    pub order: &'a str,
    /// The buyer's id.
    pub shopper: &'a str,
    /// The time of the earliest part.
    pub time: Millis,
    /// The sum of its parts, minor units.
    pub base: i64,
    /// The sum of its refunds, minor units, at most `base`.
    pub refunded: i64,
    /// The kind of the touch.
    pub kind: Option<Kind>,
    /// The guide of the touch.
    pub guide: Option<&'a str>,
    /// The store of the touch.
    pub store: Option<&'a str>,
}

/// A draw that drew a prize. `awarded` is `None` for thanks; kind and amount are the awarded prize's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Award<'a> {
    /// The campaign's id.
    #[serde(borrow)]
    pub campaign: &'a str,
    /// The version number of the rules that admitted the entry.
    pub rules: RulesSeq,
    /// The code's name.
    pub code: &'a str,
    /// The shopper's id.
    pub shopper: &'a str,
    /// The number of the shopper's entry, from 1.
    pub entry: u64,
    /// The `received` of the scan.
    pub time: Millis,
    /// The id of the drawn prize.
    pub drawn: &'a str,
    /// The id of the granted prize.
    pub awarded: Option<&'a str>,
    /// The kind of the granted prize.
    pub prize_kind: Option<PrizeKind>,
    /// Minor units of cash, or points.
    pub amount: Option<i64>,
    /// What unlocks it, and until when (exclusive).
    pub unlock: Option<(Action, Option<Millis>)>,
}
