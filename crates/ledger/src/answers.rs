//! The answers that senders of scans get: what they are, and how the ledger finds them.

use domain::model::fact::{self, Outcome, ScanResult};
use domain::model::rules::PrizeKind;
use domain::model::time::{Millis, time_text};
use serde_json::json;

use crate::error::LedgerError;
use crate::reader::Ledger;
use crate::segments::{SegmentKind, read, values};
use crate::store::{Row, Store, first};

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

/// A scan that is an entry.
struct Entry {
    event: u128,
    received: Millis,
    is_first: bool,
    campaign: Option<String>,
    number: Option<u64>,
}

impl Ledger {
    /// The answer to an event, if the ledger still holds it.
    ///
    /// # Errors
    /// The database fails.
    pub fn answer(&mut self, event: u128) -> Result<Option<Answer>, LedgerError> {
        read::answer(self.store.as_mut(), event)?.map(|value| answer_of(&value)).transpose()
    }

    /// The entry of a one-item code by a shopper: its event, and its answer from the permanent tables.
    ///
    /// # Errors
    /// The database fails.
    pub fn entry(&mut self, merchant: &str, code: &str, shopper: &str) -> Result<Option<(u128, Answer)>, LedgerError> {
        let store = self.store.as_mut();
        let Some(entry) = first_entry(store, merchant, code, shopper)? else { return Ok(None) };
        let Entry { event, received, is_first, campaign, number } = entry;
        let sql = "SELECT awarded, prize_kind, amount FROM awards WHERE merchant = $1 AND code = $2 AND shopper = $3 AND campaign = $4 AND entry = $5";
        let number = number.map(u64::cast_signed);
        let params = [merchant.into(), code.into(), shopper.into(), campaign.as_deref().into(), number.into()];
        let award = first(store, sql, &params, |row| Ok((row.text(0)?.map(ToOwned::to_owned), granted(row, 1)?)))?;
        let (prize, granted) = award.unwrap_or_default();
        let result = match (is_first, &prize) {
            (false, _) => ScanResult::AlreadyClaimed,
            (true, Some(_)) => ScanResult::Prize,
            (true, None) => ScanResult::Thanks,
        };
        let claim = if is_first { None } else { claim_of(store, merchant, code)? };
        let code = Some(code.to_owned());
        let answer = Answer { received, desk: 3, result, code, campaign, prize, granted, claim, whose: None };
        Ok(Some((event, answer)))
    }
}

/// The first entry of a shopper by a code, in the order of the log.
fn first_entry(store: &mut dyn Store, merchant: &str, code: &str, shopper: &str) -> Result<Option<Entry>, LedgerError> {
    let mut prefix = Vec::new();
    values::put_texts(&[merchant, code, shopper], &mut prefix);
    for (_, value) in read::with_prefix(store, SegmentKind::Scans, &prefix)? {
        let scan = values::scan(&value)?;
        if matches!(scan.outcome, Outcome::Entered | Outcome::AlreadyClaimed) {
            return Ok(Some(Entry {
                event: scan.event,
                received: scan.time,
                is_first: scan.outcome == Outcome::Entered,
                campaign: scan.campaign.map(ToOwned::to_owned),
                number: scan.entry,
            }));
        }
    }
    Ok(None)
}

/// Time and region of the entry that claimed a code.
fn claim_of(
    store: &mut dyn Store,
    merchant: &str,
    code: &str,
) -> Result<Option<(Millis, Option<String>)>, LedgerError> {
    let mut key = Vec::new();
    values::put_code_key(merchant, code, &mut key);
    let Some(value) = read::state(store, SegmentKind::Claims, &key)? else { return Ok(None) };
    let claim = values::claim(&value)?;
    Ok(Some((claim.time, claim.region.map(ToOwned::to_owned))))
}

/// The kind and amount of a prize, from two columns.
fn granted(row: &dyn Row, at: usize) -> Result<Option<(PrizeKind, Option<i64>)>, LedgerError> {
    let damaged = |word: &str| LedgerError::Damaged(format!("prize_kind {word}"));
    let kind = row.text(at)?.map(|word| PrizeKind::parse(word).ok_or_else(|| damaged(word))).transpose()?;
    let amount = row.int(at + 1)?;
    Ok(kind.map(|kind| (kind, amount)))
}

fn answer_of(value: &[u8]) -> Result<Answer, LedgerError> {
    let ((received, desk), a) = values::answer(value)?;
    let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
    Ok(Answer {
        received,
        desk,
        result: a.result,
        code: owned(a.code),
        campaign: owned(a.campaign),
        prize: owned(a.prize),
        granted: a.granted,
        claim: a.claim.map(|(time, region)| (time, owned(region))),
        whose: a.whose.map(|(merchant, shopper)| (merchant.to_owned(), shopper.to_owned())),
    })
}
