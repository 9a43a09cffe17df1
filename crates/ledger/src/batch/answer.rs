//! The answer to one scan, and what its reader gets.

use domain::model::fact::{self, ScanResult};
use domain::model::rules::PrizeKind;
use domain::model::time::{Millis, time_text};
use serde_json::json;

/// The answer to one scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The receive time of the scan, ms since the epoch.
    pub received: Millis,
    /// The last desk that answered: 1 the shopper desk, 2 the code desk, 3 the campaign desk.
    pub desk: u8,
    /// What the shopper gets to know.
    pub result: ScanResult,
    /// Of entries, and of scans that get an earlier entry's answer again.
    pub code: Option<String>,
    /// The campaign, if the scan is an entry.
    pub campaign: Option<String>,
    /// The prize, if the scan won one.
    pub prize: Option<String>,
    /// The kind of the prize, and its amount: minor units of cash, or points. Behaviours below 3 do not say it.
    pub granted: Option<(PrizeKind, Option<i64>)>,
    /// The earlier claim of another shopper: its time and region.
    pub claim: Option<(Millis, Option<String>)>,
    /// The merchant and shopper of the earlier entry that a keyless scan repeats, because a query does not know them.
    pub whose: Option<(String, String)>,
}

impl Answer {
    /// An answer as a desk wrote it; `granted` is said of prizes only.
    #[must_use]
    pub fn of_fact(merchant: &str, a: &fact::Answer<'_>, granted: Option<(PrizeKind, Option<i64>)>) -> Self {
        Self {
            received: a.received,
            desk: a.desk,
            result: a.result,
            code: a.code.map(ToOwned::to_owned),
            campaign: a.campaign.map(ToOwned::to_owned),
            prize: a.prize.map(ToOwned::to_owned),
            granted,
            claim: a.claim.map(|(time, region)| (time, region.map(ToOwned::to_owned))),
            whose: a.shopper.map(|shopper| (merchant.to_owned(), shopper.to_owned())),
        }
    }

    /// What a reader gets for the scan (contract section 9), without its id. `is_again`: the scan repeats the entry of this answer.
    #[must_use]
    pub fn json(&self, is_again: bool) -> serde_json::Value {
        let state = match self.result {
            ScanResult::Counted => return json!({ "state": "counted" }),
            ScanResult::Repeat => return json!({ "state": "repeat" }),
            _ if self.is_of_entry() && !is_again => "entered",
            _ => "counted",
        };
        let mut draw = json!({ "campaign": self.campaign, "result": self.result.as_str() });
        if let Some(prize) = &self.prize {
            draw["prize"] = json!(prize);
            if let Some((kind, amount)) = self.granted {
                draw["kind"] = json!(kind.as_str());
                if let Some(amount) = amount {
                    draw["amount"] = json!(amount);
                }
            }
        }
        if is_again {
            draw["again"] = json!(true);
        }
        if let Some((time, region)) = &self.claim {
            draw["claimed"] = json!({ "time": time_text(*time), "region": region });
        }
        json!({ "state": state, "draw": draw })
    }

    /// Whether it is that of an entry. An event that is delivered again after the horizon has the answer of its last delivery, which
    /// is no entry.
    #[must_use]
    pub const fn is_of_entry(&self) -> bool {
        use ScanResult::{AlreadyClaimed, Pending, Prize, Thanks};
        matches!(self.result, Pending | Prize | Thanks | AlreadyClaimed)
    }
}
