//! What a role was told: the command line, then the environment, then a file, then defaults.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use eventlog::kafka::settings::Settings as Kafka;
use ledger::url::LedgerUrl;
use serde::Deserialize;
use web::networks::Trust;
use web::server::port::PortConfig;

use crate::cli::address::Address;
use crate::cli::http_args::HttpArgs;
use crate::cli::options::{LogFormat, ShopperLimit};
use crate::cli::role_args::{ConsoleArgs, DeskArg, EdgeArgs, KafkaArgs, LedgerArgs, RoleArgs, WorkerArgs};
use crate::config::serve::{INFLIGHT_BYTES, config_error};
use crate::process::sockets::Udp;
use crate::rules::object_store::Store;
use crate::usage;

/// What every role is told.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) kafka: Kafka,
    pub(crate) admin: SocketAddr,
    pub(crate) instance: String,
    pub(crate) secrets: PathBuf,
    pub(crate) check_topics_every: Duration,
    pub(crate) log_format: LogFormat,
}

/// What a role with a door is told.
#[derive(Debug)]
pub(crate) struct HttpPortSettings {
    pub(crate) http: SocketAddr,
    pub(crate) front: PortConfig,
    pub(crate) keys: Option<PathBuf>,
    pub(crate) inflight_bytes: u32,
    pub(crate) drain_wait: Duration,
}

/// Where an edge keeps what Kafka does not take soon.
#[derive(Debug)]
pub(crate) struct Spool {
    pub(crate) dir: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) after: Duration,
}

#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) role: Role,
    pub(crate) store: Store,
    pub(crate) door: HttpPortSettings,
    pub(crate) spool: Option<Spool>,
    pub(crate) udp: Udp,
    pub(crate) udp_trust: Trust,
    pub(crate) shopper_limit: ShopperLimit,
}

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) role: Role,
    pub(crate) store: Store,
    pub(crate) desks: Vec<DeskArg>,
    pub(crate) lanes: usize,
    pub(crate) snapshot_every: Duration,
    pub(crate) session_timeout: Duration,
    pub(crate) stuck_after: Duration,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) role: Role,
    pub(crate) ledger: LedgerUrl,
    pub(crate) session_timeout: Duration,
    pub(crate) stuck_after: Duration,
}

#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) role: Role,
    pub(crate) ledger: LedgerUrl,
    pub(crate) door: HttpPortSettings,
}

/// The same, as they stand in a file that all roles may share.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FromFile {
    kafka: Option<String>,
    prefix: Option<String>,
    store: Option<String>,
    ledger: Option<String>,
    http: Option<Address>,
    connections: Option<u64>,
    proxy_trust: Option<Trust>,
    proxy_protocol: Option<bool>,
    idle_timeout: Option<String>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    udp: Option<Udp>,
    udp_trust: Option<Trust>,
    admin: Option<Address>,
    instance: Option<String>,
    keys: Option<PathBuf>,
    secrets: Option<PathBuf>,
    desk: Option<Vec<DeskArg>>,
    lanes: Option<u16>,
    snapshot_every: Option<String>,
    session_timeout: Option<String>,
    stuck_after: Option<String>,
    shopper_limit: Option<ShopperLimit>,
    inflight_bytes: Option<u32>,
    drain_wait: Option<String>,
    spool: Option<PathBuf>,
    spool_bytes: Option<u64>,
    spool_after: Option<String>,
    check_topics_every: Option<String>,
    log_format: Option<LogFormat>,
    #[serde(default)]
    kafka_client: BTreeMap<String, Value>,
    #[serde(default)]
    kafka_producer: BTreeMap<String, Value>,
    #[serde(default)]
    kafka_consumer: BTreeMap<String, Value>,
}

/// A setting of the Kafka client, which takes all of them as text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Number(i64),
    Switch(bool),
}

impl From<Value> for String {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Switch(switch) => switch.to_string(),
        }
    }
}

