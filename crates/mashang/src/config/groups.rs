//! Settings that several commands take, in groups. Each setting is declared here once; the command line, the environment and
//! the file of `--config` give it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use edge::ingest::service::Limits;
use eventlog::kafka::settings::Settings as Kafka;
use web::networks::Trust;
use web::server::listen::raise_files;
use web::server::port::PortConfig;
use web::server::tls::Tls;

use crate::config::address::Address;
use crate::config::file::kafka_tables;
use crate::config::options::Udp;
use crate::config::options::{LogFormat, ShopperLimit, duration};
use crate::usage;

/// Default maximum of open connections, lowered to what the limit of open files allows.
const CONNECTIONS: u64 = 20_000;
/// Largest maximum of connections that may be set; more are refused.
const CONNECTIONS_MOST: u64 = 1_000_000;
/// Shortest and longest idle timeout that may be set; others are refused.
const IDLE_TIMEOUT_LEAST: Duration = Duration::from_secs(1);
const IDLE_TIMEOUT_MOST: Duration = Duration::from_hours(1);
/// Number of files that a process has open beside its connections: segments of the log, the ledger, files of its threads.
const FILES_BESIDE: u64 = 512;
/// Minimum memory for requests in flight, bytes: one body fits; less is refused.
const INFLIGHT_BYTES_MIN: u32 = 32 * 1024 * 1024;
/// Minimum size of a spool, bytes: some rounds fit; less is refused.
const SPOOL_BYTES_MIN: u64 = 1024 * 1024;
/// Default size of a spool, bytes.
const SPOOL_BYTES: u64 = 1024 * 1024 * 1024;
/// Default time without an acknowledgement after which events go to the spool.
const SPOOL_AFTER: Duration = Duration::from_secs(2);
/// Shortest and longest time for that; others are refused. With less, every short delay would use the disk; with more, the
/// sender's timeout would pass first.
const SPOOL_AFTER_LEAST: Duration = Duration::from_millis(100);
const SPOOL_AFTER_MOST: Duration = Duration::from_secs(20);
/// Shortest and longest session timeout that brokers take unless they are configured otherwise.
const SESSION_TIMEOUT_LEAST: Duration = Duration::from_secs(6);
const SESSION_TIMEOUT_MOST: Duration = Duration::from_mins(30);

/// What every process takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct ProcessSettings {
    /// Address of health and metrics
    #[arg(long, env = "MASHANG_ADMIN", value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    pub(crate) admin: Address,
    /// Format of the log messages
    #[arg(long, env = "MASHANG_LOG_FORMAT", value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// A port for HTTP.
#[derive(Clone, Debug, Args)]
pub(crate) struct HttpSettings {
    /// Address for HTTP: events, results, the page
    #[arg(long, env = "MASHANG_HTTP", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) http: Address,
    /// API keys (mode 0600); without them only addresses of this machine may be bound
    #[arg(long, env = "MASHANG_KEYS", value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// Maximum of open connections; more wait to be accepted [default: 20000, or what the limit of open files allows]
    #[arg(long, env = "MASHANG_CONNECTIONS", value_name = "N")]
    connections: Option<u64>,
    /// Networks of proxies whose X-Forwarded-For is believed, or none
    #[arg(
        long,
        env = "MASHANG_PROXY_TRUST",
        value_name = "NETWORK,…",
        default_value = "none",
        hide_default_value = false
    )]
    proxy_trust: Trust,
    /// Take connections from those proxies alone, each beginning with a header of the PROXY protocol, version 1 or 2
    #[arg(
        long,
        env = "MASHANG_PROXY_PROTOCOL",
        value_name = "BOOL",
        num_args = 0..=1,
        default_value = "false",
        default_missing_value = "true"
    )]
    proxy_protocol: bool,
    /// How long a connection without a request is kept, longer than balancers keep theirs
    #[arg(long, env = "MASHANG_IDLE_TIMEOUT", value_name = "DURATION", value_parser = duration, default_value = "75s")]
    idle_timeout: Duration,
    /// TLS: the certificate and those that signed it, in PEM; read again when it changes
    #[arg(long, env = "MASHANG_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// TLS: the certificate's key, in PEM, which others must not be able to read
    #[arg(long, env = "MASHANG_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// How long a stop waits, not ready, before connections end, such as 5s
    #[arg(long, env = "MASHANG_DRAIN_WAIT", value_name = "DURATION", value_parser = duration, default_value = "0s")]
    pub(crate) drain_wait: Duration,
}

