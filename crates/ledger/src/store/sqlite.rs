//! SQLite: the ledger of one process, in a file.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Statement, ToSql};

use super::{Dialect, Each, Fill, Insert, Row, Sink, Store, TransactionKind, Value};
use crate::error::LedgerError;

/// Maximum number of cached statements; further ones replace the least recently used.
const STATEMENTS_KEPT: usize = 32;

#[derive(Debug)]
pub(crate) struct Sqlite(Connection);

impl Sqlite {
    pub(crate) fn new(db: Connection) -> Self {
        db.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Self(db)
    }
}

impl Store for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn begin(&mut self, task: TransactionKind) -> Result<(), LedgerError> {
        Ok(self.0.execute_batch(match task {
            // SQLite has one writer at a time: no other writer changes what this transaction reads.
            TransactionKind::Write | TransactionKind::Migrate => "BEGIN IMMEDIATE",
            TransactionKind::Read => "BEGIN DEFERRED",
        })?)
    }

    fn commit(&mut self) -> Result<(), LedgerError> {
        Ok(self.0.execute_batch("COMMIT")?)
    }

    fn rollback(&mut self) {
        // After some errors SQLite has rolled back already.
        let _ = self.0.execute_batch("ROLLBACK");
    }

    fn select(&mut self, sql: &str, params: &[Value<'_>], each: Each<'_>) -> Result<(), LedgerError> {
        let mut statement = self.0.prepare_cached(sql)?;
        bind(&mut statement, params)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            each(row)?;
        }
        Ok(())
    }

    fn walk(&mut self, sql: &str, params: &[Value<'_>], each: Each<'_>) -> Result<(), LedgerError> {
        self.select(sql, params, each)
    }

    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, LedgerError> {
        let mut statement = self.0.prepare_cached(sql)?;
        bind(&mut statement, params)?;
        Ok(statement.raw_execute()? as u64)
    }

    fn batch(&mut self, sql: &str) -> Result<(), LedgerError> {
        Ok(self.0.execute_batch(sql)?)
    }

    fn insert(&mut self, into: &'static Insert, fill: Fill<'_>) -> Result<(), LedgerError> {
        let values = (1..=into.columns.len()).map(|i| format!("?{i}")).collect::<Vec<_>>().join(", ");
        let sql = format!("{} VALUES ({values}) {}", into.head(), into.conflict);
        fill(&mut Rows(self.0.prepare_cached(&sql)?))
    }

    /// After it all data are in one file, unless another connection still reads an older state.
    fn close(self: Box<Self>) -> Result<(), LedgerError> {
        self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(self.0.close().map_err(|(_, error)| error)?)
    }
}

struct Rows<'a>(CachedStatement<'a>);

impl Sink for Rows<'_> {
    fn put(&mut self, row: &[Value<'_>]) -> Result<(), LedgerError> {
        for (at, value) in (1..).zip(row) {
            self.0.raw_bind_parameter(at, value)?;
        }
        self.0.raw_execute()?;
        Ok(())
    }
}

/// Binds parameters by name: in SQLite `$1` is a name, which a statement may use twice or not at all.
fn bind(statement: &mut Statement<'_>, params: &[Value<'_>]) -> Result<(), LedgerError> {
    for (n, value) in (1..).zip(params) {
        if let Some(at) = statement.parameter_index(&format!("${n}"))? {
            statement.raw_bind_parameter(at, value)?;
        }
    }
    Ok(())
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Int(int) => ValueRef::Integer(int),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Row for rusqlite::Row<'_> {
    fn int(&self, at: usize) -> Result<Option<i64>, LedgerError> {
        Ok(self.get_ref(at)?.as_i64_or_null().map_err(rusqlite::Error::from)?)
    }

    fn text(&self, at: usize) -> Result<Option<&str>, LedgerError> {
        Ok(self.get_ref(at)?.as_str_or_null().map_err(rusqlite::Error::from)?)
    }

    fn bytes(&self, at: usize) -> Result<Option<&[u8]>, LedgerError> {
        Ok(self.get_ref(at)?.as_blob_or_null().map_err(rusqlite::Error::from)?)
    }
}
