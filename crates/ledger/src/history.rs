//! The history of one code, for `explain code`.

use std::io::Write;

use domain::model::time::time_text;
use serde_json::json;

use crate::error::LedgerError;
use crate::reader::Ledger;
use crate::store::{Row, Store, all, first, reading};

const MERCHANTS: &str = "SELECT merchant FROM codes WHERE code = $1 UNION SELECT merchant FROM seen WHERE code = $1
  UNION SELECT merchant FROM awards WHERE code = $1 ORDER BY 1";
const ITEM: &str = "SELECT kind, scans, first_time, first_region FROM codes WHERE merchant = $1 AND code = $2";
/// In the order of the log: all facts of a code are in one partition of the code desk.
const SEEN: &str = "SELECT time, shopper, region, outcome, campaign, entry FROM seen WHERE merchant = $1 AND code = $2
  AND (CAST($3 AS TEXT) IS NULL OR shopper = $3) ORDER BY place, item";
const ALARM: &str = "SELECT time, shoppers FROM alarms WHERE merchant = $1 AND code = $2";
const AWARDS: &str = "SELECT time, shopper, campaign, entry, drawn, COALESCE(awarded, 'thanks'),
  (SELECT substr(sha256, 1, 12) FROM rules r WHERE r.version = a.version), amount FROM awards a WHERE merchant = $1 AND code = $2
  AND (CAST($3 AS TEXT) IS NULL OR shopper = $3) ORDER BY time, campaign, shopper, entry";
const ENTRIES: &str =
    "SELECT code, shopper, entry FROM seen WHERE merchant = $1 AND campaign = $2 AND entry IS NOT NULL";

/// How a history is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryFormat {
    /// Lines for people.
    Text,
    /// One JSON object per merchant, each on its line.
    Json,
}

impl Ledger {
    /// Passes every entry into a campaign's draw to `each`, in no order: the code, the shopper, the entry's number. Those of a code
    /// that was claimed already are among them.
    ///
    /// # Errors
    /// The database fails.
    pub fn entries(
        &mut self,
        merchant: &str,
        campaign: &str,
        each: &mut dyn FnMut(&str, &str, u64),
    ) -> Result<(), LedgerError> {
        reading(self.store.as_mut(), |store| {
            store.walk(ENTRIES, &[merchant.into(), campaign.into()], &mut |row| {
                each(row.text_of(0)?, row.text_of(1)?, u64::try_from(row.int_of(2)?).unwrap_or(0));
                Ok(())
            })
        })
    }

    /// Writes a code's history: its kind, each scan in order, each draw. `Ok(false)` if no merchant has seen the code.
    ///
    /// # Errors
    /// The database or the output fails.
    pub fn explain_code(
        &mut self,
        code: &str,
        shopper: Option<&str>,
        format: HistoryFormat,
        to: &mut dyn Write,
    ) -> Result<bool, LedgerError> {
        reading(self.store.as_mut(), |store| {
            let merchants = all(store, MERCHANTS, &[code.into()], |row| Ok(row.text_of(0)?.to_owned()))?;
            for merchant in &merchants {
                match format {
                    HistoryFormat::Text => as_text(store, merchant, code, shopper, to)?,
                    HistoryFormat::Json => as_json(store, merchant, code, shopper, to)?,
                }
            }
            Ok(!merchants.is_empty())
        })
    }
}

