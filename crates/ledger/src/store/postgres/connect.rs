//! Makes connections: TLS, timeouts, and the limits of the session.

use std::time::Duration;

use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslVerifyMode};
use postgres_openssl::MakeTlsConnector;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::errors;
use super::limits::{IDLE_IN_TRANSACTION, LOCK, STATEMENT};
use crate::error::LedgerError;
use crate::url::{Check, PostgresUrl};

/// Maximum time to reach one host, if the URL does not set it; after it, the next host is tried.
const CONNECT: Duration = Duration::from_secs(10);
/// Maximum time to log in after that; after it, connecting fails.
const LOGIN: Duration = Duration::from_secs(10);
/// Maximum time until TCP acknowledges sent data; after it, the connection is broken. It notices a host that has vanished long
/// before a statement's timeout.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// Environment variable with the password if the URL has none, as in libpq: every user of the machine can read a command line.
const PASSWORD: &str = "PGPASSWORD";

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Write,
    /// The server refuses changes.
    Read,
}

/// Connects and sets the limits of the session.
pub(super) fn connect(
    runtime: &Runtime,
    url: &PostgresUrl,
    access: Access,
) -> Result<(Client, JoinHandle<()>), LedgerError> {
    let mut config = url.config.clone();
    if config.get_application_name().is_none() {
        config.application_name("mashang");
    }
    if config.get_connect_timeout().is_none_or(|limit| limit.is_zero()) {
        config.connect_timeout(CONNECT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    if config.get_password().is_none()
        && let Some(password) = std::env::var_os(PASSWORD)
    {
        config.password(password.as_encoded_bytes());
    }
    let tls = tls(url).map_err(|error| LedgerError::Url {
        at: url.to_string(),
        what: format!("the files of TLS cannot be used: {error}"),
    })?;
    let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(1);
    let limit = config.get_connect_timeout().map_or(CONNECT, |limit| *limit) * hosts + LOGIN;
    let session = session(access);
    let connecting = async {
        let (client, connection) = config.connect(tls).await?;
        // The task runs while a call waits for an answer, and that call gets the error that ends the connection.
        let connection = runtime.spawn(async { drop(connection.await) });
        client.batch_execute(&session).await?;
        Ok((client, connection))
    };
    match runtime.block_on(async { tokio::time::timeout(limit, connecting).await }) {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(error)) => Err(errors::classify(url, &error).0),
        Err(_) => Err(errors::timed_out(url, limit)),
    }
}

fn session(access: Access) -> String {
    let limits = [
        ("statement_timeout", STATEMENT),
        ("lock_timeout", LOCK),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION),
    ];
    let mut sql: String = limits.iter().map(|(name, limit)| format!("SET {name} = {};", limit.as_millis())).collect();
    if access == Access::Read {
        sql.push_str("SET default_transaction_read_only = on;");
    }
    sql
}

fn tls(url: &PostgresUrl) -> Result<MakeTlsConnector, openssl::error::ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    if let Some(root) = &url.root {
        builder.set_ca_file(root)?;
    }
    if let Some((cert, key)) = &url.own {
        builder.set_certificate_chain_file(cert)?;
        builder.set_private_key_file(key, SslFiletype::PEM)?;
    }
    if url.check == Check::Nothing {
        builder.set_verify(SslVerifyMode::NONE);
    }
    let mut tls = MakeTlsConnector::new(builder.build());
    let is_host_checked = url.check == Check::Host;
    tls.set_callback(move |ssl, _| {
        ssl.set_verify_hostname(is_host_checked);
        Ok(())
    });
    Ok(tls)
}
