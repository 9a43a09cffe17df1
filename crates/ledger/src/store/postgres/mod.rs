//! Postgres: the ledger of a fleet.
//!
//! The driver is asynchronous and this crate is not: each connection has a small runtime of its own. Calls block, and must not
//! run on a thread of another runtime. In return every wait has a timeout, so a database that hangs is an error.

mod columns;
mod connect;
mod errors;
mod limits;

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
use super::{Dialect, Each, Fill, Insert, Row, Sink, Store, TransactionKind, Value};
use crate::error::LedgerError;
use crate::url::PostgresUrl;

#[derive(Debug)]
pub(crate) struct Postgres {
    url: PostgresUrl,
    access: Access,
    /// `None` only during the drop.
    runtime: Option<Runtime>,
    /// `None` after the connection broke.
    session: Option<Session>,
    /// The current transaction; it ends with its connection.
    task: Option<TransactionKind>,
}

struct Session {
    client: Client,
    /// The task that reads and writes the socket.
    connection: JoinHandle<()>,
    statements: HashMap<String, Statement>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // Without this the task would wait for a server that hangs.
        self.connection.abort();
    }
}

impl Session {
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

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Postgres {
    /// Connects.
    pub(crate) fn open(url: &PostgresUrl, access: Access) -> Result<Self, LedgerError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut store = Self { url: url.clone(), access, runtime: Some(runtime), session: None, task: None };
        store.connect()?;
        Ok(store)
    }

    fn connect(&mut self) -> Result<(), LedgerError> {
        let runtime = self.runtime.as_ref().expect("until it is dropped");
        let (client, connection) = connect::connect(runtime, &self.url, self.access)?;
        self.session = Some(Session { client, connection, statements: HashMap::new() });
        Ok(())
    }

    /// The timeout of one request; after it, the database counts as hung.
    fn timeout(&self) -> Duration {
        SERVER_FIRST
            + match self.task {
                None | Some(TransactionKind::Write) => STATEMENT,
                Some(TransactionKind::Migrate) => MIGRATION,
                Some(TransactionKind::Read) => EXPORT_STEP,
            }
    }

    /// Sends a request once.
    fn once<T>(
        &mut self,
        request: &mut impl AsyncFnMut(&mut Session) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, LedgerError> {
        let timeout = self.timeout();
        let runtime = self.runtime.as_ref().expect("until it is dropped");
        let Some(session) = &mut self.session else { return Err(errors::connection_lost(&self.url)) };
        let (error, is_usable) = match runtime.block_on(async { tokio::time::timeout(timeout, request(session)).await })
        {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => errors::classify(&self.url, &error),
            Err(_) => (errors::timed_out(&self.url, timeout), false),
        };
        if !is_usable {
            self.session = None;
        }
        Err(error)
    }

    /// Sends a request. Outside of a transaction, where requests may be repeated, it retries over a new connection if the current
    /// one is broken.
    fn request<T>(
        &mut self,
        mut request: impl AsyncFnMut(&mut Session) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, LedgerError> {
        if self.task.is_some() {
            return self.once(&mut request);
        }
        if self.session.is_some() {
            match self.once(&mut request) {
                Err(error) if self.session.is_none() && error.is_passing() => {}
                answer => return answer,
            }
        }
        self.connect()?;
        self.once(&mut request)
    }
}

impl Store for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn begin(&mut self, task: TransactionKind) -> Result<(), LedgerError> {
        let set = |name: &str, limit: Duration| format!("SET LOCAL {name} = {}; ", limit.as_millis());
        let sql = match task {
            TransactionKind::Write => "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned(),
            TransactionKind::Migrate => {
                let limits = set("statement_timeout", MIGRATION) + &set("lock_timeout", MIGRATION_LOCK);
                format!("BEGIN ISOLATION LEVEL READ COMMITTED; {limits}")
            }
            TransactionKind::Read => {
                let limits = set("statement_timeout", EXPORT_STEP)
                    + &set("idle_in_transaction_session_timeout", IDLE_IN_EXPORT)
                    // The whole result is needed, not its first rows soon.
                    + "SET LOCAL cursor_tuple_fraction = 1; ";
                format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {limits}")
            }
        };
        self.request(async |session| session.client.batch_execute(&sql).await)?;
        self.task = Some(task);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), LedgerError> {
        let done = self.once(&mut async |session: &mut Session| session.client.batch_execute("COMMIT").await);
        self.task = None;
        done
    }

    fn rollback(&mut self) {
        if self.once(&mut async |session: &mut Session| session.client.batch_execute("ROLLBACK").await).is_err() {
            self.session = None;
        }
        self.task = None;
    }

    fn select(&mut self, sql: &str, params: &[Value<'_>], each: Each<'_>) -> Result<(), LedgerError> {
        let rows = self.request(async |session| {
            let statement = session.statement(sql).await?;
            session.client.query(&statement, &pointers(params)).await
        })?;
        rows.iter().try_for_each(|row| each(&Read { row, url: &self.url }))
    }

    fn walk(&mut self, sql: &str, params: &[Value<'_>], each: Each<'_>) -> Result<(), LedgerError> {
        debug_assert!(self.task.is_some(), "a cursor lives in a transaction");
        let declare = format!("DECLARE walk NO SCROLL CURSOR FOR {sql}");
        self.request(async |session| session.client.execute(&declare, &pointers(params)).await)?;
        let fetch = format!("FETCH {ROWS_FETCHED} FROM walk");
        loop {
            // Not cached as a statement: each walk has other columns.
            let rows = self.request(async |session| session.client.query(&fetch, &[]).await)?;
            rows.iter().try_for_each(|row| each(&Read { row, url: &self.url }))?;
            if rows.len() < ROWS_FETCHED {
                break;
            }
        }
        self.batch("CLOSE walk")
    }

    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, LedgerError> {
        self.request(async |session| {
            let statement = session.statement(sql).await?;
            session.client.execute(&statement, &pointers(params)).await
        })
    }

    fn batch(&mut self, sql: &str) -> Result<(), LedgerError> {
        self.request(async |session| session.client.batch_execute(sql).await)
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
        // It does not wait, so that the store may be dropped on any thread, also on one of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Buffers rows by column, and sends many in one request.
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
        self.store.request(async |session| {
            let statement = session.statement(&self.sql).await?;
            session.client.execute(&statement, &columns.pointers()).await
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

/// A row, and the address of its database for errors.
struct Read<'a> {
    row: &'a tokio_postgres::Row,
    url: &'a PostgresUrl,
}

impl Row for Read<'_> {
    fn int(&self, at: usize) -> Result<Option<i64>, LedgerError> {
        self.row.try_get(at).map_err(|error| errors::classify(self.url, &error).0)
    }

    fn text(&self, at: usize) -> Result<Option<&str>, LedgerError> {
        self.row.try_get(at).map_err(|error| errors::classify(self.url, &error).0)
    }

    fn bytes(&self, at: usize) -> Result<Option<&[u8]>, LedgerError> {
        self.row.try_get(at).map_err(|error| errors::classify(self.url, &error).0)
    }
}
