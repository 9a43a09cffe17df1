//! The settings of a fleet's roles.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use eventlog::kafka::settings::Settings as Kafka;
use ledger::url::LedgerUrl;

use crate::config::groups::{
    Archive, ArchiveArgs, GroupArgs, HttpArgs, IngestArgs, KafkaArgs, ProcessArgs, Spool, SpoolArgs,
};
use crate::config::options::{bytes, duration};
use crate::store::Store;
use crate::usage;

/// Maximum length of the name of a process, bytes; a longer one is refused.
const INSTANCE_BYTES_MAX: usize = 200;

const FILE_HELP: &str = "\
Every option may also stand in the environment (MASHANG_KAFKA, MASHANG_STORE, …) or in the file that --config names, as
`kafka = \"k1:9092,k2:9092\"`; the command line goes before the environment, and that before the file. Settings of the Kafka
client stand in the file only, in the tables [kafka-client], [kafka-producer] and [kafka-consumer], as `\"security.protocol\" = \"sasl_ssl\"`.";

/// What every role takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct RoleArgs {
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    process: ProcessArgs,
    /// The name of this process in its group, the same after a restart [default: the host's name]
    #[arg(long, env = "MASHANG_INSTANCE", value_name = "NAME")]
    instance: Option<String>,
    /// Directory of `file:` secrets [default: the working directory]
    #[arg(long, env = "MASHANG_SECRETS", value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Interval at which the process checks that no topic was deleted and created again
    #[arg(
        long,
        env = "MASHANG_CHECK_TOPICS_EVERY",
        value_name = "DURATION",
        value_parser = duration,
        default_value = "60s"
    )]
    check_topics_every: Duration,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = FILE_HELP)]
pub(crate) struct EdgeArgs {
    #[command(flatten)]
    role: RoleArgs,
    /// The store with the published rules: file:DIR or s3://BUCKET/PREFIX
    #[arg(long, env = "MASHANG_STORE", value_name = "URL", required = true)]
    store: String,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    ingest: IngestArgs,
    #[command(flatten)]
    spool: SpoolArgs,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = FILE_HELP)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    role: RoleArgs,
    /// Snapshots and rules: file:DIR or s3://BUCKET/PREFIX
    #[arg(long, env = "MASHANG_STORE", value_name = "URL", required = true)]
    store: String,
    /// Desks that this worker runs [default: all three]
    #[arg(long, env = "MASHANG_DESK", value_enum, value_delimiter = ',', num_args = 1.., value_name = "DESK,…")]
    desk: Vec<DeskArg>,
    /// Threads that run desks [default: one per processor]
    #[arg(long, env = "MASHANG_LANES", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    lanes: Option<u16>,
    /// Interval of snapshots, such as 60s
    #[arg(long, env = "MASHANG_SNAPSHOT_EVERY", value_name = "DURATION", value_parser = duration, default_value = "60s")]
    snapshot_every: Duration,
    /// Memory for the desks' states, such as 8GB: partitions that do not fit are not restored here
    #[arg(long, env = "MASHANG_MEMORY", value_name = "BYTES", value_parser = bytes)]
    memory: Option<u64>,
    #[command(flatten)]
    archive: ArchiveArgs,
    #[command(flatten)]
    group: GroupArgs,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = FILE_HELP)]
pub(crate) struct LedgerArgs {
    #[command(flatten)]
    role: RoleArgs,
    /// The ledger: postgres://…, or sqlite:FILE for one process
    #[arg(long, env = "MASHANG_LEDGER", value_name = "URL", required = true)]
    ledger: String,
    #[command(flatten)]
    group: GroupArgs,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = FILE_HELP)]
pub(crate) struct ConsoleArgs {
    #[command(flatten)]
    role: RoleArgs,
    /// The ledger: postgres://…, or sqlite:FILE
    #[arg(long, env = "MASHANG_LEDGER", value_name = "URL", required = true)]
    ledger: String,
    #[command(flatten)]
    http: HttpArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeskArg {
    Shopper,
    Code,
    Campaign,
}

/// What every role takes, checked.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) kafka: Kafka,
    pub(crate) process: ProcessArgs,
    pub(crate) instance: String,
    pub(crate) secrets: PathBuf,
    pub(crate) check_topics_every: Duration,
}

