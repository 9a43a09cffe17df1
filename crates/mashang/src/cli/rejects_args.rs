//! Arguments of the commands for records that were set aside.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use crate::config::groups::KafkaArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum RejectsCommand {
    /// Every record that was set aside: where, why, and what became of it, as NDJSON
    List(RejectsArgs),
    /// Send records again, after the cause is mended; what was applied before counts once
    Retry(RejectsChangeArgs),
    /// Note that records are not to be sent again
    Discard(RejectsChangeArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mashang rejects list --data data
  mashang rejects list --kafka k1:9092")]
pub(crate) struct RejectsArgs {
    /// The directory that `serve --data` names
    #[arg(long, value_name = "DIR", conflicts_with = "kafka", required_unless_present = "kafka")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A service on the directory must be stopped first.

Examples:
  mashang rejects retry 0:17 2:4711 --data data
  mashang rejects discard --all --kafka k1:9092")]
pub(crate) struct RejectsChangeArgs {
    /// The records, as `rejects list` names them
    #[arg(value_name = "PARTITION:OFFSET", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) records: Vec<RecordPlace>,
    /// All that wait
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) at: RejectsArgs,
}

/// The place of a record in `scans`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordPlace {
    pub(crate) partition: u16,
    pub(crate) offset: u64,
}

impl FromStr for RecordPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(p, o)| Some((p.parse().ok()?, o.parse().ok()?)));
        let (partition, offset) = parts.ok_or("is no place of a record: give PARTITION:OFFSET, such as 0:17")?;
        Ok(Self { partition, offset })
    }
}

impl std::fmt::Display for RecordPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}