/// How events come in.
#[derive(Clone, Debug, Args)]
pub(crate) struct IngestSettings {
    /// Address for datagrams, or none [default: 127.0.0.1:5683, if it is free]
    #[arg(long, env = "MASHANG_UDP", value_name = "ADDRESS")]
    udp: Option<Udp>,
    /// Networks whose datagrams are taken without a signature, or none [default: this machine]
    #[arg(long, env = "MASHANG_UDP_TRUST", value_name = "NETWORK,…")]
    udp_trust: Option<Trust>,
    /// Memory of requests in flight, bytes; beyond it requests get 503
    #[arg(long, env = "MASHANG_INFLIGHT_BYTES", value_name = "N", default_value_t = 268_435_456)]
    pub(crate) inflight_bytes: u32,
    /// Events a second beyond which a shopper is turned away while memory is short; 0: never
    #[arg(long, env = "MASHANG_SHOPPER_LIMIT", value_name = "N", default_value = "1000")]
    pub(crate) shopper_limit: ShopperLimit,
}

/// Where events are made durable while Kafka is slow or unavailable.
#[derive(Clone, Debug, Args)]
pub(crate) struct SpoolSettings {
    /// Directory, of this process alone, where events are durable while Kafka is slow or unavailable [default: none, then 503]
    #[arg(long, env = "MASHANG_SPOOL", value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Size of the spool's files, bytes; beyond it 503 [default: 1073741824]
    #[arg(long, env = "MASHANG_SPOOL_BYTES", value_name = "N")]
    spool_bytes: Option<u64>,
    /// Time after which events that Kafka has not acknowledged go into the spool [default: 2s]
    #[arg(long, env = "MASHANG_SPOOL_AFTER", value_name = "DURATION", value_parser = duration)]
    spool_after: Option<Duration>,
}

/// A process that shares partitions with others of its role.
#[derive(Clone, Debug, Args)]
pub(crate) struct GroupSettings {
    /// How long a process may be gone before others take its partitions
    #[arg(
        long,
        env = "MASHANG_SESSION_TIMEOUT",
        value_name = "DURATION",
        value_parser = duration,
        default_value = "45s"
    )]
    pub(crate) session_timeout: Duration,
    /// Time without progress after which /livez fails
    #[arg(long, env = "MASHANG_STUCK_AFTER", value_name = "DURATION", value_parser = duration, default_value = "60s")]
    pub(crate) stuck_after: Duration,
}

/// Where the log is.
#[derive(Clone, Debug, Args)]
pub(crate) struct KafkaArgs {
    /// Brokers, HOST:PORT, with commas
    #[arg(long, env = "MASHANG_KAFKA", value_name = "HOST:PORT,…")]
    pub(crate) kafka: Option<String>,
    /// Topics are PREFIX.scans and so on: several deployments may share brokers [default: mashang]
    #[arg(long, env = "MASHANG_PREFIX", value_name = "PREFIX")]
    prefix: Option<String>,
    /// File with more of these settings, and those of the Kafka client
    #[arg(long, env = "MASHANG_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Where a spool is, how large it may be, and when it is used.
#[derive(Debug)]
pub(crate) struct Spool {
    pub(crate) dir: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) after: Duration,
}

impl HttpSettings {
    /// Checks the settings and raises the limit of open files as far as the system allows.
    ///
    /// # Errors
    /// Something is wrong: usage.
    pub(crate) fn port(&self) -> Result<PortConfig> {
        let files = raise_files().context("the system reports no limit of open files")?;
        let fit = files.saturating_sub(FILES_BESIDE).max(1);
        let connections = self.connections.unwrap_or(CONNECTIONS.min(fit));
        if !(1..=CONNECTIONS_MOST).contains(&connections) {
            return Err(usage(format!("connections is {connections}: give 1 to {CONNECTIONS_MOST}")));
        }
        if connections > fit {
            return Err(usage(format!(
                "connections is {connections}, and no more than {files} files may be open: give at most {fit}, or raise the limit (LimitNOFILE, ulimit -Hn)"
            )));
        }
        if self.proxy_protocol && self.proxy_trust == Trust::none() {
            return Err(usage(
                "proxy-protocol: no connection would be taken: give the proxies' networks in --proxy-trust",
            ));
        }
        if !(IDLE_TIMEOUT_LEAST..=IDLE_TIMEOUT_MOST).contains(&self.idle_timeout) {
            return Err(usage("idle-timeout: give 1s to 1h; balancers keep connections for 60s"));
        }
        let tls = match (&self.tls_cert, &self.tls_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(Arc::new(Tls::open(certificate, key).map_err(usage)?)),
            (Some(_), None) => {
                return Err(usage("tls-cert is for a certificate with its key: give --tls-key FILE too"));
            }
            (None, Some(_)) => return Err(usage("tls-key is the key of a certificate: give --tls-cert FILE too")),
        };
        Ok(PortConfig {
            connections_max: usize::try_from(connections).expect("a million at most"),
            proxies: self.proxy_trust.clone(),
            expects_proxy: self.proxy_protocol,
            idle_timeout: self.idle_timeout,
            tls,
        })
    }

