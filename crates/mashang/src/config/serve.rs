//! What a service was told: the command line, then the environment, then a file, then defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;
use web::networks::Trust;
use web::server::port::PortConfig;

use crate::cli::ServeArgs;
use crate::cli::address::Address;
use crate::cli::http_args::HttpArgs;
use crate::cli::options::{ClockArg, LogFormat, ShopperLimit};
use crate::process::sockets::Udp;
use crate::usage;

pub(crate) const INFLIGHT_BYTES: u32 = 256 * 1024 * 1024;
/// Less would not let one body in.
pub(crate) const INFLIGHT_BYTES_MIN: u32 = 32 * 1024 * 1024;

/// Settings that were checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) data: PathBuf,
    pub(crate) rules: Vec<PathBuf>,
    pub(crate) http: SocketAddr,
    pub(crate) front: PortConfig,
    pub(crate) udp: Udp,
    pub(crate) udp_trust: Trust,
    pub(crate) admin: SocketAddr,
    pub(crate) partitions: u16,
    pub(crate) clock: ClockArg,
    pub(crate) keys: Option<PathBuf>,
    pub(crate) secrets: Option<PathBuf>,
    pub(crate) retain: Duration,
    pub(crate) snapshot_every: Duration,
    pub(crate) segment_bytes: u64,
    pub(crate) shopper_limit: ShopperLimit,
    pub(crate) inflight_bytes: u32,
    pub(crate) drain_wait: Duration,
    pub(crate) log_format: LogFormat,
}

/// The same, as they stand in a file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FromFile {
    data: Option<PathBuf>,
    rules: Option<Vec<PathBuf>>,
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
    partitions: Option<u16>,
    clock: Option<ClockArg>,
    keys: Option<PathBuf>,
    secrets: Option<PathBuf>,
    retain: Option<String>,
    snapshot_every: Option<String>,
    segment_bytes: Option<u64>,
    shopper_limit: Option<ShopperLimit>,
    inflight_bytes: Option<u32>,
    drain_wait: Option<String>,
    log_format: Option<LogFormat>,
}

impl Settings {
    /// Puts together what was said.
    ///
    /// # Errors
    /// Something is missing or wrong: usage.
    pub(crate) fn of(args: ServeArgs) -> Result<Self> {
        let (file, beside) = match &args.config {
            Some(path) => (read(path)?, path.parent().unwrap_or(Path::new("")).to_owned()),
            None => (FromFile::default(), PathBuf::new()),
        };
        let here = |path: PathBuf| beside.join(path);
        let lasts = |key: &str, text: Option<String>| -> Result<Option<Duration>> {
            let Some(text) = text else { return Ok(None) };
            let ms = wire::rules::duration_ms(&text).map_err(|e| usage(format!("--config: {key}: {e}")))?;
            Ok(Some(Duration::from_millis(ms.unsigned_abs())))
        };
        let missing = |key: &str| {
            let variable = key.to_uppercase();
            usage(format!(
                "--{key} is missing: give it, set MASHANG_{variable}, or write `{key}` into the file of --config"
            ))
        };
        let settings = Self {
            data: args.data.or(file.data.map(here)).ok_or_else(|| missing("data"))?,
            rules: args
                .rules
                .or(file.rules.map(|files| files.into_iter().map(here).collect()))
                .filter(|files| !files.is_empty())
                .ok_or_else(|| missing("rules"))?,
            http: args.http.or(file.http).unwrap_or(Address::local(8080)).get(),
            front: args.front.check(HttpArgs {
                connections: file.connections,
                proxy_trust: file.proxy_trust,
                proxy_protocol: file.proxy_protocol,
                idle_timeout: lasts("idle-timeout", file.idle_timeout)?,
                tls_cert: file.tls_cert.map(here),
                tls_key: file.tls_key.map(here),
            })?,
            udp: args.udp.or(file.udp).unwrap_or_default(),
            udp_trust: args.udp_trust.or(file.udp_trust).unwrap_or_else(Trust::loopback),
            admin: args.admin.or(file.admin).unwrap_or(Address::local(9464)).get(),
            partitions: args.partitions.or(file.partitions).unwrap_or(4),
            clock: args.clock.or(file.clock).unwrap_or(ClockArg::Wall),
            keys: args.keys.or(file.keys.map(here)),
            secrets: args.secrets.or(file.secrets.map(here)),
            retain: args.retain.or(lasts("retain", file.retain)?).unwrap_or(Duration::from_hours(7 * 24)),
            snapshot_every: args
                .snapshot_every
                .or(lasts("snapshot-every", file.snapshot_every)?)
                .unwrap_or(Duration::from_mins(1)),
            segment_bytes: args.segment_bytes.or(file.segment_bytes).unwrap_or(64 * 1024 * 1024),
            shopper_limit: args.shopper_limit.or(file.shopper_limit).unwrap_or_default(),
            inflight_bytes: args.inflight_bytes.or(file.inflight_bytes).unwrap_or(INFLIGHT_BYTES),
            drain_wait: args.drain_wait.or(lasts("drain-wait", file.drain_wait)?).unwrap_or_default(),
            log_format: args.log_format.or(file.log_format).unwrap_or(LogFormat::Text),
        };
        settings.check()?;
        Ok(settings)
    }

    /// Checks what depends on more than one setting.
    ///
    /// # Errors
    /// Something is wrong: usage.
    pub(crate) fn check(&self) -> Result<()> {
        if !(1..=256).contains(&self.partitions) {
            return Err(usage(format!("partitions is {}: give 1 to 256", self.partitions)));
        }
        let doors = [("http", Some(self.http)), ("udp", self.udp.address()), ("admin", Some(self.admin))];
        check_door(self.keys.is_some(), doors, self.inflight_bytes)
    }
}

/// What a door must be.
///
/// # Errors
/// It is open to everybody, or nothing fits through it: usage.
pub(crate) fn check_door(has_keys: bool, doors: [(&str, Option<SocketAddr>); 3], inflight_bytes: u32) -> Result<()> {
    if inflight_bytes < INFLIGHT_BYTES_MIN {
        let least = INFLIGHT_BYTES_MIN;
        return Err(usage(format!("inflight-bytes is {inflight_bytes}: give {least} or more, room for one body")));
    }
    for (name, address) in doors {
        if let Some(address) = address.filter(|address| !has_keys && !address.ip().is_loopback()) {
            return Err(usage(format!(
                "--{name} {address}: others can reach this address, and there are no keys: give --keys FILE, or an address of this machine such as 127.0.0.1"
            )));
        }
    }
    Ok(())
}

/// A mistake in a file of settings, with its line.
pub(crate) fn config_error(path: &Path, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
    usage(format!("--config {}:{line}: {}", path.display(), error.message().trim_end().replace('\n', " ")))
}

fn read(path: &Path) -> Result<FromFile> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| usage(format!("--config {name}: cannot be read: {e}")))?;
    toml::from_str(&text).map_err(|e| config_error(path, &text, &e))
}