/// A file of settings, and where it lies.
struct File {
    said: FromFile,
    beside: PathBuf,
}

const SESSION_TIMEOUT: Duration = Duration::from_secs(45);
const STUCK_AFTER: Duration = Duration::from_mins(1);
const CHECK_TOPICS_EVERY: Duration = Duration::from_mins(1);
const SPOOL_BYTES: u64 = 1024 * 1024 * 1024;
/// Less would hold no round.
const SPOOL_BYTES_MIN: u64 = 1024 * 1024;
const SPOOL_AFTER: Duration = Duration::from_secs(2);
/// Sooner, every hiccup would go to the disk; later, whoever waits for the answer has given up.
const SPOOL_AFTER_LEAST: Duration = Duration::from_millis(100);
const SPOOL_AFTER_MOST: Duration = Duration::from_secs(20);

impl File {
    fn of(config: Option<&Path>) -> Result<Self> {
        let Some(path) = config else { return Ok(Self { said: FromFile::default(), beside: PathBuf::new() }) };
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|e| usage(format!("--config {name}: cannot be read: {e}")))?;
        let said = toml::from_str(&text).map_err(|e| config_error(path, &text, &e))?;
        Ok(Self { said, beside: path.parent().unwrap_or(Path::new("")).to_owned() })
    }

    fn here(&self, path: Option<PathBuf>) -> Option<PathBuf> {
        path.map(|path| self.beside.join(path))
    }

    fn kafka(&mut self, args: KafkaArgs) -> Result<Kafka> {
        let brokers = args.kafka.or(self.said.kafka.take()).ok_or_else(|| missing("kafka"))?;
        let mut kafka = Kafka::new(&brokers);
        if let Some(prefix) = args.prefix.or(self.said.prefix.take()) {
            kafka.prefix = prefix;
        }
        let texts = |table: &mut BTreeMap<String, Value>| {
            std::mem::take(table).into_iter().map(|(name, value)| (name, value.into())).collect()
        };
        kafka.client = texts(&mut self.said.kafka_client);
        kafka.producer = texts(&mut self.said.kafka_producer);
        kafka.consumer = texts(&mut self.said.kafka_consumer);
        kafka.check().map_err(usage)?;
        Ok(kafka)
    }

    fn role(&mut self, args: RoleArgs, what: &str) -> Result<Role> {
        let instance = args.instance.or(self.said.instance.take()).unwrap_or_else(|| format!("{what}-{}", host()));
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if instance.is_empty() || instance.len() > 200 || !instance.chars().all(is_name) {
            return Err(usage(format!(
                "--instance {instance}: give up to 200 letters, digits, dots, lines and underlines"
            )));
        }
        let secrets = self.said.secrets.take();
        let every = self.said.check_topics_every.take();
        let every = self.lasts("check-topics-every", args.check_topics_every, every.as_ref(), CHECK_TOPICS_EVERY)?;
        if every.is_zero() {
            return Err(usage("check-topics-every: give a time, such as 60s"));
        }
        Ok(Role {
            check_topics_every: every,
            kafka: self.kafka(args.kafka)?,
            admin: args.admin.or(self.said.admin).unwrap_or(Address::local(9464)).get(),
            instance,
            secrets: args.secrets.or(self.here(secrets)).unwrap_or_default(),
            log_format: args.log_format.or(self.said.log_format).unwrap_or(LogFormat::Text),
        })
    }

    fn store(&mut self, given: Option<String>) -> Result<Store> {
        given.or(self.said.store.take()).ok_or_else(|| missing("store"))?.parse().map_err(usage)
    }

    fn ledger(&mut self, given: Option<String>) -> Result<LedgerUrl> {
        given.or(self.said.ledger.take()).ok_or_else(|| missing("ledger"))?.parse().map_err(usage)
    }

    fn lasts(&self, key: &str, given: Option<Duration>, text: Option<&String>, default: Duration) -> Result<Duration> {
        let Some(text) = text.filter(|_| given.is_none()) else { return Ok(given.unwrap_or(default)) };
        lasts(key, text)
    }

    fn session_timeout(&self, given: Option<Duration>) -> Result<Duration> {
        let timeout = self.lasts("session-timeout", given, self.said.session_timeout.as_ref(), SESSION_TIMEOUT)?;
        // What brokers take unless they are set otherwise.
        let (least, most) = (Duration::from_secs(6), Duration::from_mins(30));
        if !(least..=most).contains(&timeout) {
            return Err(usage("session-timeout: give 6s to 30m, as brokers take it"));
        }
        Ok(timeout)
    }

    fn stuck_after(&self, given: Option<Duration>) -> Result<Duration> {
        self.lasts("stuck-after", given, self.said.stuck_after.as_ref(), STUCK_AFTER)
    }

    fn door(
        &mut self,
        (admin, udp): (SocketAddr, Option<SocketAddr>),
        (http, front): (Option<Address>, HttpArgs),
        keys: Option<PathBuf>,
        inflight_bytes: Option<u32>,
        drain_wait: Option<Duration>,
    ) -> Result<HttpPortSettings> {
        let own_keys = self.said.keys.take();
        let keys = keys.or(self.here(own_keys));
        let (tls_cert, tls_key) = (self.said.tls_cert.take(), self.said.tls_key.take());
        let idle_timeout = self.said.idle_timeout.take();
        let idle_timeout = idle_timeout.map(|text| lasts("idle-timeout", &text)).transpose()?;
        let front = front.check(HttpArgs {
            connections: self.said.connections,
            proxy_trust: self.said.proxy_trust.take(),
            proxy_protocol: self.said.proxy_protocol,
            idle_timeout,
            tls_cert: self.here(tls_cert),
            tls_key: self.here(tls_key),
        })?;
        let http = http.or(self.said.http).unwrap_or(Address::local(8080)).get();
        let inflight_bytes = inflight_bytes.or(self.said.inflight_bytes).unwrap_or(INFLIGHT_BYTES);
        let doors = [("http", Some(http)), ("udp", udp), ("admin", Some(admin))];
        crate::config::serve::check_door(keys.is_some(), doors, inflight_bytes)?;
        let drain_wait = self.lasts("drain-wait", drain_wait, self.said.drain_wait.as_ref(), Duration::ZERO)?;
        Ok(HttpPortSettings { http, front, keys, inflight_bytes, drain_wait })
    }

    fn spool(&mut self, dir: Option<PathBuf>, bytes: Option<u64>, after: Option<Duration>) -> Result<Option<Spool>> {
        let own = self.said.spool.take();
        let bytes = bytes.or(self.said.spool_bytes);
        let said_after = self.said.spool_after.take();
        let Some(dir) = dir.or(self.here(own)) else {
            if bytes.is_some() || after.is_some() || said_after.is_some() {
                return Err(usage("spool-bytes and spool-after are for a spool: give --spool DIR too"));
            }
            return Ok(None);
        };
        let bytes = bytes.unwrap_or(SPOOL_BYTES);
        if bytes < SPOOL_BYTES_MIN {
            return Err(usage(format!("spool-bytes is {bytes}: give {SPOOL_BYTES_MIN} or more, room for some rounds")));
        }
        let after = self.lasts("spool-after", after, said_after.as_ref(), SPOOL_AFTER)?;
        if !(SPOOL_AFTER_LEAST..=SPOOL_AFTER_MOST).contains(&after) {
            return Err(usage("spool-after: give 100ms to 20s; senders wait for 30s"));
        }
        Ok(Some(Spool { dir, bytes, after }))
    }
}

