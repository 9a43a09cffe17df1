//! Settings that several commands take, in groups. Each setting is declared here once; the command line, the environment and
//! the file of `--config` give it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::http::HeaderName;
use clap::Args;
use edge::ingest::limits::Limits;
use edge::transport::browser::link_hosts::LinkHost;
use edge::transport::browser::region::RegionSources;
use edge::transport::browser::region::geoip::Geoip;
use edge::transport::browser::region::map::RegionMap;
use eventlog::archive::copier::Copier;
use eventlog::files::Files;
use eventlog::kafka::settings::Settings as Kafka;
use eventlog::local::meta::Meta;
use prometheus::Registry;
use web::networks::Trust;
use web::quota::client_limits::{ClientLimits, ClientRates};
use web::server::listen::raise_files;
use web::server::port::PortConfig;
use web::server::tls::Tls;

use crate::config::address::Address;
use crate::config::file::kafka_tables;
use crate::config::options::{LogFormat, Rate, Udp, duration, header_name, text};
use crate::store::Store;
use crate::usage;
use worker::archiver::{ArchivePolicy, Archiver};

/// Default maximum of open connections, lowered to what the limit of open files allows.
const CONNECTIONS: u64 = 20_000;
/// Largest maximum of connections that may be set; more are refused.
const CONNECTIONS_MAX: u64 = 1_000_000;
/// Shortest and longest idle timeout that may be set; others are refused.
const IDLE_TIMEOUT_MIN: Duration = Duration::from_secs(1);
const IDLE_TIMEOUT_MAX: Duration = Duration::from_hours(1);
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
const SPOOL_AFTER_MIN: Duration = Duration::from_millis(100);
const SPOOL_AFTER_MAX: Duration = Duration::from_secs(20);
/// Shortest and longest session timeout that brokers take unless they are configured otherwise.
const SESSION_TIMEOUT_MIN: Duration = Duration::from_secs(6);
const SESSION_TIMEOUT_MAX: Duration = Duration::from_mins(30);

/// What every process takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct ProcessArgs {
    /// Address of health and metrics
    #[arg(long, env = "MASHANG_ADMIN", value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    pub(crate) admin: Address,
    /// Format of the log messages
    #[arg(long, env = "MASHANG_LOG_FORMAT", value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// A port for HTTP.
#[derive(Clone, Debug, Args)]
pub(crate) struct HttpArgs {
    /// Address for HTTP: events, results, the page
    #[arg(long, env = "MASHANG_HTTP", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) http: Address,
    /// API keys (mode 0600); without them only addresses of this machine may be bound
    #[arg(long, env = "MASHANG_KEYS", value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// Maximum of open connections; more wait to be accepted [default: 20000, or what the limit of open files allows]
    #[arg(long, env = "MASHANG_CONNECTIONS", value_name = "N")]
    connections: Option<u64>,
    /// Connections of one client address; further ones are closed; 0: no limit [default: a quarter of --connections]
    #[arg(long, env = "MASHANG_CLIENT_CONNECTIONS", value_name = "N")]
    client_connections: Option<u32>,
    /// Requests per second of one client address without a valid key; beyond it 429; 0: no limit
    #[arg(long, env = "MASHANG_CLIENT_REQUESTS", value_name = "N", default_value = "200")]
    client_requests: Rate,
    /// Keyless scans per second of one client address; beyond it 429; 0: no limit
    #[arg(long, env = "MASHANG_CLIENT_SCANS", value_name = "N", default_value = "100")]
    client_scans: Rate,
    /// Networks of proxies whose X-Forwarded-For is believed, or none
    #[arg(
        long,
        env = "MASHANG_PROXY_TRUST",
        value_name = "NETWORK,…",
        default_value = "none",
        hide_default_value = false
    )]
    proxy_trust: Trust,
    /// Accept only connections from --proxy-trust networks; each must begin with a PROXY protocol header, version 1 or 2
    #[arg(
        long,
        env = "MASHANG_PROXY_PROTOCOL",
        value_name = "BOOL",
        num_args = 0..=1,
        default_value = "false",
        default_missing_value = "true"
    )]
    proxy_protocol: bool,
    /// Idle time after which a connection is closed, 1s to 1h; longer than the balancer's
    #[arg(long, env = "MASHANG_IDLE_TIMEOUT", value_name = "DURATION", value_parser = duration, default_value = "75s")]
    idle_timeout: Duration,
    /// TLS certificate chain, PEM; the file is read again when it changes
    #[arg(long, env = "MASHANG_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// TLS private key, PEM; readable by its owner only
    #[arg(long, env = "MASHANG_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Time from "not ready" to the end of connections when the process stops, such as 5s
    #[arg(long, env = "MASHANG_DRAIN_WAIT", value_name = "DURATION", value_parser = duration, default_value = "0s")]
    pub(crate) drain_wait: Duration,
}

