//! Limits of time and of size.

use std::time::Duration;

/// Timeout of a commit's statement and of a query; after it, the server ends the statement.
pub(super) const STATEMENT: Duration = Duration::from_secs(60);
/// Timeout of one step of an export, of which the first sorts the table; after it, the server ends the export.
pub(super) const EXPORT_STEP: Duration = Duration::from_secs(600);
/// Timeout of a migration, which may rewrite tables of any size; after it, the server ends the migration.
pub(super) const MIGRATION: Duration = Duration::from_secs(24 * 3600);
/// Extra time after a statement's timeout, so that the server reports it first; after it, the client drops the connection.
pub(super) const SERVER_FIRST: Duration = Duration::from_secs(5);
/// Maximum wait for a lock; after it, the statement fails. A lock is held for one commit, and the server ends a paused holder
/// after `IDLE_IN_TRANSACTION`, which is shorter.
pub(super) const LOCK: Duration = Duration::from_secs(20);
/// Maximum idle time within a transaction; after it, the server ends the session.
pub(super) const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);
/// Maximum wait of a migration for exports to end, while all other sessions wait for the migration; after it, the migration
/// fails.
pub(super) const MIGRATION_LOCK: Duration = Duration::from_secs(300);
/// Maximum idle time within an export, whose reader may pause; after it, the server ends the session.
pub(super) const IDLE_IN_EXPORT: Duration = Duration::from_secs(3600);
/// Maximum number of cached prepared statements, more than the ledger has; beyond it, the cache is emptied.
pub(super) const STATEMENTS_MAX: usize = 256;
/// Number of buffered rows from which on they are sent.
pub(super) const ROWS_SENT: usize = 16_384;
/// Size of buffered rows from which on they are sent, bytes.
pub(super) const BYTES_SENT: usize = 8 * 1024 * 1024;
/// Number of rows of one fetch; the rest waits for the next fetch.
pub(super) const ROWS_FETCHED: usize = 2_000;