/// A duration of the file.
fn lasts(key: &str, text: &str) -> Result<Duration> {
    let ms = wire::rules::duration_ms(text).map_err(|e| usage(format!("--config: {key}: {e}")))?;
    Ok(Duration::from_millis(ms.unsigned_abs()))
}

/// Where the log is, for a command that is no role.
pub(crate) fn kafka(args: KafkaArgs) -> Result<Kafka> {
    File::of(args.config.as_deref())?.kafka(args)
}

/// Where log and store are, for a command that is no role.
pub(crate) fn kafka_and_store(args: KafkaArgs, store: Option<String>) -> Result<(Kafka, Store)> {
    let mut file = File::of(args.config.as_deref())?;
    Ok((file.kafka(args)?, file.store(store)?))
}

impl Edge {
    /// # Errors
    /// Something is missing or wrong: usage.
    pub(crate) fn of(args: EdgeArgs) -> Result<Self> {
        let mut file = File::of(args.role.kafka.config.as_deref())?;
        let role = file.role(args.role, "edge")?;
        let store = file.store(args.store)?;
        let udp = args.udp.or(file.said.udp).unwrap_or_default();
        let udp_trust = args.udp_trust.or(file.said.udp_trust.take()).unwrap_or_else(Trust::loopback);
        let door = file.door(
            (role.admin, udp.address()),
            (args.http, args.front),
            args.keys,
            args.inflight_bytes,
            args.drain_wait,
        )?;
        let spool = file.spool(args.spool, args.spool_bytes, args.spool_after)?;
        let shopper_limit = args.shopper_limit.or(file.said.shopper_limit).unwrap_or_default();
        Ok(Self { role, store, door, udp, udp_trust, shopper_limit, spool })
    }
}