/// How events come in.
#[derive(Clone, Debug, Args)]
pub(crate) struct IngestArgs {
    /// Address for datagrams, or none [default: 127.0.0.1:5683, if it is free]
    #[arg(long, env = "MASHANG_UDP", value_name = "ADDRESS")]
    udp: Option<Udp>,
    /// Networks whose datagrams are taken without a signature, or none [default: this machine]
    #[arg(long, env = "MASHANG_UDP_TRUST", value_name = "NETWORK,…")]
    udp_trust: Option<Trust>,
    /// Memory of requests in flight, bytes; beyond it requests get 503
    #[arg(long, env = "MASHANG_INFLIGHT_BYTES", value_name = "N", default_value_t = 268_435_456)]
    pub(crate) inflight_bytes: u32,
    /// Events per second of one shopper, from one key; beyond it they are refused; 0: no limit
    #[arg(long, env = "MASHANG_SHOPPER_LIMIT", value_name = "N", default_value = "10000")]
    pub(crate) shopper_limit: Rate,
    /// Whose a link is, by its host, and a path if need be, where several merchants have its code
    #[arg(long, env = "MASHANG_LINK_HOST", value_name = "HOST[/PATH]=MERCHANT,…", value_delimiter = ',')]
    link_host: Vec<LinkHost>,
    #[command(flatten)]
    region: RegionArgs,
}

/// Where the regions of keyless scans come from.
#[derive(Clone, Debug, Args)]
struct RegionArgs {
    /// Header that names the region of a keyless scan; believed of --proxy-trust networks only, and goes before --geoip
    #[arg(long, env = "MASHANG_REGION_HEADER", value_name = "NAME", value_parser = header_name)]
    region_header: Option<HeaderName>,
    /// MaxMind database of City or Country: the region of a keyless scan by its address (CN-ZJ); read again when it changes
    #[arg(long, env = "MASHANG_GEOIP", value_name = "FILE")]
    geoip: Option<PathBuf>,
    /// CSV file from,region: the regions of what --region-header or --geoip says; what it lacks is no region
    #[arg(long, env = "MASHANG_REGION_MAP", value_name = "FILE")]
    region_map: Option<PathBuf>,
}

/// Where events are made durable while Kafka is slow or unavailable.
#[derive(Clone, Debug, Args)]
pub(crate) struct SpoolArgs {
    /// Directory for events while Kafka is slow or unavailable; for this process only [default: none, answer 503]
    #[arg(long, env = "MASHANG_SPOOL", value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Size of the spool's files, bytes, at least 1 MiB; beyond it 503 [default: 1073741824]
    #[arg(long, env = "MASHANG_SPOOL_BYTES", value_name = "N")]
    spool_bytes: Option<u64>,
    /// Time after which events that Kafka has not acknowledged go into the spool, 100ms to 20s [default: 2s]
    #[arg(long, env = "MASHANG_SPOOL_AFTER", value_name = "DURATION", value_parser = duration)]
    spool_after: Option<Duration>,
}

/// A process that shares partitions with others of its role.
#[derive(Clone, Debug, Args)]
pub(crate) struct GroupArgs {
    /// How long a process may be gone before others take its partitions, 6s to 30m
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

/// Where events are archived.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ArchiveArgs {
    /// Copy accepted events to file:DIR or s3://BUCKET/PREFIX, where they stay longer than in the log
    #[arg(long, env = "MASHANG_ARCHIVE", value_name = "URL")]
    archive: Option<String>,
    /// Interval at which new events are archived, such as 1h
    #[arg(long, env = "MASHANG_ARCHIVE_EVERY", value_name = "DURATION", value_parser = duration, default_value = "1h")]
    archive_every: Duration,
    /// How long the archive keeps events after the end of their day (UTC), such as 730d [default: for ever]
    #[arg(long, env = "MASHANG_ARCHIVE_KEEP", value_name = "DURATION", value_parser = duration)]
    archive_keep: Option<Duration>,
}

/// Where events are archived, checked.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    pub(crate) store: Store,
    pub(crate) policy: ArchivePolicy,
}

/// Where a spool is, how large it may be, and when it is used.
#[derive(Debug)]
pub(crate) struct Spool {
    pub(crate) dir: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) after: Duration,
}

