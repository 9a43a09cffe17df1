//! The answers that senders of scans get, from the ledger.

use domain::model::fact::ScanResult;
use domain::model::rules::PrizeKind;
use domain::model::time::{HOUR_MS, Millis};

pub use crate::batch::answer::Answer;
use crate::error::LedgerError;
use crate::reader::Ledger;
use crate::store::{Row, Value, first};
use crate::writer::ANSWERS_KEEP_MS;

/// Reads time, campaign and number of the first entry in the order of the log from `seen`.
const ENTRY: &str = "SELECT event, time, outcome, campaign, entry FROM seen WHERE merchant = $1 AND code = $2
  AND shopper = $3 AND outcome IN ('entered', 'already-claimed') ORDER BY place, item LIMIT 1";

/// Reads time and region of the entry that claimed a code.
const CLAIM: &str = "SELECT time, region FROM seen WHERE merchant = $1 AND code = $2 AND outcome = 'entered'
  ORDER BY place, item LIMIT 1";

/// The row of `seen` that is an entry.
struct Entry {
    event: u128,
    received: Millis,
    is_first: bool,
    campaign: Option<String>,
    number: Option<i64>,
}

impl Ledger {
    /// The answer to an event, if the ledger still holds it.
    ///
    /// # Errors
    /// The database fails.
    pub fn answer(&mut self, event: u128) -> Result<Option<Answer>, LedgerError> {
        let store = self.store.as_mut();
        let newest = first(store, "SELECT MAX(hour) FROM answers", &[], |row| row.int(0))?.flatten();
        let Some(newest) = newest else { return Ok(None) };
        // One query looks up every hour by its key.
        let hours = 0..=ANSWERS_KEEP_MS / HOUR_MS;
        let placeholders = hours.clone().map(|ago| format!("${}", ago + 2)).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT received, desk, told, code, campaign, prize, claim_time, claim_region, merchant, shopper,
               prize_kind, amount FROM answers
             WHERE event = $1 AND hour IN ({placeholders}) ORDER BY hour DESC LIMIT 1"
        );
        let event = event.to_be_bytes();
        let mut params = vec![event.as_slice().into()];
        params.extend(hours.map(|ago| Value::Int(newest - ago)));
        first(store, &sql, &params, read)
    }

    /// The entry of a one-item code by a shopper: its event, and its answer from the permanent tables.
    ///
    /// # Errors
    /// The database fails.
    pub fn entry(&mut self, merchant: &str, code: &str, shopper: &str) -> Result<Option<(u128, Answer)>, LedgerError> {
        let store = self.store.as_mut();
        let found = first(store, ENTRY, &[merchant.into(), code.into(), shopper.into()], |row| {
            let event = row.bytes(0)?.and_then(|bytes| bytes.try_into().ok());
            Ok(Entry {
                event: event.map(u128::from_be_bytes).ok_or_else(|| LedgerError::Damaged("seen.event".to_owned()))?,
                received: row.int_of(1)?,
                is_first: row.text_of(2)? == "entered",
                campaign: row.text(3)?.map(ToOwned::to_owned),
                number: row.int(4)?,
            })
        })?;
        let Some(Entry { event, received, is_first, campaign, number }) = found else { return Ok(None) };
        let sql = "SELECT awarded, prize_kind, amount FROM awards WHERE merchant = $1 AND code = $2 AND shopper = $3 AND campaign = $4 AND entry = $5";
        let params = [merchant.into(), code.into(), shopper.into(), campaign.as_deref().into(), number.into()];
        let award = first(store, sql, &params, |row| Ok((row.text(0)?.map(ToOwned::to_owned), granted(row, 1)?)))?;
        let (prize, granted) = award.unwrap_or_default();
        let result = match (is_first, &prize) {
            (false, _) => ScanResult::AlreadyClaimed,
            (true, Some(_)) => ScanResult::Prize,
            (true, None) => ScanResult::Thanks,
        };
        let mut claim = None;
        if !is_first {
            let read = |row: &dyn Row| Ok((row.int_of(0)?, row.text(1)?.map(ToOwned::to_owned)));
            claim = first(store, CLAIM, &[merchant.into(), code.into()], read)?;
        }
        let answer = Answer {
            received,
            desk: 3,
            result,
            code: Some(code.to_owned()),
            campaign,
            prize,
            granted,
            claim,
            whose: None,
        };
        Ok(Some((event, answer)))
    }
}

/// The kind and amount of a prize, from two columns.
fn granted(row: &dyn Row, at: usize) -> Result<Option<(PrizeKind, Option<i64>)>, LedgerError> {
    let damaged = |word: &str| LedgerError::Damaged(format!("prize_kind {word}"));
    let kind = row.text(at)?.map(|word| PrizeKind::parse(word).ok_or_else(|| damaged(word))).transpose()?;
    let amount = row.int(at + 1)?;
    Ok(kind.map(|kind| (kind, amount)))
}

fn read(row: &dyn Row) -> Result<Answer, LedgerError> {
    let result = row.text_of(2)?;
    let text = |at: usize| -> Result<Option<String>, LedgerError> { Ok(row.text(at)?.map(ToOwned::to_owned)) };
    let region = text(7)?;
    Ok(Answer {
        received: row.int_of(0)?,
        desk: u8::try_from(row.int_of(1)?).map_err(|_| LedgerError::Damaged("answers.desk".to_owned()))?,
        result: ScanResult::parse(result).ok_or_else(|| LedgerError::Damaged(format!("answers.told {result}")))?,
        code: text(3)?,
        campaign: text(4)?,
        prize: text(5)?,
        granted: granted(row, 10)?,
        claim: row.int(6)?.map(|time| (time, region)),
        whose: text(8)?.zip(text(9)?),
    })
}
