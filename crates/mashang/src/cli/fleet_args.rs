//! Arguments of the commands for topics, snapshots and the archive of a fleet.

use std::time::Duration;

use clap::Args;

use crate::config::groups::KafkaArgs;
use crate::config::options::{ClockArg, duration};

#[derive(Debug, Args)]
#[command(after_help = "\
A second run completes an interrupted one. An existing topic is never changed.

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
    /// How long records are kept, such as 7d; longer than any outage
    #[arg(long, default_value = "7d", value_parser = duration, value_name = "DURATION")]
    pub(crate) retain: Duration,
    /// Source of the time, chosen once: event is for backfills
    #[arg(long, value_enum, default_value_t = ClockArg::Wall, value_name = "CLOCK")]
    pub(crate) clock: ClockArg,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Reports all mistakes and warnings at once. Exit status 1 if there is a mistake.

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
    /// The store: file:DIR or s3://BUCKET/PREFIX
    #[arg(long, env = "MASHANG_STORE", value_name = "URL")]
    pub(crate) store: String,
}

/// Where an archive is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mashang archive list --archive file:/srv/archive
  mashang archive verify --archive s3://mashang/archive")]
pub(crate) struct ArchivePlace {
    /// The archive: file:DIR or s3://BUCKET/PREFIX
    #[arg(long, env = "MASHANG_ARCHIVE", value_name = "URL")]
    pub(crate) archive: String,
}
