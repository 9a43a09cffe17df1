//! The command line of a fleet's roles, and of what is done to its topics and its store.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use web::networks::Trust;

use crate::cli::address::Address;
use crate::cli::http_args::HttpArgs;
use crate::cli::options::{ClockArg, LogFormat, ShopperLimit, duration};
use crate::process::sockets::Udp;

/// Where the log is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct KafkaArgs {
    /// Brokers, HOST:PORT, with commas
    #[arg(long, env = "MASHANG_KAFKA", value_name = "HOST:PORT,…")]
    pub(crate) kafka: Option<String>,
    /// Topics are PREFIX.scans and so on: several deployments may share brokers [default: mashang]
    #[arg(long, env = "MASHANG_PREFIX", value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
    /// More of these settings, and those of the Kafka client
    #[arg(long, env = "MASHANG_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// What every role takes.
#[derive(Debug, Default, Args)]
pub(crate) struct RoleArgs {
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    /// Health and metrics [default: 127.0.0.1:9464]
    #[arg(long, env = "MASHANG_ADMIN", value_name = "ADDRESS")]
    pub(crate) admin: Option<Address>,
    /// The name of this process in its group, the same after a restart [default: the host's name]
    #[arg(long, env = "MASHANG_INSTANCE", value_name = "NAME")]
    pub(crate) instance: Option<String>,
    /// Where `file:` secrets lie [default: the working directory]
    #[arg(long, env = "MASHANG_SECRETS", value_name = "DIR")]
    pub(crate) secrets: Option<PathBuf>,
    /// How often it is asked whether the topics are still those of this log [default: 60s]
    #[arg(long, env = "MASHANG_CHECK_TOPICS_EVERY", value_name = "DURATION", value_parser = duration)]
    pub(crate) check_topics_every: Option<Duration>,
    /// How the process tells what it does [default: text]
    #[arg(long, env = "MASHANG_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

const FILE_HELP: &str = "\
Every option may also stand in the environment (MASHANG_KAFKA, MASHANG_STORE, …) or in the file that --config names, as
`kafka = \"k1:9092,k2:9092\"`; the command line goes before the environment, and that before the file. Settings of the Kafka
client stand in the file only, in the tables [kafka-client], [kafka-producer] and [kafka-consumer], as `\"security.protocol\" = \"sasl_ssl\"`.";

#[derive(Debug, Args)]
#[command(after_help = FILE_HELP)]
pub(crate) struct EdgeArgs {
    #[command(flatten)]
    pub(crate) role: RoleArgs,
    /// Snapshots and rules: file:DIR
    #[arg(long, env = "MASHANG_STORE", value_name = "URL")]
    pub(crate) store: Option<String>,
    /// The door [default: 127.0.0.1:8080]
    #[arg(long, env = "MASHANG_HTTP", value_name = "ADDRESS")]
    pub(crate) http: Option<Address>,
    #[command(flatten)]
    pub(crate) front: HttpArgs,
    /// The door for datagrams, or none [default: 127.0.0.1:5683, if it is free]
    #[arg(long, env = "MASHANG_UDP", value_name = "ADDRESS")]
    pub(crate) udp: Option<Udp>,
    /// Networks whose datagrams are taken without a signature, or none [default: this machine]
    #[arg(long, env = "MASHANG_UDP_TRUST", value_name = "NETWORK,…")]
    pub(crate) udp_trust: Option<Trust>,
    /// API keys (mode 0600); without them only addresses of this machine may be bound
    #[arg(long, env = "MASHANG_KEYS", value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// Memory of requests under way; more are asked to come again [default: 268435456]
    #[arg(long, env = "MASHANG_INFLIGHT_BYTES", value_name = "N")]
    pub(crate) inflight_bytes: Option<u32>,
    /// A shopper who sends more events a second is turned away while there is little room; 0 for nobody [default: 1000]
    #[arg(long, env = "MASHANG_SHOPPER_LIMIT", value_name = "N")]
    pub(crate) shopper_limit: Option<ShopperLimit>,
    /// How long a stop waits, not ready, before connections end, such as 5s [default: 0s]
    #[arg(long, env = "MASHANG_DRAIN_WAIT", value_name = "DURATION", value_parser = duration)]
    pub(crate) drain_wait: Option<Duration>,
    /// Where events are made durable while Kafka is slow or away: a directory of this process alone [default: none, then 503]
    #[arg(long, env = "MASHANG_SPOOL", value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    /// The spool's files have at most so many bytes; then 503 [default: 1073741824]
    #[arg(long, env = "MASHANG_SPOOL_BYTES", value_name = "N")]
    pub(crate) spool_bytes: Option<u64>,
    /// Events that Kafka has not acknowledged for so long go into the spool [default: 2s]
    #[arg(long, env = "MASHANG_SPOOL_AFTER", value_name = "DURATION", value_parser = duration)]
    pub(crate) spool_after: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(after_help = FILE_HELP)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    pub(crate) role: RoleArgs,
    /// Snapshots and rules: file:DIR
    #[arg(long, env = "MASHANG_STORE", value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Which desks [default: all three]
    #[arg(long, env = "MASHANG_DESK", value_enum, value_delimiter = ',', num_args = 1.., value_name = "DESK,…")]
    pub(crate) desk: Option<Vec<DeskArg>>,
    /// Threads that work [default: one per processor]
    #[arg(long, env = "MASHANG_LANES", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) lanes: Option<u16>,
    /// How often snapshots are taken, such as 60s [default: 60s]
    #[arg(long, env = "MASHANG_SNAPSHOT_EVERY", value_name = "DURATION", value_parser = duration)]
    pub(crate) snapshot_every: Option<Duration>,
    /// How long a worker may be gone before others take its partitions [default: 45s]
    #[arg(long, env = "MASHANG_SESSION_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    pub(crate) session_timeout: Option<Duration>,
    /// A lane without progress for so long is reported by /livez [default: 60s]
    #[arg(long, env = "MASHANG_STUCK_AFTER", value_name = "DURATION", value_parser = duration)]
    pub(crate) stuck_after: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(after_help = FILE_HELP)]
pub(crate) struct LedgerArgs {
    #[command(flatten)]
    pub(crate) role: RoleArgs,
    /// The ledger: postgres://…, or sqlite:FILE for one process
    #[arg(long, env = "MASHANG_LEDGER", value_name = "URL")]
    pub(crate) ledger: Option<String>,
    /// How long a ledger process may be gone before others take its partitions [default: 45s]
    #[arg(long, env = "MASHANG_SESSION_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    pub(crate) session_timeout: Option<Duration>,
    /// A process that writes nothing for so long although it should is reported by /livez [default: 60s]
    #[arg(long, env = "MASHANG_STUCK_AFTER", value_name = "DURATION", value_parser = duration)]
    pub(crate) stuck_after: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(after_help = FILE_HELP)]
pub(crate) struct ConsoleArgs {
    #[command(flatten)]
    pub(crate) role: RoleArgs,
    /// The ledger: postgres://…, or sqlite:FILE
    #[arg(long, env = "MASHANG_LEDGER", value_name = "URL")]
    pub(crate) ledger: Option<String>,
    /// Results and the page [default: 127.0.0.1:8080]
    #[arg(long, env = "MASHANG_HTTP", value_name = "ADDRESS")]
    pub(crate) http: Option<Address>,
    #[command(flatten)]
    pub(crate) front: HttpArgs,
    /// API keys (mode 0600); without them only addresses of this machine may be bound
    #[arg(long, env = "MASHANG_KEYS", value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// How long a stop waits, not ready, before connections end, such as 5s [default: 0s]
    #[arg(long, env = "MASHANG_DRAIN_WAIT", value_name = "DURATION", value_parser = duration)]
    pub(crate) drain_wait: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DeskArg {
    Shopper,
    Code,
    Campaign,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Run again, it completes what was cut off; it never changes a topic that is there.

Examples:
  mashang topics create --kafka k1:9092,k2:9092,k3:9092
  mashang topics create --kafka 127.0.0.1:9092 --replication 1 --min-insync 1 --scans 4 --draws 4 --awards 2 --facts 4")]
pub(crate) struct TopicsCreateArgs {
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    /// Partitions of scans: the most shopper desks that can work at once; chosen once
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) scans: u16,
    /// Partitions of draws; chosen once
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) draws: u16,
    /// Partitions of awards; chosen once
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) awards: u16,
    /// Partitions of facts: the most ledger processes that can work at once; chosen once
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) facts: u16,
    /// Brokers that keep each partition
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) replication: u16,
    /// Brokers that must have a record before it counts
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub(crate) min_insync: u16,
    /// How long records are kept, such as 7d; more than any recovery takes
    #[arg(long, default_value = "7d", value_parser = duration, value_name = "DURATION")]
    pub(crate) retain: Duration,
    /// Who says what time it is, chosen once: event is for backfills
    #[arg(long, value_enum, default_value_t = ClockArg::Wall, value_name = "CLOCK")]
    pub(crate) clock: ClockArg,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Tells everything at once that cannot keep the promises, and what is only unwise. Exit status 1 if there is a mistake.

Examples:
  mashang topics check --kafka k1:9092")]
pub(crate) struct TopicsCheckArgs {
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    /// The least time for which records must be kept
    #[arg(long, default_value = "1d", value_parser = duration, value_name = "DURATION")]
    pub(crate) retain: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotsArgs {
    /// The store: file:DIR
    #[arg(long, env = "MASHANG_STORE", value_name = "URL")]
    pub(crate) store: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Every file is checked as `rules check` does, and against the rules in force. An interrupted publishing is completed first,
whoever began it.

Examples:
  mashang rules publish acme.toml --kafka k1:9092 --store file:/srv/mashang")]
pub(crate) struct RulesPublishArgs {
    /// Rules, one file per merchant
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    /// The store: file:DIR
    #[arg(long, env = "MASHANG_STORE", value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Where `file:` secrets lie [default: beside the rules]
    #[arg(long, env = "MASHANG_SECRETS", value_name = "DIR")]
    pub(crate) secrets: Option<PathBuf>,
}
