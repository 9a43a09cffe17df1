//! Rows of `export awards`.

use std::io::Read;

use anyhow::Result;
use domain::model::time::{Millis, parse_rfc3339};
use serde::Deserialize;

use crate::usage;

/// A row, as far as it is recomputed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AwardRow {
    /// From 1; the header is line 1.
    pub(super) line: u64,
    pub(super) rules: String,
    pub(super) code: String,
    pub(super) shopper: String,
    pub(super) entry: u64,
    pub(super) time: Millis,
    pub(super) drawn: String,
    /// A prize's id, or `thanks`.
    pub(super) awarded: String,
    /// Empty for thanks.
    pub(super) prize_kind: String,
    pub(super) amount: Option<i64>,
    pub(super) state: String,
}

impl AwardRow {
    /// What tells it from all other rows of the campaign.
    pub(super) fn key(&self) -> (&str, &str, u64) {
        (&self.code, &self.shopper, self.entry)
    }
}

#[derive(Deserialize)]
struct Cells<'c> {
    merchant: &'c str,
    campaign: &'c str,
    rules: &'c str,
    code: &'c str,
    shopper: &'c str,
    entry: &'c str,
    time: &'c str,
    drawn: &'c str,
    awarded: &'c str,
    prize_kind: &'c str,
    amount: &'c str,
    state: &'c str,
}

/// The rows of one campaign. `name` is the file's, for messages.
///
/// # Errors
/// It is no such table: usage, with the line.
pub(super) fn read(name: &str, file: impl Read, merchant: &str, campaign: &str) -> Result<Vec<AwardRow>> {
    let mut reader = csv::Reader::from_reader(file);
    let fail = |e: &csv::Error| match e.kind() {
        csv::ErrorKind::Deserialize { pos, err } => {
            let line = pos.as_ref().map_or(1, csv::Position::line);
            usage(format!("{name}:{line}: {}; give what `mashang export awards` printed", err.kind()))
        }
        _ => usage(format!("{name}: {e}; give what `mashang export awards` printed")),
    };
    let headers = reader.byte_headers().map_err(|e| fail(&e))?.clone();
    let headers = csv::StringRecord::from_byte_record(headers)
        .map_err(|_| usage(format!("{name}:1: the header is not UTF-8; give what `mashang export awards` printed")))?;
    let mut rows = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|e| fail(&e))? {
        let line = record.position().map_or(0, csv::Position::line);
        let cells: Cells<'_> = record.deserialize(Some(&headers)).map_err(|e| fail(&e))?;
        if cells.merchant != merchant || cells.campaign != campaign {
            continue;
        }
        let wrong = |column: &str, what: &str| usage(format!("{name}:{line}: {column}: {what}"));
        let whole = |column: &str, text: &str| wrong(column, &format!("is {text:?}, not a whole number"));
        let entry = cells.entry.parse().map_err(|_| whole("entry", cells.entry))?;
        let amount = match cells.amount {
            "" => None,
            text => Some(text.parse().map_err(|_| whole("amount", text))?),
        };
        let time = parse_rfc3339(cells.time).map_err(|what| wrong("time", &format!("is {:?}: {what}", cells.time)))?;
        rows.push(AwardRow {
            line,
            rules: cells.rules.to_owned(),
            code: cells.code.to_owned(),
            shopper: cells.shopper.to_owned(),
            entry,
            time,
            drawn: cells.drawn.to_owned(),
            awarded: cells.awarded.to_owned(),
            prize_kind: cells.prize_kind.to_owned(),
            amount,
            state: cells.state.to_owned(),
        });
    }
    Ok(rows)
}
