//! The settings of `mashang serve`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::config::groups::{ArchiveArgs, HttpArgs, IngestArgs, ProcessArgs};
use crate::config::options::{Because, ClockArg, duration};
use crate::usage;

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Every option may also stand in the environment (MASHANG_DATA, MASHANG_HTTP, …) or in the file that --config names, as
`http = \"127.0.0.1:8080\"`; the command line goes before the environment, and that before the file. Lists in the
environment are separated by commas.

Examples:
  mashang serve --data data --rules acme.toml
  mashang serve --data data --rules acme.toml --keys keys.toml --http 0.0.0.0:8080 --log-format json
  curl -H 'Content-Type: application/json' -d '{\"id\":\"1\",\"action\":\"visit\",\"shopper\":\"u1\"}' http://127.0.0.1:8080/v1/events")]
pub(crate) struct Settings {
    /// Directory of log, snapshots, rules and ledger.sqlite
    #[arg(long, env = "MASHANG_DATA", value_name = "DIR", required = true)]
    pub(crate) data: PathBuf,
    /// Rules, one file per merchant; published at the start if they are new
    #[arg(long, env = "MASHANG_RULES", num_args = 1.., value_delimiter = ',', value_name = "FILE", required = true)]
    pub(crate) rules: Vec<PathBuf>,
    /// Publish rules that break the promises of a draw that is on; TEXT says why, and stays with the version
    #[arg(long, env = "MASHANG_BECAUSE", value_name = "TEXT")]
    pub(crate) because: Option<Because>,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) ingest: IngestArgs,
    /// Partitions of every topic, 1 to 256, chosen once
    #[arg(long, env = "MASHANG_PARTITIONS", value_name = "N", default_value_t = 4)]
    pub(crate) partitions: u16,
    /// Source of the time, chosen once: event is for backfills
    #[arg(long, env = "MASHANG_CLOCK", value_enum, value_name = "CLOCK", default_value_t = ClockArg::Wall)]
    pub(crate) clock: ClockArg,
    /// Directory of `file:` secrets [default: beside the rules]
    #[arg(long, env = "MASHANG_SECRETS", value_name = "DIR")]
    pub(crate) secrets: Option<PathBuf>,
    /// How long the log keeps events, such as 7d; at least until they are in a snapshot
    #[arg(long, env = "MASHANG_RETAIN", value_name = "DURATION", value_parser = duration, default_value = "7d")]
    pub(crate) retain: Duration,
    /// Interval of snapshots, such as 60s
    #[arg(long, env = "MASHANG_SNAPSHOT_EVERY", value_name = "DURATION", value_parser = duration, default_value = "60s")]
    pub(crate) snapshot_every: Duration,
    /// Size at which a segment of the log is closed, bytes
    #[arg(
        long,
        env = "MASHANG_SEGMENT_BYTES",
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(4096..),
        default_value_t = 67_108_864
    )]
    pub(crate) segment_bytes: u64,
    #[command(flatten)]
    pub(crate) archive: ArchiveArgs,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
    /// File with more of these settings
    #[arg(long, env = "MASHANG_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl Settings {
    /// # Errors
    /// Something is wrong: usage.
    pub(crate) fn check(self) -> Result<Self> {
        if !(1..=256).contains(&self.partitions) {
            return Err(usage(format!("partitions is {}: give 1 to 256", self.partitions)));
        }
        self.archive.clone().check()?;
        self.ingest.check(&self.http)?;
        self.http.check_addresses([("udp", self.ingest.udp().address()), ("admin", Some(self.process.admin.get()))])?;
        Ok(self)
    }
}
