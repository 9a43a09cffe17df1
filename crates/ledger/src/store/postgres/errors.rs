//! What a database's error means: whether the same may go well later, and whether the connection is still of use.

use std::error::Error;
use std::time::Duration;

use tokio_postgres::error::{DbError, SqlState};

use crate::error::LedgerError;
use crate::url::PostgresUrl;

/// The error to pass on, and whether its connection is still of use.
pub(super) fn trouble(url: &PostgresUrl, error: &tokio_postgres::Error) -> (LedgerError, bool) {
    let (what, is_passing, is_of_use) = match error.as_db_error() {
        Some(said) => (text(said), is_passing(said.code()), is_of_use(said)),
        // What is neither from the server nor from the network is a mistake, and would be one again.
        None => (chain(error), error.is_closed() || is_network(error), false),
    };
    (LedgerError::Postgres { at: url.to_string(), what, is_passing }, is_of_use)
}

/// The connection broke earlier in this transaction.
pub(super) fn cut(url: &PostgresUrl) -> LedgerError {
    LedgerError::Postgres {
        at: url.to_string(),
        what: "the connection broke in the middle of a transaction".to_owned(),
        is_passing: true,
    }
}

/// Nothing came back at all.
pub(super) fn hangs(url: &PostgresUrl, after: Duration) -> LedgerError {
    LedgerError::Postgres {
        at: url.to_string(),
        what: format!("no answer after {} s: look after the database and the network to it", after.as_secs()),
        is_passing: true,
    }
}

fn is_passing(code: &SqlState) -> bool {
    let classes = ["08", "40", "53", "57"];
    let others = [
        SqlState::LOCK_NOT_AVAILABLE,
        // The server that we write to has become a standby: another one takes its place.
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    (classes.contains(&&code.code()[..2]) || others.contains(code)) && *code != SqlState::DATABASE_DROPPED
}

fn is_of_use(said: &DbError) -> bool {
    let is_fatal = said
        .parsed_severity()
        .is_none_or(|s| matches!(s, tokio_postgres::error::Severity::Fatal | tokio_postgres::error::Severity::Panic));
    !is_fatal && *said.code() != SqlState::READ_ONLY_SQL_TRANSACTION
}

fn is_network(error: &tokio_postgres::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.is::<std::io::Error>() {
            return true;
        }
        next = error.source();
    }
    // The connection timed out: the driver has no other word for it.
    error.source().is_none() && error.to_string().contains("timeout")
}

fn text(said: &DbError) -> String {
    let mut text = format!("{} (SQLSTATE {})", said.message(), said.code().code());
    for more in [said.detail(), said.hint(), mend(said.code())].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(more);
    }
    text
}

fn mend(code: &SqlState) -> Option<&'static str> {
    let known = [
        (SqlState::INVALID_PASSWORD, "correct the user and password in the URL, or the password in PGPASSWORD"),
        (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "correct the user in the URL, or what pg_hba.conf allows"),
        (SqlState::INVALID_CATALOG_NAME, "create the database, or correct its name in the URL"),
        (SqlState::INSUFFICIENT_PRIVILEGE, "give the role what docs/ledger.md says that it needs"),
        (
            SqlState::INVALID_SCHEMA_NAME,
            "create the schema that search_path names, and let the role create tables in it",
        ),
    ];
    known.into_iter().find(|(known, _)| known == code).map(|(_, mend)| mend)
}

/// An error with its causes.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
