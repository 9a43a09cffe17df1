//! Classifies a database's errors: whether a retry may succeed, and whether the connection is still usable.

use std::error::Error;
use std::time::Duration;

use tokio_postgres::error::{DbError, SqlState};

use crate::error::LedgerError;
use crate::url::PostgresUrl;

/// The error to return, and whether its connection is still usable.
pub(super) fn classify(url: &PostgresUrl, error: &tokio_postgres::Error) -> (LedgerError, bool) {
    let (what, is_passing, is_usable) = match error.as_db_error() {
        Some(answer) => (text(answer), is_passing(answer.code()), is_usable(answer)),
        // An error that is not from the server or the network would happen again.
        None => (chain(error), error.is_closed() || is_network(error), false),
    };
    (LedgerError::Postgres { at: url.to_string(), what, is_passing }, is_usable)
}

/// The error if the connection broke earlier in this transaction.
pub(super) fn connection_lost(url: &PostgresUrl) -> LedgerError {
    LedgerError::Postgres {
        at: url.to_string(),
        what: "the connection broke in the middle of a transaction".to_owned(),
        is_passing: true,
    }
}

/// The error if no answer arrived in time.
pub(super) fn timed_out(url: &PostgresUrl, after: Duration) -> LedgerError {
    LedgerError::Postgres {
        at: url.to_string(),
        what: format!("no answer after {} s: check the database and the network to it", after.as_secs()),
        is_passing: true,
    }
}

fn is_passing(code: &SqlState) -> bool {
    let classes = ["08", "40", "53", "57"];
    let others = [
        SqlState::LOCK_NOT_AVAILABLE,
        // The server has become a standby: another one takes its place.
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    (classes.contains(&&code.code()[..2]) || others.contains(code)) && *code != SqlState::DATABASE_DROPPED
}

fn is_usable(answer: &DbError) -> bool {
    let is_fatal = answer
        .parsed_severity()
        .is_none_or(|s| matches!(s, tokio_postgres::error::Severity::Fatal | tokio_postgres::error::Severity::Panic));
    !is_fatal && *answer.code() != SqlState::READ_ONLY_SQL_TRANSACTION
}

fn is_network(error: &tokio_postgres::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.is::<std::io::Error>() {
            return true;
        }
        next = error.source();
    }
    // A timeout of the connection: the driver shows it only in the text.
    error.source().is_none() && error.to_string().contains("timeout")
}

fn text(answer: &DbError) -> String {
    let mut text = format!("{} (SQLSTATE {})", answer.message(), answer.code().code());
    for more in [answer.detail(), answer.hint(), mend(answer.code())].into_iter().flatten() {
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
