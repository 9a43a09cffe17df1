//! The command line: the commands and their arguments.
//!
//! - `code_args`: arguments of the commands that mint codes and say what a code is
//! - `fleet_args`: arguments of the commands for topics, snapshots and the archive of a fleet
//! - `rules_args`: arguments of the commands for rules
//! - `rejects_args`: arguments of the commands for records that were set aside
//! - `log_args`: arguments of the commands that read a log
//! - `draw_args`: arguments of the commands that recompute draws
//! - `values`: the forms of single values

pub(crate) mod code_args;
pub(crate) mod draw_args;
pub(crate) mod fleet_args;
pub(crate) mod log_args;
pub(crate) mod rejects_args;
pub(crate) mod rules_args;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ledger::export::{Format, Table};

use crate::cli::code_args::{CodeArgs, MintArgs};
use crate::cli::draw_args::DrawCommand;
use crate::cli::fleet_args::{ArchivePlace, SnapshotsArgs, TopicsCheckArgs, TopicsCreateArgs};
use crate::cli::log_args::LogCommand;
use crate::cli::rejects_args::RejectsCommand;
use crate::cli::rules_args::RulesCommand;
use crate::cli::values::named;
use crate::config::demo::DemoArgs;
use crate::config::roles::{ConsoleArgs, EdgeArgs, LedgerArgs, WorkerArgs};
use crate::config::serve;

/// Takes scan events; gives counts, prizes and commission, each exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "mashang",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  mashang demo
  mashang rules check acme.toml
  mashang run --rules acme.toml --events events.ndjson --out out
  mashang serve --data data --rules acme.toml
  mashang export counters --ledger out/ledger.sqlite
  mashang explain code X-1 --ledger out/ledger.sqlite

Exit status: 0 done, 1 failed, 2 wrong arguments, wrong rules, or an input file that cannot be read."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the service with an invented brand and live traffic; print its addresses
    Demo(DemoArgs),
    /// Run everything in one process: take events over HTTP and UDP, store them, compute, answer
    Serve(serve::Settings),
    /// A role of a fleet: take events over HTTP and UDP into Kafka
    Edge(EdgeArgs),
    /// A role of a fleet: run the desks (shopper, code, campaign) on Kafka
    Worker(WorkerArgs),
    /// A role of a fleet: write the facts of the desks into the ledger
    Ledger(LedgerArgs),
    /// A role of a fleet: answer what became of a scan
    Console(ConsoleArgs),
    /// Create or check the topics of a fleet
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// List or verify the snapshots of a fleet
    #[command(subcommand)]
    Snapshots(SnapshotsCommand),
    /// List or verify what was archived of a log
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// List records that were set aside, and send them again
    #[command(subcommand)]
    Rejects(RejectsCommand),
    /// Take a file of events through all desks into a ledger
    Run(RunArgs),
    /// Write a table of a ledger to standard output
    Export(ExportArgs),
    /// Show the history of a code
    #[command(subcommand)]
    Explain(ExplainCommand),
    /// Check rules, publish them to a fleet, list what was published, print the public notice of draws
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Write the codes of a batch: a table of tokens, or QR pictures
    Mint(MintArgs),
    /// Say what the text of a code is, as one JSON object
    Code(CodeArgs),
    /// Read the log of a service or a fleet; prove what is in it
    #[command(subcommand)]
    Log(LogCommand),
    /// Commit to a secret, and recompute draws
    #[command(subcommand)]
    Draw(DrawCommand),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Every line of FILE is an event, a flat JSON object; `received` is the running maximum of the events' times. The same input
gives the same ledger. Events that are refused are reported on standard error, by line, and counted; they do not change the
exit status.

Examples:
  mashang run --rules acme.toml --events events.ndjson --out out
  zcat events.ndjson.gz | mashang run --rules acme.toml --events - --out out --summary json
  mashang run --rules acme.toml --archive s3://mashang/archive --out out")]
pub(crate) struct RunArgs {
    /// Rules, one file per merchant; repeat the option or give several
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub(crate) rules: Vec<PathBuf>,
    /// Events as NDJSON, which may be compressed with gzip or zstd; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// Events of an archive, file:DIR or s3://BUCKET/PREFIX, with the `received` that they had
    #[arg(long, value_name = "URL", conflicts_with = "events")]
    pub(crate) archive: Option<String>,
    /// Where ledger.sqlite and the published rules are written; a ledger of an earlier run is replaced
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Text, value_name = "FORMAT")]
    pub(crate) summary: ReportFormat,
    /// Write every refused event to this file, as NDJSON, and not to standard error
    #[arg(long, value_name = "FILE")]
    pub(crate) rejects: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Rows are sorted as text by all columns; times are RFC 3339, UTC; amounts are minor units.

Examples:
  mashang export counters --ledger out/ledger.sqlite
  mashang export postings --ledger sqlite:out/ledger.sqlite --format ndjson")]
pub(crate) struct ExportArgs {
    /// Which table
    #[arg(value_parser = named(&Table::ALL, Table::as_str))]
    pub(crate) table: Table,
    /// The ledger: sqlite:FILE, a path, or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    pub(crate) ledger: String,
    /// Format of the rows
    #[arg(long, value_parser = named(&Format::ALL, Format::as_str), default_value = "csv", value_name = "FORMAT")]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExplainCommand {
    /// A code's history: each scan of a one-item code, each entry, each draw
    Code(ExplainCodeArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mashang explain code X-1 --ledger out/ledger.sqlite
  mashang explain code MAG-7 --ledger out/ledger.sqlite --shopper u1")]
pub(crate) struct ExplainCodeArgs {
    /// The code's name: its id in the rules, the digits of its GTIN, GLN or GSRN, or batch:serial of a minted code
    pub(crate) name: String,
    /// The ledger: sqlite:FILE, a path, or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    pub(crate) ledger: String,
    /// Only what this shopper did
    #[arg(long)]
    pub(crate) shopper: Option<String>,
    /// How to print it: json is one object per merchant that has the code
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicsCommand {
    /// Create missing topics, with settings that lose no record
    Create(TopicsCreateArgs),
    /// Report settings of topics that can lose or repeat events
    Check(TopicsCheckArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotsCommand {
    /// Every snapshot, by partition
    List(SnapshotsArgs),
    /// Read every snapshot to its end; exit status 1 if a file is damaged
    Verify(SnapshotsArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ArchiveCommand {
    /// Every segment as CSV: which records, of which day, with their root
    List(ArchivePlace),
    /// Read every segment to its end; exit status 1 if one is damaged or missing
    Verify(ArchivePlace),
}
