//! What a scan's sender is told, as the ledger knows it.

use domain::model::fact::Told;
use domain::model::time::{HOUR_MS, Millis};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::schema::LedgerError;
use crate::writer::ANSWERS_KEEP_MS;

/// What became of one scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub received: Millis,
    /// How far down the road: 1 the shopper desk, 2 the code desk, 3 the campaign desk.
    pub desk: u8,
    pub told: Told,
    /// Of entries, and of scans that are told an earlier entry's answer again.
    pub code: Option<String>,
    pub campaign: Option<String>,
    pub prize: Option<String>,
    /// Where another shopper came first: when, and in which region.
    pub claim: Option<(Millis, Option<String>)>,
}

/// The answer to an event, if it is kept.
///
/// # Errors
/// The database refuses.
pub fn answer(db: &Connection, event: u128) -> Result<Option<Answer>, LedgerError> {
    let newest: Option<i64> = db.query_row("SELECT MAX(hour) FROM answers", [], |row| row.get(0))?;
    let Some(newest) = newest else { return Ok(None) };
    let mut select = db.prepare_cached(
        "SELECT received, desk, told, code, campaign, prize, claim_time, claim_region FROM answers
         WHERE hour = ?1 AND event = ?2",
    )?;
    for hour in (newest - ANSWERS_KEEP_MS / HOUR_MS..=newest).rev() {
        let found = select.query_row(params![hour, event.to_be_bytes()], read).optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Answer> {
    let told: String = row.get(2)?;
    let claim: Option<Millis> = row.get(6)?;
    let region = row.get(7)?;
    Ok(Answer {
        received: row.get(0)?,
        desk: row.get(1)?,
        told: Told::parse(&told).ok_or_else(|| rusqlite::Error::InvalidColumnName(format!("answers.told {told}")))?,
        code: row.get(3)?,
        campaign: row.get(4)?,
        prize: row.get(5)?,
        claim: claim.map(|time| (time, region)),
    })
}

/// The entry of a one-item code by a shopper: its event, and its answer as it stands in the tables that keep it for good.
///
/// # Errors
/// The database refuses.
pub fn entry(
    db: &Connection,
    merchant: &str,
    code: &str,
    shopper: &str,
) -> Result<Option<(u128, Answer)>, LedgerError> {
    let mut select = db.prepare_cached(
        "SELECT event, time, outcome, campaign, entry FROM seen WHERE merchant = ?1 AND code = ?2 AND shopper = ?3
         AND outcome IN ('entered', 'already-claimed') ORDER BY rowid LIMIT 1",
    )?;
    let row = |row: &Row<'_>| {
        let outcome: String = row.get(2)?;
        let campaign: Option<String> = row.get(3)?;
        Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, Millis>(1)?, outcome, campaign, row.get::<_, Option<i64>>(4)?))
    };
    let Some((event, received, outcome, campaign, n)) = select.query_row([merchant, code, shopper], row).optional()?
    else {
        return Ok(None);
    };
    let mut award = db.prepare_cached(
        "SELECT awarded FROM awards WHERE merchant = ?1 AND code = ?2 AND shopper = ?3 AND campaign = ?4 AND entry = ?5",
    )?;
    let prize: Option<String> = award
        .query_row(params![merchant, code, shopper, campaign, n], |row| row.get::<_, Option<String>>(0))
        .optional()?
        .flatten();
    let told = match (outcome.as_str(), &prize) {
        ("already-claimed", _) => Told::AlreadyClaimed,
        (_, Some(_)) => Told::Prize,
        (_, None) => Told::Thanks,
    };
    let answer = Answer { received, desk: 3, told, code: Some(code.to_owned()), campaign, prize, claim: None };
    Ok(Some((u128::from_be_bytes(event), answer)))
}
