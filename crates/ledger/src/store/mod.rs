//! The operations that the ledger needs of a database, for SQLite and Postgres. Both use the same statements wherever possible:
//! parameters are `$1`, `$2`, …; sums are cast back to integers, because Postgres widens them.

pub(crate) mod postgres;
pub(crate) mod sqlite;
pub(crate) mod sums;

use std::fmt::Debug;

use crate::error::LedgerError;

/// The kind of the database, for the few statements that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// The purpose of a transaction, which decides its timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransactionKind {
    Write,
    /// Changes the schema; only it may rewrite whole tables.
    Migrate,
    /// Reads one consistent state, while others write.
    Read,
}

/// A value for the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Int,
    Text,
    Bytes,
}

/// An insert into a table: its columns, and how an existing row changes.
#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) table: &'static str,
    pub(crate) columns: &'static [(&'static str, Type)],
    /// `ON CONFLICT …`, or empty if rows cannot conflict.
    pub(crate) conflict: &'static str,
}

impl Insert {
    /// `INSERT INTO table(columns)`.
    fn head(&self) -> String {
        let names = self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        format!("INSERT INTO {}({names})", self.table)
    }
}

/// A row of a result.
pub(crate) trait Row {
    fn int(&self, at: usize) -> Result<Option<i64>, LedgerError>;
    fn text(&self, at: usize) -> Result<Option<&str>, LedgerError>;
    fn bytes(&self, at: usize) -> Result<Option<&[u8]>, LedgerError>;

    /// A number that must not be NULL.
    fn int_of(&self, at: usize) -> Result<i64, LedgerError> {
        self.int(at)?.ok_or_else(|| LedgerError::Damaged(format!("column {at} is empty")))
    }

    /// A text that must not be NULL.
    fn text_of(&self, at: usize) -> Result<&str, LedgerError> {
        self.text(at)?.ok_or_else(|| LedgerError::Damaged(format!("column {at} is empty")))
    }
}

/// Accepts rows, each with one value for every column.
pub(crate) trait Sink {
    fn put(&mut self, row: &[Value<'_>]) -> Result<(), LedgerError>;
}

/// Handles one row of a result.
pub(crate) type Each<'a> = &'a mut dyn FnMut(&dyn Row) -> Result<(), LedgerError>;
/// Puts rows into a sink.
pub(crate) type Fill<'a> = &'a mut dyn FnMut(&mut dyn Sink) -> Result<(), LedgerError>;

/// A connection to a ledger's database.
///
/// After an error inside a transaction only [`Store::rollback`] may follow. Outside of a transaction, the next call replaces a
/// broken connection.
pub(crate) trait Store: Debug + Send {
    fn dialect(&self) -> Dialect;

    fn begin(&mut self, task: TransactionKind) -> Result<(), LedgerError>;

    /// After an error it is unknown whether the transaction was committed.
    fn commit(&mut self) -> Result<(), LedgerError>;

    /// Ends the transaction without its changes; if that fails, drops the connection.
    fn rollback(&mut self);

    /// Passes the rows of a query with a small result to `each`.
    fn select(&mut self, sql: &str, params: &[Value<'_>], each: Each<'_>) -> Result<(), LedgerError>;

    /// Passes the rows of a query with a large result to `each`, within a transaction, without holding all in memory.
    fn walk(&mut self, sql: &str, params: &[Value<'_>], each: Each<'_>) -> Result<(), LedgerError>;

    /// Runs a statement; returns the number of rows that it changed.
    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, LedgerError>;

    /// Runs statements without parameters.
    fn batch(&mut self, sql: &str) -> Result<(), LedgerError>;

    /// Writes rows within a transaction, in the order of `fill`.
    fn insert(&mut self, into: &'static Insert, fill: Fill<'_>) -> Result<(), LedgerError>;

    /// Closes the database.
    fn close(self: Box<Self>) -> Result<(), LedgerError>;
}

/// Runs work within a transaction; commits all of it or nothing.
pub(crate) fn transaction<T>(
    store: &mut dyn Store,
    task: TransactionKind,
    work: impl FnOnce(&mut dyn Store) -> Result<T, LedgerError>,
) -> Result<T, LedgerError> {
    store.begin(task)?;
    let done = work(store).and_then(|done| store.commit().map(|()| done));
    if done.is_err() {
        store.rollback();
    }
    done
}

/// Runs several queries on one consistent state.
pub(crate) fn reading<T>(
    store: &mut dyn Store,
    work: impl FnOnce(&mut dyn Store) -> Result<T, LedgerError>,
) -> Result<T, LedgerError> {
    store.begin(TransactionKind::Read)?;
    let done = work(store);
    store.rollback();
    done
}

/// The first row of a query, if there is one.
pub(crate) fn first<T>(
    store: &mut dyn Store,
    sql: &str,
    params: &[Value<'_>],
    read: impl Fn(&dyn Row) -> Result<T, LedgerError>,
) -> Result<Option<T>, LedgerError> {
    let mut found = None;
    store.select(sql, params, &mut |row| {
        if found.is_none() {
            found = Some(read(row)?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// All rows of a query.
pub(crate) fn all<T>(
    store: &mut dyn Store,
    sql: &str,
    params: &[Value<'_>],
    read: impl Fn(&dyn Row) -> Result<T, LedgerError>,
) -> Result<Vec<T>, LedgerError> {
    let mut found = Vec::new();
    store.select(sql, params, &mut |row| {
        found.push(read(row)?);
        Ok(())
    })?;
    Ok(found)
}