fn as_json(
    store: &mut dyn Store,
    merchant: &str,
    code: &str,
    shopper: Option<&str>,
    to: &mut dyn Write,
) -> Result<(), LedgerError> {
    let of_code = [merchant.into(), code.into()];
    let item = first(store, ITEM, &of_code, |row| {
        Ok((row.text_of(0)?.to_owned(), row.int_of(1)?, time(row, 2)?, text(row, 3)?))
    })?;
    let alarm = first(store, ALARM, &of_code, |row| Ok(json!({ "time": time(row, 0)?, "shoppers": row.int_of(1)? })))?;
    let (kind, scans, first_time, first_region) = match item {
        Some((kind, scans, first_time, region)) => (Some(kind), Some(scans), Some(first_time), region),
        None => Default::default(),
    };
    // A history may be long, so it is written row by row.
    write!(
        to,
        r#"{{"merchant":{},"code":{},"kind":{},"scans":{},"first_time":{},"first_region":{},"alarm":{},"seen":["#,
        json!(merchant),
        json!(code),
        json!(kind),
        json!(scans),
        json!(first_time),
        json!(first_region),
        json!(alarm),
    )?;
    let params = [merchant.into(), code.into(), shopper.into()];
    let mut comma = "";
    store.walk(SEEN, &params, &mut |row| {
        let scan = json!({
            "time": time(row, 0)?, "shopper": row.text_of(1)?, "region": text(row, 2)?, "outcome": row.text_of(3)?,
            "campaign": text(row, 4)?, "entry": row.int(5)?,
        });
        Ok(write!(to, "{}{scan}", std::mem::replace(&mut comma, ","))?)
    })?;
    write!(to, r#"],"draws":["#)?;
    comma = "";
    store.walk(AWARDS, &params, &mut |row| {
        let draw = json!({
            "time": time(row, 0)?, "shopper": row.text_of(1)?, "campaign": row.text_of(2)?, "entry": row.int_of(3)?,
            "rules": text(row, 6)?, "drawn": row.text_of(4)?, "awarded": row.text_of(5)?, "amount": row.int(7)?,
        });
        Ok(write!(to, "{}{draw}", std::mem::replace(&mut comma, ","))?)
    })?;
    Ok(writeln!(to, "]}}")?)
}

fn text(row: &dyn Row, at: usize) -> Result<Option<String>, LedgerError> {
    Ok(row.text(at)?.map(ToOwned::to_owned))
}

fn as_text(
    store: &mut dyn Store,
    merchant: &str,
    code: &str,
    shopper: Option<&str>,
    to: &mut dyn Write,
) -> Result<(), LedgerError> {
    let item = first(store, ITEM, &[merchant.into(), code.into()], |row| {
        let at = row.text(3)?.map_or_else(|| "without a region".to_owned(), |region| format!("in {region}"));
        let (kind, scans, first) = (row.text_of(0)?, row.int_of(1)?, time(row, 2)?);
        let times = if scans == 1 { "time" } else { "times" };
        Ok(format!("{merchant}: code {code}, {kind}, scanned {scans} {times}, first at {first} {at}"))
    })?;
    let none =
        || format!("{merchant}: code {code}, not a one-item code: its scans are in the counters, its entries here");
    writeln!(to, "{}", item.unwrap_or_else(none))?;
    let alarm = first(store, ALARM, &[merchant.into(), code.into()], |row| Ok((time(row, 0)?, row.int_of(1)?)))?;
    if let Some((at, shoppers)) = alarm {
        writeln!(to, "  {at}  alarm: {shoppers} distinct shoppers have scanned it; it may be copied")?;
    }
    let params = [merchant.into(), code.into(), shopper.into()];
    store.walk(SEEN, &params, &mut |row| {
        let region = row.text(2)?.map_or_else(String::new, |region| format!(" in {region}"));
        let entry = match (row.text(4)?, row.int(5)?) {
            (Some(campaign), Some(n)) => format!(", entry {n} of {campaign}"),
            _ => String::new(),
        };
        let (by, outcome) = (row.text_of(1)?, row.text_of(3)?);
        Ok(writeln!(to, "  {}  scan by {by}{region}: {outcome}{entry}", time(row, 0)?)?)
    })?;
    store.walk(AWARDS, &params, &mut |row| {
        let (by, campaign, entry) = (row.text_of(1)?, row.text_of(2)?, row.int_of(3)?);
        let (drawn, awarded, rules) = (row.text_of(4)?, row.text_of(5)?, row.text(6)?.unwrap_or_default());
        let (at, amount) = (time(row, 0)?, row.int(7)?.map_or_else(String::new, |amount| format!(" ({amount})")));
        Ok(writeln!(
            to,
            "  {at}  draw of {by}, entry {entry} of {campaign}, rules {rules}: drawn {drawn}, awarded {awarded}{amount}"
        )?)
    })
}

fn time(row: &dyn Row, at: usize) -> Result<String, LedgerError> {
    row.int_of(at).map(time_text)
}
