//! The keys and values of segments.
//!
//! The parts of a key end in a NUL, which no text of an event has; so keys sort as their parts do. A value begins with what it is
//! compared by, big-endian, and ends with an encoded struct of this module. They are stored: fields and their order never change.

use domain::frame::{decode, encode_into};
use domain::model::code::Kind as CodeKind;
use domain::model::fact::{Outcome, ScanResult};
use domain::model::rules::PrizeKind;
use domain::model::time::Millis;
use serde::{Deserialize, Serialize};

use super::SegmentKind;
use crate::error::LedgerError;

/// Bytes before an answer: `received`, the desk, and the inverted position of its fact.
const ANSWER_RANK: usize = 9 + POSITION;
/// Bytes before the state of a code: its number of scans.
const CODE_RANK: usize = 8;
/// Bytes before a claim, and at the end of the key of a scan: offset and item of its fact.
const POSITION: usize = 16;

/// The position of a fact in its facts partition: the offset of its record, and its index there.
pub(crate) type FactPosition = (u64, i64);

/// An answer, after its `received`, its desk, and its inverted position: of two of one millisecond the earlier is the greater.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct StoredAnswer<'a> {
    pub(crate) result: ScanResult,
    #[serde(borrow)]
    pub(crate) code: Option<&'a str>,
    pub(crate) campaign: Option<&'a str>,
    pub(crate) prize: Option<&'a str>,
    pub(crate) granted: Option<(PrizeKind, Option<i64>)>,
    pub(crate) claim: Option<(Millis, Option<&'a str>)>,
    pub(crate) whose: Option<(&'a str, &'a str)>,
}

/// The state of an item code, after its number of scans.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct StoredCode<'a> {
    pub(crate) kind: CodeKind,
    pub(crate) first_time: Millis,
    #[serde(borrow)]
    pub(crate) first_region: Option<&'a str>,
}

/// The entry that claimed a code, after its inverted position: the earliest is the greatest.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct StoredClaim<'a> {
    pub(crate) time: Millis,
    #[serde(borrow)]
    pub(crate) region: Option<&'a str>,
}

/// A scan of a code that draws, or of an item code.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct StoredScan<'a> {
    pub(crate) event: u128,
    pub(crate) time: Millis,
    #[serde(borrow)]
    pub(crate) region: Option<&'a str>,
    pub(crate) outcome: Outcome,
    pub(crate) campaign: Option<&'a str>,
    pub(crate) entry: Option<u64>,
}

impl StoredAnswer<'_> {
    pub(crate) fn put(&self, (received, desk): (Millis, u8), position: FactPosition, to: &mut Vec<u8>) {
        to.extend_from_slice(&sortable(received));
        to.push(desk);
        to.extend(position_bytes(position).map(|byte| !byte));
        encode_into(to, self);
    }
}

impl StoredCode<'_> {
    pub(crate) fn put(&self, scans: u64, to: &mut Vec<u8>) {
        to.extend_from_slice(&scans.to_be_bytes());
        encode_into(to, self);
    }
}

impl StoredClaim<'_> {
    pub(crate) fn put(&self, position: FactPosition, to: &mut Vec<u8>) {
        to.extend(position_bytes(position).map(|byte| !byte));
        encode_into(to, self);
    }
}

/// The key of a code, or the beginning of the keys of what it has.
pub(crate) fn put_code_key(merchant: &str, code: &str, to: &mut Vec<u8>) {
    put_texts(&[merchant, code], to);
}

/// The key of a scan.
pub(crate) fn put_scan_key((merchant, code, shopper): (&str, &str, &str), position: FactPosition, to: &mut Vec<u8>) {
    put_texts(&[merchant, code, shopper], to);
    to.extend_from_slice(&position_bytes(position));
}

/// Texts of a key.
pub(crate) fn put_texts(texts: &[&str], to: &mut Vec<u8>) {
    for text in texts {
        to.extend_from_slice(text.as_bytes());
        to.push(0);
    }
}

/// A number as bytes that sort as it does.
fn sortable(number: i64) -> [u8; 8] {
    (number.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn from_sortable(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}

fn position_bytes((offset, item): FactPosition) -> [u8; POSITION] {
    (u128::from(offset) << 64 | u128::from(item.cast_unsigned())).to_be_bytes()
}

fn damaged(kind: SegmentKind) -> LedgerError {
    LedgerError::Damaged(format!("segment_blocks: a pair of {}", kind.as_str()))
}

/// `received`, desk and answer.
pub(crate) fn answer(value: &[u8]) -> Result<((Millis, u8), StoredAnswer<'_>), LedgerError> {
    let bad = || damaged(SegmentKind::Answers);
    let (rank, rest) = value.split_first_chunk::<ANSWER_RANK>().ok_or_else(bad)?;
    let (received, rank) = rank.split_first_chunk().ok_or_else(bad)?;
    Ok(((from_sortable(*received), rank[0]), decode(rest).map_err(|_| bad())?))
}

/// The number of scans and the state of a code.
pub(crate) fn code(value: &[u8]) -> Result<(u64, StoredCode<'_>), LedgerError> {
    let bad = || damaged(SegmentKind::Codes);
    let (scans, rest) = value.split_first_chunk::<CODE_RANK>().ok_or_else(bad)?;
    Ok((u64::from_be_bytes(*scans), decode(rest).map_err(|_| bad())?))
}

/// A claim.
pub(crate) fn claim(value: &[u8]) -> Result<StoredClaim<'_>, LedgerError> {
    let bad = || damaged(SegmentKind::Claims);
    let (_, rest) = value.split_first_chunk::<POSITION>().ok_or_else(bad)?;
    decode(rest).map_err(|_| bad())
}

/// The texts of a key of `N` texts, and the position after them.
pub(crate) fn texts<const N: usize>(kind: SegmentKind, key: &[u8]) -> Result<([&str; N], &[u8]), LedgerError> {
    let bad = || damaged(kind);
    let (mut texts, mut rest) = ([""; N], key);
    for text in &mut texts {
        let end = rest.iter().position(|&byte| byte == 0).ok_or_else(bad)?;
        *text = std::str::from_utf8(&rest[..end]).map_err(|_| bad())?;
        rest = &rest[end + 1..];
    }
    Ok((texts, rest))
}

/// A scan.
pub(crate) fn scan(value: &[u8]) -> Result<StoredScan<'_>, LedgerError> {
    decode(value).map_err(|_| damaged(SegmentKind::Scans))
}
