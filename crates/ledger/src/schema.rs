//! The tables, and which files are ledgers.

use std::collections::BTreeSet;
use std::path::Path;

use domain::model::fact::{Metric, Scope};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

/// Changes with the tables; a ledger of another schema is refused.
pub const SCHEMA: i64 = 2;

/// Counters and funnels are kept per facts partition and added when read. Times are ms, days and hours count from 1970-01-01,
/// money is minor units, log ids and hashes are hex, events are by their keys. Only a service keeps answers.
const TABLES: &str = "
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE positions(facts INTEGER, topic TEXT, partition INTEGER, log TEXT NOT NULL, place INTEGER NOT NULL,
  part INTEGER NOT NULL, hash TEXT NOT NULL, PRIMARY KEY(facts, topic, partition)) WITHOUT ROWID, STRICT;
CREATE TABLE progress(facts INTEGER PRIMARY KEY, next INTEGER NOT NULL, received INTEGER NOT NULL) STRICT;
CREATE TABLE rules(version INTEGER PRIMARY KEY, merchant TEXT NOT NULL, sha256 TEXT NOT NULL, currency TEXT NOT NULL) STRICT;
CREATE TABLE counters(merchant TEXT, scope TEXT, key TEXT, day INTEGER, metric TEXT, facts INTEGER,
  value INTEGER NOT NULL, PRIMARY KEY(merchant, scope, key, day, metric, facts)) WITHOUT ROWID, STRICT;
CREATE TABLE funnels(merchant TEXT, funnel TEXT, step INTEGER, action TEXT, channel TEXT, day INTEGER, facts INTEGER,
  shoppers INTEGER NOT NULL, PRIMARY KEY(merchant, funnel, step, action, channel, day, facts)) WITHOUT ROWID, STRICT;
CREATE TABLE postings(merchant TEXT NOT NULL, number TEXT NOT NULL, shopper TEXT NOT NULL, payee_kind TEXT NOT NULL,
  payee TEXT NOT NULL, amount INTEGER NOT NULL, approve_at INTEGER NOT NULL, cause TEXT NOT NULL) STRICT;
CREATE INDEX postings_by_order ON postings(merchant, number);
CREATE TABLE orders(merchant TEXT, number TEXT, shopper TEXT, time INTEGER NOT NULL, base INTEGER NOT NULL,
  refunded INTEGER NOT NULL, kind TEXT, guide TEXT, store TEXT, PRIMARY KEY(merchant, number, shopper)) WITHOUT ROWID, STRICT;
CREATE TABLE members(merchant TEXT, shopper TEXT, time INTEGER NOT NULL, guide TEXT, store TEXT,
  PRIMARY KEY(merchant, shopper)) WITHOUT ROWID, STRICT;
CREATE TABLE awards(merchant TEXT NOT NULL, campaign TEXT NOT NULL, version INTEGER NOT NULL, code TEXT NOT NULL,
  shopper TEXT NOT NULL, entry INTEGER NOT NULL, time INTEGER NOT NULL, drawn TEXT NOT NULL, awarded TEXT,
  prize_kind TEXT, amount INTEGER, unlock TEXT, unlock_until INTEGER) STRICT;
CREATE INDEX awards_by_code ON awards(merchant, code);
CREATE TABLE unlocking(merchant TEXT NOT NULL, shopper TEXT NOT NULL, action TEXT NOT NULL, time INTEGER NOT NULL) STRICT;
CREATE INDEX unlocking_by_shopper ON unlocking(merchant, shopper, action, time);
CREATE TABLE codes(merchant TEXT, code TEXT, kind TEXT NOT NULL, scans INTEGER NOT NULL, first_time INTEGER NOT NULL,
  first_region TEXT, PRIMARY KEY(merchant, code)) WITHOUT ROWID, STRICT;
CREATE TABLE seen(merchant TEXT NOT NULL, code TEXT NOT NULL, time INTEGER NOT NULL, shopper TEXT NOT NULL, region TEXT,
  outcome TEXT NOT NULL, campaign TEXT, entry INTEGER, event BLOB NOT NULL) STRICT;
CREATE INDEX seen_by_code ON seen(merchant, code, shopper);
CREATE TABLE answers(hour INTEGER, event BLOB, received INTEGER NOT NULL, desk INTEGER NOT NULL, told TEXT NOT NULL, code TEXT,
  campaign TEXT, prize TEXT, claim_time INTEGER, claim_region TEXT, PRIMARY KEY(hour, event)) WITHOUT ROWID, STRICT;
";

/// Who writes a ledger: a `run` makes its own anew each time, a service goes on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Run,
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

