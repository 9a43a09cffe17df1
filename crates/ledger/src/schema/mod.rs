//! Recognises ledgers and their schemas, creates ledgers, and upgrades older ones to this build's schema.

mod steps;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use self::steps::{SEGMENTS, STEPS};
use crate::error::LedgerError;
use crate::segments::migrate::move_rows;
use crate::store::postgres::{Access, Postgres};
use crate::store::sqlite::Sqlite;
use crate::store::{Dialect, Store, TransactionKind, all, first, transaction};
use crate::url::LedgerUrl;

/// Version of the schema that this build uses. A service upgrades an older ledger when it opens it.
pub const SCHEMA: i64 = STEPS[STEPS.len() - 1].to;
/// Oldest version of the schema that can be upgraded; older ledgers are refused.
const OLDEST: i64 = STEPS[0].to;

/// Maximum time that a writer waits for another connection's lock on a SQLite database; after it, the call fails.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Number of the advisory lock that a process holds while it changes tables in Postgres; the same in all builds.
const MIGRATING: i64 = 0x6d61_7368_616e_6700;

const NEWER: &str = "use the build that wrote it, or make it anew with `run`";
const OLDER: &str = "start `serve` or `ledger` of this build on it, which upgrades it; a ledger that `run` wrote is made anew with `run`";
const OLDEST_MEND: &str = "make it anew with `run`, or from the log if that still holds all records";

/// The command that writes a ledger: `run` makes a new one each time, a service continues the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A run over a file of events.
    Run,
    /// A service or fleet over a log.
    Service,
}

impl Origin {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Service => "serve",
        }
    }
}

/// Creates the tables of a new ledger in SQLite.
///
/// # Errors
/// The database fails.
pub fn create(db: &Connection, origin: Origin) -> Result<(), LedgerError> {
    // One transaction, so that an interrupted creation leaves an empty database.
    let tx = rusqlite::Transaction::new_unchecked(db, rusqlite::TransactionBehavior::Immediate)?;
    tx.execute_batch(&all_steps(Dialect::Sqlite, origin))?;
    Ok(tx.commit()?)
}

/// The statements that make a ledger of this build's schema in an empty database.
fn all_steps(dialect: Dialect, origin: Origin) -> String {
    let mut sql: String = STEPS.iter().map(|step| step.sql(dialect)).collect();
    sql += &format!("INSERT INTO meta VALUES ('schema', '{SCHEMA}'), ('origin', '{}');", origin.as_str());
    sql
}

/// Turns a ledger of an older schema into one of this build's schema.
fn upgrade(store: &mut dyn Store, found: i64) -> Result<(), LedgerError> {
    for step in STEPS.iter().filter(|step| step.to > found) {
        store.batch(step.sql(store.dialect()))?;
        if step.to == SEGMENTS {
            move_rows(store)?;
        }
    }
    store.batch(&format!("UPDATE meta SET value = '{SCHEMA}' WHERE key = 'schema'"))
}

/// Opens a ledger for reading.
pub(crate) fn open_to_read(url: &LedgerUrl) -> Result<Box<dyn Store>, LedgerError> {
    let mut store: Box<dyn Store> = match url {
        LedgerUrl::Sqlite(file) => Box::new(Sqlite::new(open_file(file)?)),
        LedgerUrl::Postgres(url) => Box::new(Postgres::open(url, Access::Read)?),
    };
    let at = url.to_string();
    match found(store.as_mut(), &at)? {
        Some(SCHEMA) => Ok(store),
        Some(other) => Err(other_schema(&at, other)),
        None if store.dialect() == Dialect::Postgres => Err(LedgerError::Empty(at)),
        None => Err(LedgerError::Foreign(at)),
    }
}