#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) role: Role,
    pub(crate) store: Store,
    pub(crate) http: HttpArgs,
    pub(crate) ingest: IngestArgs,
    pub(crate) spool: Option<Spool>,
}

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) role: Role,
    pub(crate) store: Store,
    pub(crate) desks: Vec<DeskArg>,
    pub(crate) lanes: usize,
    pub(crate) snapshot_every: Duration,
    pub(crate) memory: Option<u64>,
    pub(crate) archive: Option<Archive>,
    pub(crate) group: GroupArgs,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) role: Role,
    pub(crate) ledger: LedgerUrl,
    pub(crate) group: GroupArgs,
}

#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) role: Role,
    pub(crate) ledger: LedgerUrl,
    pub(crate) http: HttpArgs,
}

impl RoleArgs {
    /// `role` is the beginning of the process's name unless one is given.
    fn check(self, role: &str) -> Result<Role> {
        let instance = self.instance.unwrap_or_else(|| format!("{role}-{}", host()));
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if instance.is_empty() || instance.len() > INSTANCE_BYTES_MAX || !instance.chars().all(is_name) {
            return Err(usage(format!(
                "--instance {instance}: give up to {INSTANCE_BYTES_MAX} letters, digits, dots, hyphens and underscores"
            )));
        }
        if self.check_topics_every.is_zero() {
            return Err(usage("check-topics-every is 0s: give a time, such as 60s"));
        }
        Ok(Role {
            kafka: self.kafka.settings()?,
            process: self.process,
            instance,
            secrets: self.secrets.unwrap_or_default(),
            check_topics_every: self.check_topics_every,
        })
    }
}

impl EdgeArgs {
    /// # Errors
    /// Something is missing or wrong: usage.
    pub(crate) fn check(self) -> Result<Edge> {
        let role = self.role.check("edge")?;
        let store = Store::of_option("store", &self.store)?;
        self.ingest.check(&self.http)?;
        let admin = role.process.admin.get();
        self.http.check_addresses([("udp", self.ingest.udp().address()), ("admin", Some(admin))])?;
        Ok(Edge { role, store, http: self.http, ingest: self.ingest, spool: self.spool.check()? })
    }
}

impl WorkerArgs {
    /// # Errors
    /// Something is missing or wrong: usage.
    pub(crate) fn check(self) -> Result<Worker> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let all = || vec![DeskArg::Shopper, DeskArg::Code, DeskArg::Campaign];
        self.group.check()?;
        let desks = if self.desk.is_empty() { all() } else { self.desk };
        let archive = self.archive.check()?;
        if archive.is_some() && !desks.contains(&DeskArg::Shopper) {
            return Err(usage("archive is for workers that run the shopper desk: give it to those"));
        }
        Ok(Worker {
            role: self.role.check("worker")?,
            store: Store::of_option("store", &self.store)?,
            archive,
            desks,
            lanes: self.lanes.map_or(processors, usize::from),
            snapshot_every: self.snapshot_every,
            memory: self.memory,
            group: self.group,
        })
    }
}

impl LedgerArgs {
    /// # Errors
    /// Something is missing or wrong: usage.
    pub(crate) fn check(self) -> Result<Ledger> {
        self.group.check()?;
        let ledger = self.ledger.parse().map_err(usage)?;
        Ok(Ledger { role: self.role.check("ledger")?, ledger, group: self.group })
    }
}

impl ConsoleArgs {
    /// # Errors
    /// Something is missing or wrong: usage.
    pub(crate) fn check(self) -> Result<Console> {
        let role = self.role.check("console")?;
        let ledger = self.ledger.parse().map_err(usage)?;
        self.http.check_addresses([("admin", Some(role.process.admin.get())), ("udp", None)])?;
        Ok(Console { role, ledger, http: self.http })
    }
}

/// The host's name, which a container has as its own.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "only".to_owned() } else { name.to_owned() }
}