/// Why a ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("{0}: there is no such ledger; name the file that `run` or `serve` wrote, DIR/ledger.sqlite")]
    Missing(String),
    #[error("{0}: only SQLite ledgers are in this build; give sqlite:FILE or a path")]
    Url(String),
    #[error("{0}: this is no ledger of mashang: name another file or directory")]
    Foreign(String),
    #[error(
        "{file}: the ledger is of schema {found}, this build works with schema {SCHEMA}: use the build that wrote it, or make it anew with `run`"
    )]
    Schema { file: String, found: String },
    #[error("{file}: the ledger is of merchant {found}, the rules are of {wanted}: choose another --out")]
    Merchant { file: String, found: String, wanted: String },
    #[error("{0}: the ledger was written by `serve`; `run` does not replace it: choose another --out")]
    Service(String),
    #[error(
        "{0}: the ledger is of another log: put back the one that belongs to this log; or remove it with its -wal and -shm, and it is made anew if the log still has everything"
    )]
    OtherLog(String),
    #[error("{0}: the ledger was written by `run`; `serve` does not go on with it: choose another directory")]
    Run(String),
    #[error(
        "{merchant}: the counter {metric} of {scope} {key} on day {day} is beyond {}: its amounts are wrong, or want a larger unit",
        i64::MAX
    )]
    Sum { merchant: String, scope: Scope, key: String, day: String, metric: Metric },
    #[error(
        "the positions in the ledger are not those that this batch began from: another writer went on, this one stops"
    )]
    Moved,
    #[error(transparent)]
    Stop(#[from] domain::flow::Stop),
    #[error("the ledger cannot be written or read")]
    Sqlite(#[from] rusqlite::Error),
    #[error("cannot write")]
    Io(#[from] std::io::Error),
}

impl LedgerError {
    /// Whether the same may go well later: the database is busy, or there is no room.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        let code = error.sqlite_error_code();
        code.is_some_and(|code| {
            matches!(code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull)
        })
    }

    /// What the database says, where it says something.
    #[must_use]
    pub fn cause(&self) -> String {
        let Self::Sqlite(error) = self else { return String::new() };
        error.to_string()
    }
}

/// The file of a ledger's URL: `sqlite:FILE` or a path.
///
/// # Errors
/// The URL is of a kind that this build does not have.
pub fn file_of_url(url: &str) -> Result<&str, LedgerError> {
    match url.strip_prefix("sqlite:") {
        Some(file) => Ok(file),
        None if url.contains("://") => Err(LedgerError::Url(url.to_owned())),
        None => Ok(url),
    }
}

/// Makes the tables of a new ledger.
///
/// # Errors
/// The database refuses.
pub fn create(db: &Connection, origin: Origin) -> Result<(), LedgerError> {
    // All or nothing: a file that was begun is as good as none.
    let tx = rusqlite::Transaction::new_unchecked(db, rusqlite::TransactionBehavior::Immediate)?;
    tx.execute_batch(TABLES)?;
    tx.execute("INSERT INTO meta VALUES ('schema', ?1), ('origin', ?2)", (SCHEMA.to_string(), origin.as_str()))?;
    Ok(tx.commit()?)
}

/// Opens a ledger for reading.
///
/// # Errors
/// There is none, or it is none of ours, or of another schema.
pub fn open_to_read(url: &str) -> Result<Connection, LedgerError> {
    open_file(Path::new(file_of_url(url)?))
}

fn open_file(file: &Path) -> Result<Connection, LedgerError> {
    let name = file.display().to_string();
    if !file.exists() {
        return Err(LedgerError::Missing(name));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags).map_err(|_| LedgerError::Foreign(name.clone()))?;
    check(&db, &name)?;
    Ok(db)
}

/// Opens the ledger of a service to write it, or makes a new one.
///
/// # Errors
/// The file is none of ours, of another schema, or was written by `run`.
pub fn open_to_write(file: &Path) -> Result<Connection, LedgerError> {
    may_serve(file)?;
    let is_new = std::fs::metadata(file).map_or(true, |meta| meta.len() == 0);
    let db = Connection::open(file)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    if is_new {
        db.pragma_update(None, "journal_mode", "WAL")?;
    }
    // One that was being made when it was cut off has no table yet.
    let tables: Result<i64, _> = db.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0));
    if tables.is_ok_and(|n| n == 0) {
        create(&db, Origin::Service)?;
    }
    Ok(db)
}

/// Whether a service may go on with what stands at `file`.
///
/// # Errors
/// It is none of ours, of another schema, or was written by `run`.
pub fn may_serve(file: &Path) -> Result<(), LedgerError> {
    if std::fs::metadata(file).map_or(true, |meta| meta.len() == 0) {
        return Ok(());
    }
    let name = file.display().to_string();
    let db = Connection::open(file)?;
    // One that was being made when it was cut off has no table yet.
    let tables: Result<i64, _> = db.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0));
    if tables.is_ok_and(|n| n == 0) {
        return Ok(());
    }
    check(&db, &name)?;
    if origin(&db)? == Origin::Service.as_str() { Ok(()) } else { Err(LedgerError::Run(name)) }
}

/// How long a writer waits for another connection to let go of the database.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

fn origin(db: &Connection) -> Result<String, LedgerError> {
    Ok(db.query_row("SELECT value FROM meta WHERE key = 'origin'", [], |row| row.get(0))?)
}

fn check(db: &Connection, file: &str) -> Result<(), LedgerError> {
    let schema =
        db.query_row("SELECT value FROM meta WHERE key = 'schema'", [], |row| row.get::<_, String>(0)).optional();
    match schema {
        Ok(Some(schema)) if schema == SCHEMA.to_string() => Ok(()),
        Ok(Some(found)) => Err(LedgerError::Schema { file: file.to_owned(), found }),
        Ok(None) | Err(_) => Err(LedgerError::Foreign(file.to_owned())),
    }
}

/// Whether `run` may put a ledger of these merchants in the place of `file`.
///
/// # Errors
/// What stands there is no ledger, is of another schema or of other merchants, or belongs to a service.
pub fn may_replace(file: &Path, merchants: &BTreeSet<String>) -> Result<(), LedgerError> {
    let db = match open_file(file) {
        Ok(db) => db,
        Err(LedgerError::Missing(_)) => return Ok(()),
        Err(other) => return Err(other),
    };
    if origin(&db)? != Origin::Run.as_str() {
        return Err(LedgerError::Service(file.display().to_string()));
    }
    let mut select = db.prepare("SELECT DISTINCT merchant FROM rules")?;
    let found = select.query_map([], |row| row.get(0))?.collect::<Result<BTreeSet<String>, _>>()?;
    if !found.is_empty() && found != *merchants {
        let list = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(LedgerError::Merchant {
            file: file.display().to_string(),
            found: list(&found),
            wanted: list(merchants),
        });
    }
    Ok(())
}
