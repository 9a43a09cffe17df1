//! The command line, as people see it.

pub(crate) mod address;
pub(crate) mod http_args;
pub(crate) mod options;
pub(crate) mod output;
pub(crate) mod role_args;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::model::time::{Millis, in_range, parse_rfc3339};
use ledger::export::{Format, Table};
use web::networks::Trust;

use crate::cli::address::Address;
use crate::cli::http_args::HttpArgs;
use crate::cli::options::{ClockArg, LogFormat, ShopperLimit, duration};
use crate::cli::role_args::{
    ConsoleArgs, EdgeArgs, KafkaArgs, LedgerArgs, RulesPublishArgs, SnapshotsArgs, TopicsCheckArgs, TopicsCreateArgs,
    WorkerArgs,
};
use crate::process::sockets::Udp;

/// Scan events in; counts, prizes and commission out, each once.
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

Exit status: 0 done, 1 failed, 2 bad usage, rules or input file that cannot be read."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A brand that does not exist and its traffic, live: prints where to look
    Demo(DemoArgs),
    /// Take events over HTTP and UDP, keep them, work on them and answer, in one process
    Serve(ServeArgs),
    /// A role of a fleet: take events over HTTP and UDP into Kafka
    Edge(EdgeArgs),
    /// A role of a fleet: work on what is in Kafka, at one desk or all
    Worker(WorkerArgs),
    /// A role of a fleet: write what the desks found into the ledger
    Ledger(LedgerArgs),
    /// A role of a fleet: answer what became of a scan
    Console(ConsoleArgs),
    /// The topics of a fleet
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// The snapshots of a fleet
    #[command(subcommand)]
    Snapshots(SnapshotsCommand),
    /// Take a file of events through all desks into a ledger
    Run(RunArgs),
    /// Write a table of a ledger to standard output
    Export(ExportArgs),
    /// Say why something is as it is
    #[command(subcommand)]
    Explain(ExplainCommand),
    /// Check rules
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Read the log of a service
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Everything is real: an embedded log, the desks, a ledger; only the shoppers are made up. It runs until it is stopped.

Examples:
  mashang demo
  mashang demo --data demo-data --http 127.0.0.1:8080")]
pub(crate) struct DemoArgs {
    /// Where its data are kept; a directory that is removed at the end if left out
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The page and the door
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) http: Address,
    /// Health and metrics
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    pub(crate) admin: Address,
    /// How long a connection without a request is kept, longer than balancers keep theirs [default: 75s]
    #[arg(long, env = "MASHANG_IDLE_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    pub(crate) idle_timeout: Option<Duration>,
    /// Stop by itself after so long, such as 30s
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
}

/// What was said on the command line and in the environment; what is left out may stand in the file, else has a default.
#[derive(Debug, Args)]
#[command(after_help = "\
Every option may also stand in the environment (MASHANG_DATA, MASHANG_HTTP, …) or in the file that --config names, as
`http = \"127.0.0.1:8080\"`; the command line goes before the environment, and that before the file. Lists in the
environment are separated by commas.

Examples:
  mashang serve --data data --rules acme.toml
  mashang serve --data data --rules acme.toml --keys keys.toml --http 0.0.0.0:8080 --log-format json
  curl -H 'Content-Type: application/json' -d '{\"id\":\"1\",\"action\":\"visit\",\"shopper\":\"u1\"}' http://127.0.0.1:8080/v1/events")]
