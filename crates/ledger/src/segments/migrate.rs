//! Moves the rows of older schemas into segments: `seen`, `codes` and `answers` of schema 6.

use std::collections::BTreeMap;

use domain::frame::encode_into;
use domain::model::code::Kind as CodeKind;
use domain::model::fact::{Outcome, ScanResult};
use domain::model::rules::PrizeKind;

use super::buffer::Buffer;
use super::values::{FactPosition, StoredAnswer, StoredClaim, StoredCode, StoredScan, put_code_key, put_scan_key};
use super::{ALWAYS, SegmentKind, add};
use crate::error::LedgerError;
use crate::store::{Row, Store};

/// Number of rows that become one segment: some tens of MB while they are moved.
const ROWS_MOVED: i64 = 100_000;
/// The facts partition that owns what was moved.
const OWNER: u16 = 0;
/// The position of what was moved without one: before all others.
const BEFORE: FactPosition = (0, 0);

const CODES: &str = "SELECT merchant, code, kind, scans, first_time, first_region FROM codes
  WHERE (merchant, code) > ($1, $2) ORDER BY merchant, code LIMIT $3";
const SEEN: &str =
    "SELECT merchant, code, shopper, place, item, time, region, outcome, campaign, entry, event FROM seen
  WHERE (merchant, code, shopper, place, item) > ($1, $2, $3, $4, $5)
  ORDER BY merchant, code, shopper, place, item LIMIT $6";
const ANSWERS: &str =
    "SELECT hour, event, received, desk, told, code, campaign, prize, claim_time, claim_region, merchant,
  shopper, prize_kind, amount FROM answers WHERE (hour, event) > ($1, $2) ORDER BY hour, event LIMIT $3";

/// Moves all rows, within the transaction that changes the schema.
pub(crate) fn move_rows(store: &mut dyn Store) -> Result<(), LedgerError> {
    move_codes(store)?;
    move_scans(store)?;
    move_answers(store)
}

fn move_codes(store: &mut dyn Store) -> Result<(), LedgerError> {
    let mut last = (String::new(), String::new());
    loop {
        let mut codes = Buffer::default();
        let params = [last.0.as_str().into(), last.1.as_str().into(), ROWS_MOVED.into()];
        let mut next = None;
        store.select(CODES, &params, &mut |row| {
            let (merchant, code) = (row.text_of(0)?, row.text_of(1)?);
            let kind = parsed("codes.kind", row.text_of(2)?, CodeKind::parse)?;
            let state = StoredCode { kind, first_time: row.int_of(4)?, first_region: row.text(5)? };
            let scans = row.int_of(3)?.cast_unsigned();
            codes.push(|key| put_code_key(merchant, code, key), |value| state.put(scans, value));
            next = Some((merchant.to_owned(), code.to_owned()));
            Ok(())
        })?;
        let Some(next) = next else { return Ok(()) };
        add(store, OWNER, SegmentKind::Codes, ALWAYS, &[&codes])?;
        last = next;
    }
}

fn move_scans(store: &mut dyn Store) -> Result<(), LedgerError> {
    let mut last = ([String::new(), String::new(), String::new()], [i64::MIN; 2]);
    loop {
        let (mut scans, mut claims) = (Buffer::default(), Buffer::default());
        let ([merchant, code, shopper], [place, item]) = &last;
        let params = [
            merchant.as_str().into(),
            code.as_str().into(),
            shopper.as_str().into(),
            (*place).into(),
            (*item).into(),
            ROWS_MOVED.into(),
        ];
        let mut next = None;
        store.select(SEEN, &params, &mut |row| {
            let whose = [row.text_of(0)?, row.text_of(1)?, row.text_of(2)?];
            let [merchant, code, shopper] = whose;
            let at = [row.int_of(3)?, row.int_of(4)?];
            let position = (at[0].cast_unsigned(), at[1]);
            let outcome = parsed("seen.outcome", row.text_of(7)?, Outcome::parse)?;
            let scan = StoredScan {
                event: event(row, 10, "seen.event")?,
                time: row.int_of(5)?,
                region: row.text(6)?,
                outcome,
                campaign: row.text(8)?,
                entry: row.int(9)?.map(i64::cast_unsigned),
            };
            scans.push(|key| put_scan_key((merchant, code, shopper), position, key), |value| encode_into(value, &scan));
            if outcome == Outcome::Entered {
                let claim = StoredClaim { time: scan.time, region: scan.region };
                claims.push(|key| put_code_key(merchant, code, key), |value| claim.put(position, value));
            }
            next = Some((whose.map(ToOwned::to_owned), at));
            Ok(())
        })?;
        let Some(next) = next else { return Ok(()) };
        add(store, OWNER, SegmentKind::Scans, ALWAYS, &[&scans])?;
        add(store, OWNER, SegmentKind::Claims, ALWAYS, &[&claims])?;
        last = next;
    }
}

fn move_answers(store: &mut dyn Store) -> Result<(), LedgerError> {
    let mut last = (i64::MIN, Vec::new());
    loop {
        let mut hours: BTreeMap<i64, Buffer> = BTreeMap::new();
        let params = [last.0.into(), last.1.as_slice().into(), ROWS_MOVED.into()];
        let mut next = None;
        store.select(ANSWERS, &params, &mut |row| {
            let hour = row.int_of(0)?;
            let key = event(row, 1, "answers.event")?.to_be_bytes();
            let claim_region = row.text(9)?;
            let desk = u8::try_from(row.int_of(3)?).map_err(|_| LedgerError::Damaged("answers.desk".to_owned()))?;
            let kind = row.text(12)?.map(|word| parsed("answers.prize_kind", word, PrizeKind::parse)).transpose()?;
            let amount = row.int(13)?;
            let answer = StoredAnswer {
                result: parsed("answers.told", row.text_of(4)?, ScanResult::parse)?,
                code: row.text(5)?,
                campaign: row.text(6)?,
                prize: row.text(7)?,
                granted: kind.map(|kind| (kind, amount)),
                claim: row.int(8)?.map(|time| (time, claim_region)),
                whose: row.text(10)?.zip(row.text(11)?),
            };
            let rank = (row.int_of(2)?, desk);
            let answers = hours.entry(hour).or_default();
            answers.push(|to| to.extend_from_slice(&key), |value| answer.put(rank, BEFORE, value));
            next = Some((hour, key.to_vec()));
            Ok(())
        })?;
        let Some(next) = next else { return Ok(()) };
        for (hour, answers) in &hours {
            add(store, OWNER, SegmentKind::Answers, *hour, &[answers])?;
        }
        last = next;
    }
}

fn event(row: &dyn Row, at: usize, what: &str) -> Result<u128, LedgerError> {
    let bytes = row.bytes(at)?.and_then(|bytes| bytes.try_into().ok());
    bytes.map(u128::from_be_bytes).ok_or_else(|| LedgerError::Damaged(what.to_owned()))
}

fn parsed<T>(what: &str, word: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, LedgerError> {
    parse(word).ok_or_else(|| LedgerError::Damaged(format!("{what} {word}")))
}
