//! The settings of `mashang demo`: those of `serve`, less what its traffic cannot have.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::config::groups::{ArchiveArgs, HttpArgs, IngestArgs, ProcessArgs};
use crate::config::options::{ClockArg, duration};
use crate::config::serve::Settings;
use crate::usage;

// Its own traffic has no key, so the option is refused and not shown.
#[derive(Debug, Args)]
#[command(mut_arg("keys", |keys| keys.hide(true)))]
#[command(after_help = "\
Everything is real: an embedded log, the desks, a ledger; only the shoppers are made up. It runs until it is stopped.

Examples:
  mashang demo
  mashang demo --data demo-data --http 127.0.0.1:8080")]
pub(crate) struct DemoArgs {
    /// Directory for its data [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) ingest: IngestArgs,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
    /// Stop after this time, such as 30s
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
}

impl DemoArgs {
    /// The settings of the service that the demo runs.
    ///
    /// # Errors
    /// Something is wrong: usage.
    pub(crate) fn settings(&self, data: PathBuf, rules: PathBuf) -> Result<Settings> {
        if self.http.keys.is_some() {
            return Err(usage("demo takes no --keys, for its own traffic has no key: use serve"));
        }
        let settings = Settings {
            data,
            rules: vec![rules],
            because: None,
            http: self.http.clone(),
            ingest: self.ingest.clone(),
            partitions: 4,
            clock: ClockArg::Wall,
            secrets: None,
            retain: Duration::from_hours(24),
            snapshot_every: Duration::from_mins(1),
            segment_bytes: 64 * 1024 * 1024,
            archive: ArchiveArgs::default(),
            process: self.process.clone(),
            config: None,
        };
        settings.check()
    }
}
