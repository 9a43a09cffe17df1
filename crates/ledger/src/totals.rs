//! Sums over all days: what a page or a table on a terminal shows.

use domain::model::fact::{Metric, Scope};
use rusqlite::{Connection, params};

use crate::schema::LedgerError;

/// So many of the best are told.
const RANKS: u32 = 5;

/// A merchant's sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// At the merchant's own scope, what is not 0, in the order of the metrics.
    pub sums: Vec<(Metric, i64)>,
    /// The stores with most gmv, and the guides with most commission.
    pub stores: Vec<(String, i64)>,
    pub guides: Vec<(String, i64)>,
}

impl Totals {
    /// The sum of a metric.
    #[must_use]
    pub fn sum(&self, metric: Metric) -> i64 {
        self.sums.iter().find(|(m, _)| *m == metric).map_or(0, |(_, sum)| *sum)
    }
}

/// Adds up.
///
/// # Errors
/// The database refuses.
pub fn totals(db: &Connection, merchant: &str) -> Result<Totals, LedgerError> {
    let mut sum = db.prepare_cached(
        "SELECT metric, SUM(value) FROM counters WHERE merchant = ?1 AND scope = 'merchant' GROUP BY metric",
    )?;
    let rows = sum.query_map([merchant], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let mut sums = Vec::new();
    for row in rows {
        let (metric, sum) = row?;
        sums.extend(Metric::parse(&metric).filter(|_| sum != 0).map(|metric| (metric, sum)));
    }
    sums.sort_unstable();
    let commission: i64 = db
        .prepare_cached(
            "SELECT COALESCE(SUM(value), 0) FROM counters WHERE merchant = ?1 AND scope = 'kind' AND metric = 'commission'",
        )?
        .query_row([merchant], |row| row.get(0))?;
    // Attribution is counted apart; by kind each sum stands once.
    sums.extend((commission != 0).then_some((Metric::Commission, commission)));
    Ok(Totals {
        sums,
        stores: ranked(db, merchant, Scope::Store, Metric::Gmv)?,
        guides: ranked(db, merchant, Scope::Guide, Metric::Commission)?,
    })
}

fn ranked(db: &Connection, merchant: &str, scope: Scope, metric: Metric) -> Result<Vec<(String, i64)>, LedgerError> {
    let mut select = db.prepare_cached(
        "SELECT key, SUM(value) AS sum FROM counters WHERE merchant = ?1 AND scope = ?2 AND metric = ?3
         GROUP BY key HAVING sum > 0 ORDER BY sum DESC, key LIMIT ?4",
    )?;
    let rows = select
        .query_map(params![merchant, scope.as_str(), metric.as_str(), RANKS], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