pub(crate) struct ServeArgs {
    /// Where log, snapshots, rules and ledger.sqlite are kept
    #[arg(long, env = "MASHANG_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Rules, one file per merchant; published at the start if they are new
    #[arg(long, env = "MASHANG_RULES", num_args = 1.., value_delimiter = ',', value_name = "FILE")]
    pub(crate) rules: Option<Vec<PathBuf>>,
    /// The door and the console [default: 127.0.0.1:8080]
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
    /// Health and metrics [default: 127.0.0.1:9464]
    #[arg(long, env = "MASHANG_ADMIN", value_name = "ADDRESS")]
    pub(crate) admin: Option<Address>,
    /// Partitions of every topic, chosen once [default: 4]
    #[arg(long, env = "MASHANG_PARTITIONS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) partitions: Option<u16>,
    /// Who says what time it is, chosen once: event is for backfills [default: wall]
    #[arg(long, env = "MASHANG_CLOCK", value_enum, value_name = "CLOCK")]
    pub(crate) clock: Option<ClockArg>,
    /// API keys (mode 0600); without them only addresses of this machine may be bound
    #[arg(long, env = "MASHANG_KEYS", value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// Where `file:` secrets lie [default: beside the rules]
    #[arg(long, env = "MASHANG_SECRETS", value_name = "DIR")]
    pub(crate) secrets: Option<PathBuf>,
    /// How long the log keeps events, such as 7d; at least until they are in a snapshot [default: 7d]
    #[arg(long, env = "MASHANG_RETAIN", value_name = "DURATION", value_parser = duration)]
    pub(crate) retain: Option<Duration>,
    /// How often snapshots are taken, such as 60s [default: 60s]
    #[arg(long, env = "MASHANG_SNAPSHOT_EVERY", value_name = "DURATION", value_parser = duration)]
    pub(crate) snapshot_every: Option<Duration>,
    /// A segment of the log is closed at so many bytes [default: 67108864]
    #[arg(long, env = "MASHANG_SEGMENT_BYTES", value_name = "N", value_parser = clap::value_parser!(u64).range(4096..))]
    pub(crate) segment_bytes: Option<u64>,
    /// Memory of requests under way; more are asked to come again [default: 268435456]
    #[arg(long, env = "MASHANG_INFLIGHT_BYTES", value_name = "N")]
    pub(crate) inflight_bytes: Option<u32>,
    /// A shopper who sends more events a second is turned away while there is little room; 0 for nobody [default: 1000]
    #[arg(long, env = "MASHANG_SHOPPER_LIMIT", value_name = "N")]
    pub(crate) shopper_limit: Option<ShopperLimit>,
    /// How long a stop waits, not ready, before connections end, such as 5s [default: 0s]
    #[arg(long, env = "MASHANG_DRAIN_WAIT", value_name = "DURATION", value_parser = duration)]
    pub(crate) drain_wait: Option<Duration>,
    /// How the process tells what it does [default: text]
    #[arg(long, env = "MASHANG_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// More of these settings
    #[arg(long, env = "MASHANG_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Write accepted events as NDJSON, by received, partition and offset
    Dump(LogDumpArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each line is an event with `received`, `partition` and `offset`; `run` takes it up as it was received. The service may go on
meanwhile.

Examples:
  mashang log dump --data data
  mashang log dump --data data --from 2026-11-11T00:00:00+08:00 | mashang run --rules acme.toml --events - --out out")]
pub(crate) struct LogDumpArgs {
    /// The directory that `serve --data` names
    #[arg(long, value_name = "DIR", conflicts_with = "kafka", required_unless_present = "kafka")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    /// Which topic; this build writes scans
    #[arg(long, default_value = "scans", value_parser = ["scans"])]
    pub(crate) topic: String,
    /// Only events received from then on: RFC 3339, or ms since the epoch
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) from: Option<Millis>,
}

fn moment(text: &str) -> Result<Millis, String> {
    text.parse::<Millis>().map_or_else(|_| parse_rfc3339(text), in_range).map_err(ToOwned::to_owned)
}

#[derive(Debug, Args)]
#[command(after_help = "\
Every line of FILE is an event, a flat JSON object; `received` is the running maximum of the events' times. The same input
gives the same ledger. Events that are refused are reported on standard error, by line, and counted; they change no status.

Examples:
  mashang run --rules acme.toml --events events.ndjson --out out
  zcat events.ndjson.gz | mashang run --rules acme.toml --events - --out out --summary json")]
pub(crate) struct RunArgs {
    /// Rules, one file per merchant; repeat the option or give several
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub(crate) rules: Vec<PathBuf>,
    /// Events as NDJSON; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) events: PathBuf,
    /// Where ledger.sqlite and the published rules are written; a ledger of an earlier run is replaced
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = SummaryFormat::Text, value_name = "FORMAT")]
    pub(crate) summary: SummaryFormat,
    /// Write every refused event to this file, as NDJSON, and not to standard error
    #[arg(long, value_name = "FILE")]
    pub(crate) rejects: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SummaryFormat {
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
    #[arg(long, value_parser = named(&Format::ALL, Format::as_str), default_value = "csv", value_name = "FORMAT")]
    pub(crate) format: Format,
}

/// A value that is known by one of these names.
fn named<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let names = PossibleValuesParser::new(all.iter().map(|&value| name(value)));
    names.map(move |given| {
        *all.iter().find(|&&value| name(value) == given).expect("the parser lets no other name through")
    })
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
    /// The code's name: its id in the rules, or the digits of its GTIN, GLN or GSRN
    pub(crate) name: String,
    /// The ledger: sqlite:FILE, a path, or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    pub(crate) ledger: String,
    /// Only what this shopper did
    #[arg(long)]
    pub(crate) shopper: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicsCommand {
    /// Make what is missing, with the settings that keep the promises
    Create(TopicsCreateArgs),
    /// Tell what cannot keep the promises
    Check(TopicsCheckArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotsCommand {
    /// Every snapshot, by partition
    List(SnapshotsArgs),
    /// Read every snapshot to its end; exit status 1 if one is not as it was written
    Verify(SnapshotsArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Put rules into a fleet: every desk changes over at its marker
    Publish(RulesPublishArgs),
    /// Report every mistake at once, with file, line and key; print the version of rules that are right
    Check(RulesCheckArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mashang rules check acme.toml
  mashang rules check acme.toml --against published/acme.toml")]
pub(crate) struct RulesCheckArgs {
    /// Rules, one file per merchant
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Rules that they are to follow: tells what changes, and refuses what must not
    #[arg(long, value_name = "OLD")]
    pub(crate) against: Option<PathBuf>,
}