impl Worker {
    /// # Errors
    /// Something is missing or wrong: usage.
    pub(crate) fn of(args: WorkerArgs) -> Result<Self> {
        let mut file = File::of(args.role.kafka.config.as_deref())?;
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut desks = args.desk.or(file.said.desk.take()).unwrap_or_default();
        if desks.is_empty() {
            desks = vec![DeskArg::Shopper, DeskArg::Code, DeskArg::Campaign];
        }
        let every = file.said.snapshot_every.take();
        Ok(Self {
            lanes: args.lanes.or(file.said.lanes).map_or(processors, usize::from),
            snapshot_every: file.lasts(
                "snapshot-every",
                args.snapshot_every,
                every.as_ref(),
                Duration::from_mins(1),
            )?,
            session_timeout: file.session_timeout(args.session_timeout)?,
            stuck_after: file.stuck_after(args.stuck_after)?,
            store: file.store(args.store)?,
            role: file.role(args.role, "worker")?,
            desks,
        })
    }
}

impl Ledger {
    /// # Errors
    /// Something is missing or wrong: usage.
    pub(crate) fn of(args: LedgerArgs) -> Result<Self> {
        let mut file = File::of(args.role.kafka.config.as_deref())?;
        Ok(Self {
            session_timeout: file.session_timeout(args.session_timeout)?,
            stuck_after: file.stuck_after(args.stuck_after)?,
            ledger: file.ledger(args.ledger)?,
            role: file.role(args.role, "ledger")?,
        })
    }
}

impl Console {
    /// # Errors
    /// Something is missing or wrong: usage.
    pub(crate) fn of(args: ConsoleArgs) -> Result<Self> {
        let mut file = File::of(args.role.kafka.config.as_deref())?;
        let role = file.role(args.role, "console")?;
        let ledger = file.ledger(args.ledger)?;
        let door = file.door((role.admin, None), (args.http, args.front), args.keys, None, args.drain_wait)?;
        Ok(Self { role, ledger, door })
    }
}

fn missing(key: &str) -> anyhow::Error {
    let variable = key.to_uppercase();
    usage(format!("--{key} is missing: give it, set MASHANG_{variable}, or write `{key}` into the file of --config"))
}

/// The host's name, which a container has as its own.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "only".to_owned() } else { name.to_owned() }
}
