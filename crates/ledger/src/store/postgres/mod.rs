//! Postgres: the ledger of a fleet.
//!
//! The driver is asynchronous and this crate is not: each connection drives its own little runtime, and nothing here may be
//! called on a thread of another one (ask on a thread that may block). What that buys is a limit to every wait: a
//! database that hangs is an error that says so.

mod columns;
mod connect;
mod limits;
mod trouble;

use std::collections::HashMap;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use self::columns::Columns;
pub(crate) use self::connect::Access;
use self::limits::{
    BYTES_SENT, EXPORT_STEP, IDLE_IN_EXPORT, MIGRATION, MIGRATION_LOCK, ROWS_FETCHED, ROWS_SENT, SERVER_FIRST,
    STATEMENT, STATEMENTS_MAX,
};
use super::{Dialect, Each, Fill, Insert, Row, Sink, Store, Task, Value};
use crate::error::LedgerError;
use crate::url::PostgresUrl;

#[derive(Debug)]
pub(crate) struct Postgres {
    url: PostgresUrl,
    access: Access,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    /// `None` after it broke.
    live: Option<Live>,
    /// The transaction that was begun; it goes when its connection does.
    task: Option<Task>,
}

struct Live {
    client: Client,
    /// What reads and writes the socket.
    connection: JoinHandle<()>,
    statements: HashMap<String, Statement>,
}

impl Drop for Live {
    fn drop(&mut self) {
        // It would wait for a server that hangs.
        self.connection.abort();
    }
}