impl HttpArgs {
    /// Checks the settings and raises the limit of open files as far as the system allows.
    ///
    /// # Errors
    /// Something is wrong: usage.
    pub(crate) fn port(&self) -> Result<PortConfig> {
        let files = raise_files().context("the system reports no limit of open files")?;
        let fit = files.saturating_sub(FILES_BESIDE).max(1);
        let connections = self.connections.unwrap_or(CONNECTIONS.min(fit));
        if !(1..=CONNECTIONS_MAX).contains(&connections) {
            return Err(usage(format!("connections is {connections}: give 1 to {CONNECTIONS_MAX}")));
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
        if !(IDLE_TIMEOUT_MIN..=IDLE_TIMEOUT_MAX).contains(&self.idle_timeout) {
            return Err(usage(format!("idle-timeout is {}: give 1s to 1h", text(self.idle_timeout))));
        }
        let tls = match (&self.tls_cert, &self.tls_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(Arc::new(Tls::open(certificate, key).map_err(usage)?)),
            (Some(_), None) => {
                return Err(usage("tls-cert is for a certificate with its key: give --tls-key FILE too"));
            }
            (None, Some(_)) => return Err(usage("tls-key is the key of a certificate: give --tls-cert FILE too")),
        };
        let quarter = u32::try_from(connections / 4).expect("a million at most").max(1);
        // Without keys all clients are of this machine.
        let client_limits = self.keys.is_some().then(|| {
            ClientLimits::new(ClientRates {
                connections: self.client_connections.unwrap_or(quarter),
                requests_per_s: self.client_requests.get(),
                scans_per_s: self.client_scans.get(),
            })
        });
        Ok(PortConfig {
            client_limits,
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

impl IngestArgs {
    pub(crate) fn udp(&self) -> Udp {
        self.udp.unwrap_or_default()
    }

    pub(crate) fn udp_trust(&self) -> Trust {
        self.udp_trust.clone().unwrap_or_else(Trust::loopback)
    }

    pub(crate) fn limits(&self, client_limits: Option<Arc<ClientLimits>>) -> Limits {
        Limits {
            inflight_bytes_max: self.inflight_bytes as usize,
            shopper_events_per_s: self.shopper_limit.get(),
            client_limits,
            link_hosts: self.link_host.clone(),
            shedding: Arc::default(),
        }
    }

    /// What regions are found by; reads the files.
    ///
    /// # Errors
    /// A file cannot be read, or has mistakes: usage.
    pub(crate) fn open_regions(&self) -> Result<RegionSources> {
        let RegionArgs { region_header, geoip, region_map } = &self.region;
        Ok(RegionSources {
            header: region_header.clone(),
            geoip: geoip.as_deref().map(Geoip::open).transpose().map_err(usage)?,
            map: region_map.as_deref().map(RegionMap::open).transpose().map_err(usage)?,
        })
    }

    /// # Errors
    /// Something is wrong: usage.
    pub(crate) fn check(&self, http: &HttpArgs) -> Result<()> {
        let RegionArgs { region_header, geoip, region_map } = &self.region;
        if region_header.is_some() && http.proxy_trust == Trust::none() {
            return Err(usage(
                "region-header: no sender would be believed: give the proxies' networks in --proxy-trust",
            ));
        }
        if region_map.is_some() && region_header.is_none() && geoip.is_none() {
            return Err(usage(
                "region-map is for what a header or a database says: give --region-header or --geoip too",
            ));
        }
        let (given, least) = (self.inflight_bytes, INFLIGHT_BYTES_MIN);
        if given < least {
            return Err(usage(format!("inflight-bytes is {given}: give {least} or more, room for one body")));
        }
        Ok(())
    }
}

impl Archive {
    /// Copies a log there.
    ///
    /// # Errors
    /// The environment has not what the store needs: usage.
    pub(crate) fn archiver(&self, files: Arc<dyn Files>, meta: &Meta, registry: &Registry) -> Result<Arc<Archiver>> {
        let copier = Copier::new(eventlog::archive::Archive::new(self.store.open(files)?), meta.clone());
        Ok(Arc::new(Archiver::new(copier, self.policy, registry)))
    }
}

impl ArchiveArgs {
    /// # Errors
    /// Something is wrong: usage.
    pub(crate) fn check(self) -> Result<Option<Archive>> {
        let Some(url) = self.archive else {
            return match self.archive_keep {
                Some(_) => Err(usage("archive-keep is for an archive: give --archive too")),
                None => Ok(None),
            };
        };
        if self.archive_every.is_zero() {
            return Err(usage("archive-every is 0s: give a time, such as 1h"));
        }
        let policy = ArchivePolicy { every: self.archive_every, keep: self.archive_keep };
        Ok(Some(Archive { store: Store::of_option("archive", &url)?, policy }))
    }
}

impl SpoolArgs {
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
        if !(SPOOL_AFTER_MIN..=SPOOL_AFTER_MAX).contains(&after) {
            return Err(usage(format!("spool-after is {}: give 100ms to 20s; senders wait for 30s", text(after))));
        }
        Ok(Some(Spool { dir, bytes, after }))
    }
}

impl GroupArgs {
    /// # Errors
    /// Something is wrong: usage.
    pub(crate) fn check(&self) -> Result<()> {
        if !(SESSION_TIMEOUT_MIN..=SESSION_TIMEOUT_MAX).contains(&self.session_timeout) {
            let given = text(self.session_timeout);
            return Err(usage(format!("session-timeout is {given}: give 6s to 30m, as brokers take it")));
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
