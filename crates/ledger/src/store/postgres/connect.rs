//! A connection: whom it trusts, how long it waits, and what the server is told to hold it to.

use std::time::Duration;

use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslVerifyMode};
use postgres_openssl::MakeTlsConnector;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::limits::{IDLE_IN_TRANSACTION, LOCK, STATEMENT};
use super::trouble;
use crate::error::LedgerError;
use crate::url::{Check, PostgresUrl};

/// How long one host may take to be reached, where the URL does not say.
const CONNECT: Duration = Duration::from_secs(10);
/// And to let us in, behind that.
const LET_IN: Duration = Duration::from_secs(10);
/// What was sent is acknowledged within this, or the connection is broken: so a host that went away without a word is
/// noticed long before a statement's limit.
const UNHEARD: Duration = Duration::from_secs(15);
/// Where the URL has no password, it is in here, as with libpq: what is on a command line everybody on the machine can read.
const PASSWORD: &str = "PGPASSWORD";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Write,
    /// Nothing can be changed.
    Read,
}

/// Connects and says by which limits the session is held.
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
        config.tcp_user_timeout(UNHEARD);
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
    let limit = config.get_connect_timeout().map_or(CONNECT, |limit| *limit) * hosts + LET_IN;
    let session = session(access);
    let connecting = async {
        let (client, connection) = config.connect(tls).await?;
        // It gets on while somebody waits for an answer; what ends it, whoever waits is told.
        let connection = runtime.spawn(async { drop(connection.await) });
        client.batch_execute(&session).await?;
        Ok((client, connection))
    };
    match runtime.block_on(async { tokio::time::timeout(limit, connecting).await }) {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(error)) => Err(trouble::trouble(url, &error).0),
        Err(_) => Err(trouble::hangs(url, limit)),
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