impl Live {
    async fn statement(&mut self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(sql).await?;
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

impl Postgres {
    /// Connects.
    pub(crate) fn open(url: &PostgresUrl, access: Access) -> Result<Self, LedgerError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut store = Self { url: url.clone(), access, runtime: Some(runtime), live: None, task: None };
        store.connect()?;
        Ok(store)
    }

    fn connect(&mut self) -> Result<(), LedgerError> {
        let runtime = self.runtime.as_ref().expect("until it is dropped");
        let (client, connection) = connect::connect(runtime, &self.url, self.access)?;
        self.live = Some(Live { client, connection, statements: HashMap::new() });
        Ok(())
    }

    /// How long one step may take before we take the database for hung.
    fn patience(&self) -> Duration {
        SERVER_FIRST
            + match self.task {
                None | Some(Task::Write) => STATEMENT,
                Some(Task::Migrate) => MIGRATION,
                Some(Task::Read) => EXPORT_STEP,
            }
    }

    /// Talks to the database, once.
    fn once<T>(
        &mut self,
        talk: &mut impl AsyncFnMut(&mut Live) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, LedgerError> {
        let patience = self.patience();
        let runtime = self.runtime.as_ref().expect("until it is dropped");
        let Some(live) = &mut self.live else { return Err(trouble::cut(&self.url)) };
        let (error, is_of_use) = match runtime.block_on(async { tokio::time::timeout(patience, talk(live)).await }) {
            Ok(Ok(said)) => return Ok(said),
            Ok(Err(error)) => trouble::trouble(&self.url, &error),
            Err(_) => (trouble::hangs(&self.url, patience), false),
        };
        if !is_of_use {
            self.live = None;
        }
        Err(error)
    }

    /// Talks to the database; outside of a transaction, where everything may be said twice, over a new connection if the
    /// one that there is proves to be broken.
    fn talk<T>(
        &mut self,
        mut talk: impl AsyncFnMut(&mut Live) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, LedgerError> {
        if self.task.is_some() {
            return self.once(&mut talk);
        }
        if self.live.is_some() {
            match self.once(&mut talk) {
                Err(error) if self.live.is_none() && error.is_passing() => {}
                said => return said,
            }
        }
        self.connect()?;
        self.once(&mut talk)
    }
}

impl Store for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn begin(&mut self, task: Task) -> Result<(), LedgerError> {
        let set = |name: &str, limit: Duration| format!("SET LOCAL {name} = {}; ", limit.as_millis());
        let sql = match task {
            Task::Write => "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned(),
            Task::Migrate => {
                let limits = set("statement_timeout", MIGRATION) + &set("lock_timeout", MIGRATION_LOCK);
                format!("BEGIN ISOLATION LEVEL READ COMMITTED; {limits}")
            }
            Task::Read => {
                let limits = set("statement_timeout", EXPORT_STEP)
                    + &set("idle_in_transaction_session_timeout", IDLE_IN_EXPORT)
                    // All rows are wanted, not the first ones soon.
                    + "SET LOCAL cursor_tuple_fraction = 1; ";
                format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {limits}")
            }
        };
        self.talk(async |live| live.client.batch_execute(&sql).await)?;
        self.task = Some(task);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), LedgerError> {
        let done = self.once(&mut async |live: &mut Live| live.client.batch_execute("COMMIT").await);
        self.task = None;
        done
    }

    fn rollback(&mut self) {
        if self.once(&mut async |live: &mut Live| live.client.batch_execute("ROLLBACK").await).is_err() {
            self.live = None;
        }
        self.task = None;
    }

    fn select(&mut self, sql: &str, params: &[Value<'_>], each: Each<'_>) -> Result<(), LedgerError> {
        let rows = self.talk(async |live| {
            let statement = live.statement(sql).await?;
            live.client.query(&statement, &pointers(params)).await
        })?;
        rows.iter().try_for_each(|row| each(&Read { row, url: &self.url }))
    }

    fn walk(&mut self, sql: &str, params: &[Value<'_>], each: Each<'_>) -> Result<(), LedgerError> {
        debug_assert!(self.task.is_some(), "a cursor lives in a transaction");
        let declare = format!("DECLARE walk NO SCROLL CURSOR FOR {sql}");
        self.talk(async |live| live.client.execute(&declare, &pointers(params)).await)?;
        let fetch = format!("FETCH {ROWS_FETCHED} FROM walk");
        loop {
            // Never kept as a statement: each walk has other columns.
            let rows = self.talk(async |live| live.client.query(&fetch, &[]).await)?;
            rows.iter().try_for_each(|row| each(&Read { row, url: &self.url }))?;
            if rows.len() < ROWS_FETCHED {
                break;
            }
        }
        self.batch("CLOSE walk")
    }

    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, LedgerError> {
        self.talk(async |live| {
            let statement = live.statement(sql).await?;
            live.client.execute(&statement, &pointers(params)).await
        })
    }

    fn batch(&mut self, sql: &str) -> Result<(), LedgerError> {
        self.talk(async |live| live.client.batch_execute(sql).await)
    }

    fn insert(&mut self, into: &'static Insert, fill: Fill<'_>) -> Result<(), LedgerError> {
        debug_assert!(self.task.is_some(), "rows are written in a transaction");
        let mut rows = Rows { columns: Columns::new(into), sql: columns::statement(into), store: self };
        fill(&mut rows)?;
        rows.send()
    }

    fn close(self: Box<Self>) -> Result<(), LedgerError> {
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Waits for nothing, so that it may be dropped anywhere, on a thread of another runtime too.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Rows on their way: gathered by columns, sent many at once.
struct Rows<'a> {
    store: &'a mut Postgres,
    sql: String,
    columns: Columns,
}

impl Rows<'_> {
    fn send(&mut self) -> Result<(), LedgerError> {
        if self.columns.rows() == 0 {
            return Ok(());
        }
        let columns = &self.columns;
        self.store.talk(async |live| {
            let statement = live.statement(&self.sql).await?;
            live.client.execute(&statement, &columns.pointers()).await
        })?;
        self.columns.clear();
        Ok(())
    }
}

impl Sink for Rows<'_> {
    fn put(&mut self, row: &[Value<'_>]) -> Result<(), LedgerError> {
        self.columns.push(row);
        if self.columns.rows() >= ROWS_SENT || self.columns.bytes() >= BYTES_SENT { self.send() } else { Ok(()) }
    }
}

fn pointers<'a>(params: &'a [Value<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    params.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// A row, and whose it is.
struct Read<'a> {
    row: &'a tokio_postgres::Row,
    url: &'a PostgresUrl,
}

impl Row for Read<'_> {
    fn int(&self, at: usize) -> Result<Option<i64>, LedgerError> {
        self.row.try_get(at).map_err(|error| trouble::trouble(self.url, &error).0)
    }

    fn text(&self, at: usize) -> Result<Option<&str>, LedgerError> {
        self.row.try_get(at).map_err(|error| trouble::trouble(self.url, &error).0)
    }

    fn bytes(&self, at: usize) -> Result<Option<&[u8]>, LedgerError> {
        self.row.try_get(at).map_err(|error| trouble::trouble(self.url, &error).0)
    }
}
