//! The little that the ledger asks of a database, and the two that answer. Statements are the same for both wherever both
//! understand them: parameters are `$1`, `$2`, …; sums are cast back to whole numbers, for Postgres widens them.

pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::fmt::Debug;

use crate::error::LedgerError;

/// Which database it is, for the few words that they do not share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// What a transaction is for: how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Write,
    /// Changes the tables; the only one that may rewrite them whole.
    Migrate,
    /// Reads one state of everything, whatever is written meanwhile.
    Read,
}

/// A value on its way into the database.
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

/// How rows come into a table: its columns, and what becomes of a row that is there.
#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) table: &'static str,
    pub(crate) columns: &'static [(&'static str, Type)],
    /// `ON CONFLICT …`, or nothing where no two rows are the same.
    pub(crate) conflict: &'static str,
}

impl Insert {
    /// `INSERT INTO table(columns)`.
    fn head(&self) -> String {
        let names = self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        format!("INSERT INTO {}({names})", self.table)
    }
}

/// A row on its way out.
pub(crate) trait Row {
    fn int(&self, at: usize) -> Result<Option<i64>, LedgerError>;
    fn text(&self, at: usize) -> Result<Option<&str>, LedgerError>;
    fn bytes(&self, at: usize) -> Result<Option<&[u8]>, LedgerError>;

    /// A number that must be there.
    fn int_of(&self, at: usize) -> Result<i64, LedgerError> {
        self.int(at)?.ok_or_else(|| LedgerError::Damaged(format!("column {at} is empty")))
    }

    /// A text that must be there.
    fn text_of(&self, at: usize) -> Result<&str, LedgerError> {
        self.text(at)?.ok_or_else(|| LedgerError::Damaged(format!("column {at} is empty")))
    }
}

/// Takes rows, each with as many values as there are columns.
pub(crate) trait Sink {
    fn put(&mut self, row: &[Value<'_>]) -> Result<(), LedgerError>;
}

/// What is done with each row.
pub(crate) type Each<'a> = &'a mut dyn FnMut(&dyn Row) -> Result<(), LedgerError>;
/// What gives the rows.
pub(crate) type Fill<'a> = &'a mut dyn FnMut(&mut dyn Sink) -> Result<(), LedgerError>;

/// A connection to a ledger's database.
///
/// After an error inside a transaction only [`Store::rollback`] is of use. Outside of one, a connection that broke is made
/// anew by the next call.
pub(crate) trait Store: Debug + Send {
    fn dialect(&self) -> Dialect;

    fn begin(&mut self, task: Task) -> Result<(), LedgerError>;

    /// After an error nobody knows whether it was committed.
    fn commit(&mut self) -> Result<(), LedgerError>;

    /// Lets go of a transaction; if even that fails, of the connection.
    fn rollback(&mut self);

    /// Gives the few rows of a query.
    fn select(&mut self, sql: &str, params: &[Value<'_>], each: Each<'_>) -> Result<(), LedgerError>;

    /// Gives the many rows of a query, within a transaction, without holding them in memory.
    fn walk(&mut self, sql: &str, params: &[Value<'_>], each: Each<'_>) -> Result<(), LedgerError>;

    /// Runs a statement and says how many rows it changed.
    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, LedgerError>;

    /// Runs statements that take no parameters.
    fn batch(&mut self, sql: &str) -> Result<(), LedgerError>;

    /// Writes rows, within a transaction, in the order in which they are given.
    fn insert(&mut self, into: &'static Insert, fill: Fill<'_>) -> Result<(), LedgerError>;

    /// Ends with everything in its place.
    fn close(self: Box<Self>) -> Result<(), LedgerError>;
}

/// Does something within a transaction, all of it or nothing.
pub(crate) fn transaction<T>(
    store: &mut dyn Store,
    task: Task,
    work: impl FnOnce(&mut dyn Store) -> Result<T, LedgerError>,
) -> Result<T, LedgerError> {
    store.begin(task)?;
    let done = work(store).and_then(|done| store.commit().map(|()| done));
    if done.is_err() {
        store.rollback();
    }
    done
}

/// Asks several things of one state of the ledger.
pub(crate) fn reading<T>(
    store: &mut dyn Store,
    work: impl FnOnce(&mut dyn Store) -> Result<T, LedgerError>,
) -> Result<T, LedgerError> {
    store.begin(Task::Read)?;
    let done = work(store);
    store.rollback();
    done
}

/// The one row of a query, if there is one.
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
