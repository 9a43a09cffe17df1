//! The history of one code, for `explain code`.

use std::io::Write;

use domain::model::time::time_text;
use serde_json::json;

use crate::error::LedgerError;
use crate::reader::Ledger;
use crate::segments::{SegmentKind, read, values};
use crate::store::{Row, Store, all, first, reading};

const MERCHANTS: &str = "SELECT DISTINCT merchant FROM rules ORDER BY 1";
const ALARM: &str = "SELECT time, shoppers FROM alarms WHERE merchant = $1 AND code = $2";
const AWARDS: &str = "SELECT time, shopper, campaign, entry, drawn, COALESCE(awarded, 'thanks'),
  (SELECT substr(sha256, 1, 12) FROM rules r WHERE r.version = a.version), amount FROM awards a WHERE merchant = $1 AND code = $2
  AND (CAST($3 AS TEXT) IS NULL OR shopper = $3) ORDER BY time, campaign, shopper, entry";

/// What is known of a code of one merchant.
struct History {
    /// Of an item code: its number of scans, its state.
    item: Option<Item>,
    /// Its scans in the order of the log, each with its shopper. All facts of a code are in one facts partition.
    scans: Vec<(String, Vec<u8>)>,
}

struct Item {
    kind: &'static str,
    scans: u64,
    first_time: String,
    first_region: Option<String>,
}

impl History {
    /// `None` if the merchant has not seen the code.
    fn read(
        store: &mut dyn Store,
        merchant: &str,
        code: &str,
        shopper: Option<&str>,
    ) -> Result<Option<Self>, LedgerError> {
        let mut key = Vec::new();
        values::put_code_key(merchant, code, &mut key);
        let item = match read::state(store, SegmentKind::Codes, &key)? {
            None => None,
            Some(value) => {
                let (scans, state) = values::code(&value)?;
                Some(Item {
                    kind: state.kind.as_str(),
                    scans,
                    first_time: time_text(state.first_time),
                    first_region: state.first_region.map(ToOwned::to_owned),
                })
            }
        };
        let mut scans = Vec::new();
        for (key, value) in read::with_prefix(store, SegmentKind::Scans, &key)? {
            let ([.., by], position) = values::texts::<3>(SegmentKind::Scans, &key)?;
            scans.push((position.to_vec(), by.to_owned(), value));
        }
        if item.is_none() && scans.is_empty() {
            let sql = "SELECT version FROM awards WHERE merchant = $1 AND code = $2 LIMIT 1";
            if first(store, sql, &[merchant.into(), code.into()], |row| row.int_of(0))?.is_none() {
                return Ok(None);
            }
        }
        scans.retain(|(_, by, _)| shopper.is_none_or(|shopper| shopper == by));
        scans.sort_unstable();
        Ok(Some(Self { item, scans: scans.into_iter().map(|(_, by, value)| (by, value)).collect() }))
    }
}

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
            let mut all = read::in_order(store, SegmentKind::Scans)?;
            let mut found = Ok(());
            let mut entry = |key: &[u8], value: &[u8]| {
                let ([of, code, shopper], _) = values::texts(SegmentKind::Scans, key)?;
                let scan = values::scan(value)?;
                if of == merchant
                    && scan.campaign == Some(campaign)
                    && let Some(n) = scan.entry
                {
                    each(code, shopper, n);
                }
                Ok(())
            };
            while found.is_ok() && all.next(store, &mut |(key, value)| found = entry(key, value))? {}
            found
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
            let mut is_known = false;
            for merchant in &all(store, MERCHANTS, &[], |row| Ok(row.text_of(0)?.to_owned()))? {
                let Some(history) = History::read(store, merchant, code, shopper)? else { continue };
                is_known = true;
                match format {
                    HistoryFormat::Text => as_text(store, &history, (merchant, code), shopper, to)?,
                    HistoryFormat::Json => as_json(store, &history, (merchant, code), shopper, to)?,
                }
            }
            Ok(is_known)
        })
    }
}

fn as_json(
    store: &mut dyn Store,
    history: &History,
    (merchant, code): (&str, &str),
    shopper: Option<&str>,
    to: &mut dyn Write,
) -> Result<(), LedgerError> {
    let of_code = [merchant.into(), code.into()];
    let alarm = first(store, ALARM, &of_code, |row| Ok(json!({ "time": time(row, 0)?, "shoppers": row.int_of(1)? })))?;
    let item = history.item.as_ref();
    // A history may be long, so it is written row by row.
    write!(
        to,
        r#"{{"merchant":{},"code":{},"kind":{},"scans":{},"first_time":{},"first_region":{},"alarm":{},"seen":["#,
        json!(merchant),
        json!(code),
        json!(item.map(|item| item.kind)),
        json!(item.map(|item| item.scans)),
        json!(item.map(|item| &item.first_time)),
        json!(item.and_then(|item| item.first_region.as_ref())),
        json!(alarm),
    )?;
    let params = [merchant.into(), code.into(), shopper.into()];
    let mut comma = "";
    for (by, value) in &history.scans {
        let scan = values::scan(value)?;
        let scan = json!({
            "time": time_text(scan.time), "shopper": by, "region": scan.region, "outcome": scan.outcome.as_str(),
            "campaign": scan.campaign, "entry": scan.entry,
        });
        write!(to, "{}{scan}", std::mem::replace(&mut comma, ","))?;
    }
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
    history: &History,
    (merchant, code): (&str, &str),
    shopper: Option<&str>,
    to: &mut dyn Write,
) -> Result<(), LedgerError> {
    let item = history.item.as_ref().map(|Item { kind, scans, first_time, first_region }| {
        let at = first_region.as_ref().map_or_else(|| "without a region".to_owned(), |region| format!("in {region}"));
        let times = if *scans == 1 { "time" } else { "times" };
        format!("{merchant}: code {code}, {kind}, scanned {scans} {times}, first at {first_time} {at}")
    });
    let none =
        || format!("{merchant}: code {code}, not a one-item code: its scans are in the counters, its entries here");
    writeln!(to, "{}", item.unwrap_or_else(none))?;
    let alarm = first(store, ALARM, &[merchant.into(), code.into()], |row| Ok((time(row, 0)?, row.int_of(1)?)))?;
    if let Some((at, shoppers)) = alarm {
        writeln!(to, "  {at}  alarm: {shoppers} distinct shoppers have scanned it; it may be copied")?;
    }
    let params = [merchant.into(), code.into(), shopper.into()];
    for (by, value) in &history.scans {
        let scan = values::scan(value)?;
        let region = scan.region.map_or_else(String::new, |region| format!(" in {region}"));
        let entry = match (scan.campaign, scan.entry) {
            (Some(campaign), Some(n)) => format!(", entry {n} of {campaign}"),
            _ => String::new(),
        };
        let (at, outcome) = (time_text(scan.time), scan.outcome.as_str());
        writeln!(to, "  {at}  scan by {by}{region}: {outcome}{entry}")?;
    }
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