fn open_file(file: &Path) -> Result<Connection, LedgerError> {
    let name = || file.display().to_string();
    if !file.exists() {
        return Err(LedgerError::Missing(name()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(file, flags)?)
}

/// Opens the ledger of a service to write it. An empty database becomes a ledger, and an older ledger is upgraded.
pub(crate) fn open_to_write(url: &LedgerUrl) -> Result<Box<dyn Store>, LedgerError> {
    let mut store: Box<dyn Store> = match url {
        LedgerUrl::Sqlite(file) => Box::new(open_file_to_write(file)?),
        LedgerUrl::Postgres(url) => Box::new(Postgres::open(url, Access::Write)?),
    };
    bring_up(store.as_mut(), &url.to_string())?;
    Ok(store)
}

fn open_file_to_write(file: &Path) -> Result<Sqlite, LedgerError> {
    may_serve(file)?;
    let db = Connection::open(file)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    Ok(Sqlite::new(db))
}

/// Upgrades to this build's schema. One process does it, and others wait for it.
fn bring_up(store: &mut dyn Store, at: &str) -> Result<(), LedgerError> {
    if needs_steps(store, at)?.is_none() {
        return Ok(());
    }
    transaction(store, TransactionKind::Migrate, |store| {
        if store.dialect() == Dialect::Postgres {
            store.batch(&format!("SELECT pg_advisory_xact_lock({MIGRATING})"))?;
        }
        // Another process may have upgraded it meanwhile.
        let Some(found) = needs_steps(store, at)? else { return Ok(()) };
        let Some(found) = found else { return store.batch(&all_steps(store.dialect(), Origin::Service)) };
        if store.dialect() == Dialect::Postgres {
            // The lock waits for commits of an older build; its next commit finds the newer schema.
            store.batch("LOCK TABLE progress IN ACCESS EXCLUSIVE MODE")?;
        }
        upgrade(store, found)
    })
}

/// `Some` if the ledger needs an upgrade: the schema that it has, or `None` for an empty database.
fn needs_steps(store: &mut dyn Store, at: &str) -> Result<Option<Option<i64>>, LedgerError> {
    match found(store, at)? {
        Some(SCHEMA) => Ok(None),
        Some(older @ OLDEST..SCHEMA) => Ok(Some(Some(older))),
        Some(other) => Err(other_schema(at, other)),
        None => Ok(Some(None)),
    }
}

/// Checks that the schema is still this build's: a newer build may have upgraded the ledger since it was opened.
pub(crate) fn check_unchanged(store: &mut dyn Store, at: &str) -> Result<(), LedgerError> {
    match schema(store)? {
        Some(SCHEMA) => Ok(()),
        found => Err(other_schema(at, found.unwrap_or_default())),
    }
}

fn schema(store: &mut dyn Store) -> Result<Option<i64>, LedgerError> {
    let read = |row: &dyn crate::store::Row| Ok(row.text_of(0)?.parse().unwrap_or(i64::MAX));
    first(store, "SELECT value FROM meta WHERE key = 'schema'", &[], read)
}

/// The schema of the ledger in a database; `None` if the database has no table.
fn found(store: &mut dyn Store, at: &str) -> Result<Option<i64>, LedgerError> {
    let foreign = || match store.dialect() {
        Dialect::Sqlite => LedgerError::Foreign(at.to_owned()),
        Dialect::Postgres => LedgerError::Occupied(at.to_owned()),
    };
    let foreign = foreign();
    let sql = match store.dialect() {
        Dialect::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'table'",
        Dialect::Postgres => {
            "SELECT CAST(tablename AS TEXT) FROM pg_catalog.pg_tables WHERE schemaname = current_schema()"
        }
    };
    let tables = match all(store, sql, &[], |row| row.text_of(0).map(ToOwned::to_owned)) {
        Ok(tables) => tables,
        Err(LedgerError::Sqlite(error)) if is_no_database(&error) => return Err(foreign),
        Err(other) => return Err(other),
    };
    if tables.is_empty() {
        return Ok(None);
    }
    if !tables.iter().any(|name| name == "meta") {
        return Err(foreign);
    }
    match schema(store) {
        Ok(Some(found)) => Ok(Some(found)),
        Err(error) if error.is_passing() => Err(error),
        Err(LedgerError::Postgres { at, what, .. }) if what.contains("permission denied") => {
            Err(LedgerError::Rights { at, what })
        }
        // A table `meta` of another program.
        Ok(None) | Err(_) => Err(foreign),
    }
}

fn is_no_database(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase)
}

fn other_schema(at: &str, found: i64) -> LedgerError {
    let mend = match found {
        OLDEST..SCHEMA => OLDER,
        ..OLDEST => OLDEST_MEND,
        _ => NEWER,
    };
    LedgerError::Schema { at: at.to_owned(), found: found.to_string(), wanted: SCHEMA, mend }
}

/// Checks that a service may continue the ledger in `file`.
///
/// # Errors
/// The file holds no ledger, one of a schema that cannot be upgraded, or one that `run` wrote.
pub fn may_serve(file: &Path) -> Result<(), LedgerError> {
    if std::fs::metadata(file).map_or(true, |meta| meta.len() == 0) {
        return Ok(());
    }
    let name = file.display().to_string();
    let mut store = Sqlite::new(Connection::open(file)?);
    match needs_steps(&mut store, &name)? {
        // A ledger whose creation was interrupted has no table yet.
        Some(None) => Ok(()),
        _ if origin(&mut store)?.as_deref() == Some(Origin::Service.as_str()) => Ok(()),
        _ => Err(LedgerError::Run(name)),
    }
}

fn origin(store: &mut dyn Store) -> Result<Option<String>, LedgerError> {
    first(store, "SELECT value FROM meta WHERE key = 'origin'", &[], |row| row.text_of(0).map(ToOwned::to_owned))
}

/// Checks that `run` may replace `file` by a ledger of these merchants.
///
/// # Errors
/// The file holds no ledger, or one of a newer schema, of other merchants, or of a service.
pub fn may_replace(file: &Path, merchants: &BTreeSet<String>) -> Result<(), LedgerError> {
    let name = file.display().to_string();
    let mut store = match open_file(file) {
        Ok(db) => Sqlite::new(db),
        Err(LedgerError::Missing(_)) => return Ok(()),
        Err(other) => return Err(other),
    };
    match found(&mut store, &name)? {
        Some(OLDEST..=SCHEMA) => {}
        Some(other) => return Err(other_schema(&name, other)),
        None => return Err(LedgerError::Foreign(name)),
    }
    if origin(&mut store)?.as_deref() != Some(Origin::Run.as_str()) {
        return Err(LedgerError::Service(name));
    }
    let sql = "SELECT DISTINCT merchant FROM rules";
    let found: BTreeSet<String> =
        all(&mut store, sql, &[], |row| row.text_of(0).map(ToOwned::to_owned))?.into_iter().collect();
    if !found.is_empty() && found != *merchants {
        let list = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(LedgerError::Merchant { file: name, found: list(&found), wanted: list(merchants) });
    }
    Ok(())
}
