//! Sums of 128 bits in columns of 64: a counter is `carry` × 10¹⁸ + `value`.
//!
//! Neither database has an integer of 128 bits that adds and sorts as one, and a sum beyond 64 bits becomes a floating-point
//! number in SQLite and an error in Postgres. `value` alone is the sum as long as that is below 10¹⁸, so that queries of people
//! stay simple.

use crate::error::LedgerError;
use crate::store::Row;

/// What one unit of `carry` is worth.
const CARRY: i128 = 1_000_000_000_000_000_000;
/// Half of its digits: both halves of `value` can be added up over 10⁹ rows.
const HALF: i128 = 1_000_000_000;

/// [`SUM`] as a literal.
macro_rules! sum {
    () => {
        "CAST(COALESCE(SUM(carry), 0) AS BIGINT), CAST(COALESCE(SUM(value / 1000000000), 0) AS BIGINT),
         CAST(COALESCE(SUM(value % 1000000000), 0) AS BIGINT)"
    };
}
pub(crate) use sum;

/// Adds up counters, as three columns that [`total`] joins. Both databases divide towards zero.
pub(crate) const SUM: &str = sum!();
/// Number of columns of [`SUM`].
pub(crate) const SUM_COLUMNS: usize = 3;

/// `carry` and `value` of a sum.
pub(crate) fn divided(sum: i128) -> (i64, i64) {
    let part = |part: i128| i64::try_from(part).expect("a batch has fewer than 10⁹ facts, each of 64 bits");
    (part(sum / CARRY), part(sum % CARRY))
}

/// The sum in the three columns of [`SUM`], from column `at` on.
pub(crate) fn total(row: &dyn Row, at: usize) -> Result<i128, LedgerError> {
    let part = |at| row.int_of(at).map(i128::from);
    Ok(part(at)? * CARRY + part(at + 1)? * HALF + part(at + 2)?)
}
