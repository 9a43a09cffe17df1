//! How long anything may take, and how much goes at once.

use std::time::Duration;

/// A statement of a commit, and a question, may take so long.
pub(super) const STATEMENT: Duration = Duration::from_secs(60);
/// One step of an export may take so long: the first one sorts the table.
pub(super) const EXPORT_STEP: Duration = Duration::from_secs(600);
/// A migration may rewrite tables of any size.
pub(super) const MIGRATION: Duration = Duration::from_secs(24 * 3600);
/// The server ends a statement at its limit and says so; only if it does not, we do.
pub(super) const SERVER_FIRST: Duration = Duration::from_secs(5);
/// Whoever has a lock has it for one commit; a process that is paused while it holds one is cut off by the server after
/// `IDLE_IN_TRANSACTION`, so that who waits for it gets it.
pub(super) const LOCK: Duration = Duration::from_secs(20);
pub(super) const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);
/// Migrations wait for exports to end, with everybody else behind them.
pub(super) const MIGRATION_LOCK: Duration = Duration::from_secs(300);
/// Whoever reads an export may stop to think.
pub(super) const IDLE_IN_EXPORT: Duration = Duration::from_secs(3600);
/// Prepared statements that are kept; more than there are, unless there is a mistake.
pub(super) const STATEMENTS_MAX: usize = 256;
/// Rows that are sent, and fetched, at once.
pub(super) const ROWS_SENT: usize = 16_384;
pub(super) const BYTES_SENT: usize = 8 * 1024 * 1024;
pub(super) const ROWS_FETCHED: usize = 2_000;
