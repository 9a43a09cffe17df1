//! Arguments of the commands that read a log, and of the check of what they prove.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use data_encoding::HEXLOWER_PERMISSIVE;
use domain::model::event::Action;
use domain::model::time::Millis;

use crate::cli::values::{moment, named};
use crate::config::groups::KafkaArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Write accepted events as NDJSON, by received, partition and offset
    Dump(LogDumpArgs),
    /// Write the root of each partition's day that is over, as CSV: publish it, and the day cannot be changed afterwards
    Roots(LogRootsArgs),
    /// Write the proof that the record of an event is in the log
    Prove(LogProveArgs),
    /// Check a proof against a published root; needs no log
    Verify(LogVerifyArgs),
}

/// Where the log is.
#[derive(Debug, Args)]
pub(crate) struct LogPlace {
    /// The directory that `serve --data` names
    #[arg(long, value_name = "DIR", conflicts_with = "kafka")]
    pub(crate) data: Option<PathBuf>,
    /// The archive of the log, file:DIR or s3://BUCKET/PREFIX: its records are read before those that the log still holds
    #[arg(long, value_name = "URL")]
    pub(crate) archive: Option<String>,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each line is an event with `received`, `partition` and `offset`; `run` keeps this `received`. The service may run meanwhile.

Examples:
  mashang log dump --data data
  mashang log dump --archive s3://mashang/archive --kafka k1:9092 --from 2026-10-01T00:00:00+08:00
  mashang log dump --data data --from 2026-11-11T00:00:00+08:00 | mashang run --rules acme.toml --events - --out out")]
pub(crate) struct LogDumpArgs {
    #[command(flatten)]
    pub(crate) place: LogPlace,
    /// Topic to write; only scans is possible
    #[arg(long, default_value = "scans", value_parser = ["scans"])]
    pub(crate) topic: String,
    /// Only events received at or after TIME: RFC 3339, or ms since the epoch
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) from: Option<Millis>,
    /// Write every record as it is stored, in base64, by partition and offset: what the roots are made of
    #[arg(long, conflicts_with = "from")]
    pub(crate) raw: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A day (UTC) is over when its partition has an event of a later day. The service may run meanwhile. docs/proofs.md says how
anyone recomputes a root.

Examples:
  mashang log roots --data data
  mashang log roots --kafka k1:9092,k2:9092,k3:9092
  mashang log roots --archive s3://mashang/archive")]
pub(crate) struct LogRootsArgs {
    #[command(flatten)]
    pub(crate) place: LogPlace,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The proof is one JSON object. Its record holds all events that were appended together, other shoppers' too.

Examples:
  mashang log prove --data data --event 7f3a --shopper u1 --merchant acme > proof.json
  mashang log prove --kafka k1:9092 --event o-9 --shopper u1 --merchant acme --action refund > proof.json")]
pub(crate) struct LogProveArgs {
    #[command(flatten)]
    pub(crate) place: LogPlace,
    /// The event's id
    #[arg(long, value_name = "ID")]
    pub(crate) event: String,
    /// The event's shopper; `device:` and the device where that stands in
    #[arg(long)]
    pub(crate) shopper: String,
    /// The event's merchant
    #[arg(long)]
    pub(crate) merchant: String,
    /// The event's action; needed where several events of the shopper have this id
    #[arg(long, value_parser = named(Action::ALL, Action::as_str))]
    pub(crate) action: Option<Action>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status 1 if the proof does not lead to the root.

Examples:
  mashang log verify proof.json --root 5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328")]
pub(crate) struct LogVerifyArgs {
    /// What `log prove` printed
    pub(crate) proof: PathBuf,
    /// The published root of the partition's day
    #[arg(long, value_name = "HEX", value_parser = hash)]
    pub(crate) root: [u8; 32],
}

fn hash(text: &str) -> Result<[u8; 32], String> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "is not 64 hex digits; copy the column `root`".to_owned())
}
