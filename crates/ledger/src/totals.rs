//! Sums over all days, for a page or a table on a terminal.

use domain::model::fact::{Metric, Scope};

use crate::error::LedgerError;
use crate::reader::Ledger;
use crate::store::sums::{SUM, total};
use crate::store::{Store, all, first};

/// Number of stores, and of guides, in a ranking; lower ranks are left out.
const RANKS: usize = 5;

/// A merchant's sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The sums of the merchant's own scope that are not 0, in the order of the metrics.
    pub sums: Vec<(Metric, i128)>,
    /// The stores with the highest gmv, minor units, in falling order.
    pub stores: Vec<(String, i128)>,
    /// The guides with the highest commission, minor units, in falling order.
    pub guides: Vec<(String, i128)>,
}

impl Totals {
    /// The sum of a metric.
    #[must_use]
    pub fn sum(&self, metric: Metric) -> i128 {
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
        let sql =
            format!("SELECT metric, {SUM} FROM counters WHERE merchant = $1 AND scope = 'merchant' GROUP BY metric");
        let rows = all(store, &sql, &[merchant.into()], |row| Ok((Metric::parse(row.text_of(0)?), total(row, 1)?)))?;
        let mut sums: Vec<(Metric, i128)> =
            rows.into_iter().filter_map(|(metric, sum)| Some((metric?, sum))).filter(|(_, sum)| *sum != 0).collect();
        sums.sort_unstable();
        let sql =
            format!("SELECT {SUM} FROM counters WHERE merchant = $1 AND scope = 'kind' AND metric = 'commission'");
        let commission = first(store, &sql, &[merchant.into()], |row| total(row, 0))?.unwrap_or_default();
        // Commission has no counter of the merchant's scope; the scope `kind` holds each sum once.
        sums.extend((commission != 0).then_some((Metric::Commission, commission)));
        Ok(Totals {
            sums,
            stores: ranked(store, merchant, Scope::Store, Metric::Gmv)?,
            guides: ranked(store, merchant, Scope::Guide, Metric::Commission)?,
        })
    }
}

/// The keys with the highest sums above 0, in falling order.
fn ranked(
    store: &mut dyn Store,
    merchant: &str,
    scope: Scope,
    metric: Metric,
) -> Result<Vec<(String, i128)>, LedgerError> {
    let sql = format!(
        "SELECT key, {SUM} FROM counters WHERE merchant = $1 AND scope = $2 AND metric = $3 GROUP BY key ORDER BY key"
    );
    let params = [merchant.into(), scope.as_str().into(), metric.as_str().into()];
    let mut top: Vec<(String, i128)> = Vec::with_capacity(RANKS + 1);
    store.select(&sql, &params, &mut |row| {
        let sum = total(row, 1)?;
        // Behind equal sums: their keys come first.
        let at = top.partition_point(|(_, other)| *other >= sum);
        if sum > 0 && at < RANKS {
            top.insert(at, (row.text_of(0)?.to_owned(), sum));
            top.truncate(RANKS);
        }
        Ok(())
    })?;
    Ok(top)
}