    /// Checks that addresses which other machines can reach have keys. `others` are the process's other addresses, by option.
    ///
    /// # Errors
    /// An address is open to other machines, and there are no keys: usage.
    pub(crate) fn check_addresses(&self, others: [(&str, Option<SocketAddr>); 2]) -> Result<()> {
        let [one, other] = others;
        for (name, address) in [("http", Some(self.http.get())), one, other] {
            if let Some(address) = address.filter(|address| self.keys.is_none() && !address.ip().is_loopback()) {
                return Err(usage(format!(
                    "--{name} {address}: others can reach this address, and there are no keys: give --keys FILE, or an address of this machine such as 127.0.0.1"
                )));
            }
        }
        Ok(())
    }
}

impl IngestSettings {
    pub(crate) fn udp(&self) -> Udp {
        self.udp.unwrap_or_default()
    }

    pub(crate) fn udp_trust(&self) -> Trust {
        self.udp_trust.clone().unwrap_or_else(Trust::loopback)
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits { inflight_bytes_max: self.inflight_bytes as usize, shopper_events_per_s: self.shopper_limit.get() }
    }

    /// # Errors
    /// Something is wrong: usage.
    pub(crate) fn check(&self) -> Result<()> {
        let (given, least) = (self.inflight_bytes, INFLIGHT_BYTES_MIN);
        if given < least {
            return Err(usage(format!("inflight-bytes is {given}: give {least} or more, room for one body")));
        }
        Ok(())
    }
}

impl SpoolSettings {
    /// The spool, if there is one.
    ///
    /// # Errors
    /// Something is wrong: usage.
    pub(crate) fn check(self) -> Result<Option<Spool>> {
        let Some(dir) = self.spool else {
            if self.spool_bytes.is_some() || self.spool_after.is_some() {
                return Err(usage("spool-bytes and spool-after are for a spool: give --spool DIR too"));
            }
            return Ok(None);
        };
        let bytes = self.spool_bytes.unwrap_or(SPOOL_BYTES);
        if bytes < SPOOL_BYTES_MIN {
            return Err(usage(format!("spool-bytes is {bytes}: give {SPOOL_BYTES_MIN} or more, room for some rounds")));
        }
        let after = self.spool_after.unwrap_or(SPOOL_AFTER);
        if !(SPOOL_AFTER_LEAST..=SPOOL_AFTER_MOST).contains(&after) {
            return Err(usage("spool-after: give 100ms to 20s; senders wait for 30s"));
        }
        Ok(Some(Spool { dir, bytes, after }))
    }
}

impl GroupSettings {
    /// # Errors
    /// Something is wrong: usage.
    pub(crate) fn check(&self) -> Result<()> {
        if !(SESSION_TIMEOUT_LEAST..=SESSION_TIMEOUT_MOST).contains(&self.session_timeout) {
            return Err(usage("session-timeout: give 6s to 30m, as brokers take it"));
        }
        Ok(())
    }
}

impl KafkaArgs {
    /// The log's brokers and topics, with the client's own settings from the file.
    ///
    /// # Errors
    /// Something is missing or wrong: usage.
    pub(crate) fn settings(&self) -> Result<Kafka> {
        let missing = "--kafka is missing: give it, set MASHANG_KAFKA, or write `kafka` into the file of --config";
        let mut kafka = Kafka::new(self.kafka.as_ref().ok_or_else(|| usage(missing))?);
        if let Some(prefix) = &self.prefix {
            kafka.prefix.clone_from(prefix);
        }
        [kafka.client, kafka.producer, kafka.consumer] = kafka_tables(self.config.as_deref())?;
        kafka.check().map_err(usage)?;
        Ok(kafka)
    }
}
