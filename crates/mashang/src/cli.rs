//! The command line, as people see it.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ledger::export::{Format, Table};

/// Scan events in; counts, prizes and commission out, each once.
#[derive(Debug, Parser)]
#[command(
    name = "mashang",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  mashang rules check acme.toml
  mashang run --rules acme.toml --events events.ndjson --out out
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
    /// The ledger: sqlite:FILE, or a path
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
    /// The ledger: sqlite:FILE, or a path
    #[arg(long, value_name = "URL")]
    pub(crate) ledger: String,
    /// Only what this shopper did
    #[arg(long)]
    pub(crate) shopper: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
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
