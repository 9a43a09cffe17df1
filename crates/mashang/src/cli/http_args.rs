//! What a port for HTTP is told beside its address.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use web::networks::Trust;
use web::server::listen::raise_files;
use web::server::port::PortConfig;
use web::server::tls::Tls;

use crate::cli::options::duration;
use crate::usage;

/// So many connections may be open unless it is said otherwise, or fewer where so many files cannot be.
const CONNECTIONS: u64 = 20_000;
const CONNECTIONS_MOST: u64 = 1_000_000;
/// Time that a connection without a request is kept, unless it is set; longer than the 60 s of most balancers.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Shortest and longest time that may be set; others are refused.
const IDLE_TIMEOUT_LEAST: Duration = Duration::from_secs(1);
const IDLE_TIMEOUT_MOST: Duration = Duration::from_hours(1);
/// Files that a process has open beside its connections: segments of the log, the ledger, its threads' own.
const FILES_BESIDE: u64 = 512;

/// The same on the command line and, one by one, in a file.
#[derive(Debug, Default, Args)]
pub(crate) struct HttpArgs {
    /// Connections that may be open; more wait to be accepted [default: 20000, or what the limit of open files allows]
    #[arg(long, env = "MASHANG_CONNECTIONS", value_name = "N")]
    pub(crate) connections: Option<u64>,
    /// Networks of proxies that are believed about whom they speak for (X-Forwarded-For) [default: none]
    #[arg(long, env = "MASHANG_PROXY_TRUST", value_name = "NETWORK,…")]
    pub(crate) proxy_trust: Option<Trust>,
    /// Take connections from those proxies alone, each beginning with a header of the PROXY protocol, version 1 or 2
    #[arg(long, env = "MASHANG_PROXY_PROTOCOL", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) proxy_protocol: Option<bool>,
    /// How long a connection without a request is kept, longer than balancers keep theirs [default: 75s]
    #[arg(long, env = "MASHANG_IDLE_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    pub(crate) idle_timeout: Option<Duration>,
    /// TLS: the certificate and those that signed it, in PEM; read again when it changes
    #[arg(long, env = "MASHANG_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// TLS: the certificate's key, in PEM, which others must not be able to read
    #[arg(long, env = "MASHANG_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
}

impl HttpArgs {
    /// Puts together what was said, the file last, and lets the process open as many files as it may.
    ///
    /// # Errors
    /// Something is wrong: usage.
    pub(crate) fn check(self, file: Self) -> Result<PortConfig> {
        let files = raise_files().context("the system does not tell how many files may be open")?;
        let fit = files.saturating_sub(FILES_BESIDE).max(1);
        let connections = self.connections.or(file.connections).unwrap_or(CONNECTIONS.min(fit));
        if !(1..=CONNECTIONS_MOST).contains(&connections) {
            return Err(usage(format!("connections is {connections}: give 1 to {CONNECTIONS_MOST}")));
        }
        if connections > fit {
            return Err(usage(format!(
                "connections is {connections}, and no more than {files} files may be open: give at most {fit}, or raise the limit (LimitNOFILE, ulimit -Hn)"
            )));
        }
        let proxies = self.proxy_trust.or(file.proxy_trust).unwrap_or(Trust::nobody());
        let expects_proxy = self.proxy_protocol.or(file.proxy_protocol).unwrap_or(false);
        if expects_proxy && proxies == Trust::nobody() {
            return Err(usage("proxy-protocol: would let nobody in: give the proxies' networks in --proxy-trust"));
        }
        let idle_timeout = self.idle_timeout.or(file.idle_timeout).unwrap_or(IDLE_TIMEOUT);
        if !(IDLE_TIMEOUT_LEAST..=IDLE_TIMEOUT_MOST).contains(&idle_timeout) {
            return Err(usage("idle-timeout: give 1s to 1h; balancers keep connections for 60s"));
        }
        let tls = match (self.tls_cert.or(file.tls_cert), self.tls_key.or(file.tls_key)) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(Arc::new(Tls::open(&certificate, &key).map_err(usage)?)),
            (Some(_), None) => {
                return Err(usage("tls-cert is for a certificate with its key: give --tls-key FILE too"));
            }
            (None, Some(_)) => return Err(usage("tls-key is the key of a certificate: give --tls-cert FILE too")),
        };
        Ok(PortConfig {
            connections_max: usize::try_from(connections).expect("a million at most"),
            proxies,
            expects_proxy,
            idle_timeout,
            tls,
        })
    }
}
