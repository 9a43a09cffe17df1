//! Sums over all days, for a page or a table on a terminal.

use domain::model::fact::{Metric, Scope};

use crate::error::LedgerError;
use crate::reader::Ledger;
use crate::store::{Store, all, first};

/// Number of stores, and of guides, in a ranking; lower ranks are left out.
const RANKS: i64 = 5;

/// A merchant's sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The sums of the merchant's own scope that are not 0, in the order of the metrics.
    pub sums: Vec<(Metric, i64)>,
    /// The stores with the highest gmv, minor units, in falling order.
    pub stores: Vec<(String, i64)>,
    /// The guides with the highest commission, minor units, in falling order.
    pub guides: Vec<(String, i64)>,
}

impl Totals {
    /// The sum of a metric.
    #[must_use]
    pub fn sum(&self, metric: Metric) -> i64 {
        self.sums.iter().find(|(m, _)| *m == metric).map_or(0, |(_, sum)| *sum)
    }
}

impl Ledger {
    /// Adds up a merchant's counters.
    ///
    /// # Errors
    /// The database fails.
    pub fn totals(&mut self, merchant: &str) -> Result<Totals, LedgerError> {
        let store = self.store.as_mut();
        let sql = "SELECT metric, CAST(SUM(value) AS BIGINT) FROM counters WHERE merchant = $1 AND scope = 'merchant'
          GROUP BY metric";
        let rows = all(store, sql, &[merchant.into()], |row| Ok((Metric::parse(row.text_of(0)?), row.int_of(1)?)))?;
        let mut sums: Vec<(Metric, i64)> =
            rows.into_iter().filter_map(|(metric, sum)| Some((metric?, sum))).filter(|(_, sum)| *sum != 0).collect();
        sums.sort_unstable();
        let sql = "SELECT CAST(COALESCE(SUM(value), 0) AS BIGINT) FROM counters
          WHERE merchant = $1 AND scope = 'kind' AND metric = 'commission'";
        let commission = first(store, sql, &[merchant.into()], |row| row.int_of(0))?.unwrap_or_default();
        // Commission has no counter of the merchant's scope; the scope `kind` holds each sum once.
        sums.extend((commission != 0).then_some((Metric::Commission, commission)));
        Ok(Totals {
            sums,
            stores: ranked(store, merchant, Scope::Store, Metric::Gmv)?,
            guides: ranked(store, merchant, Scope::Guide, Metric::Commission)?,
        })
    }
}

fn ranked(
    store: &mut dyn Store,
    merchant: &str,
    scope: Scope,
    metric: Metric,
) -> Result<Vec<(String, i64)>, LedgerError> {
    let sql = "SELECT key, CAST(SUM(value) AS BIGINT) FROM counters WHERE merchant = $1 AND scope = $2 AND metric = $3
      GROUP BY key HAVING SUM(value) > 0 ORDER BY SUM(value) DESC, key LIMIT $4";
    let params = [merchant.into(), scope.as_str().into(), metric.as_str().into(), RANKS.into()];
    all(store, sql, &params, |row| Ok((row.text_of(0)?.to_owned(), row.int_of(1)?)))
}
