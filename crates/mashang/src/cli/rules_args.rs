//! Arguments of the commands for rules.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::config::groups::KafkaArgs;
use crate::config::options::Because;
use crate::rules::notice::language::Language;

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Publish rules to a fleet; each desk uses them from its marker on
    Publish(RulesPublishArgs),
    /// Report every mistake at once, with file, line and key; print the version of valid rules
    Check(RulesCheckArgs),
    /// Every version that was published, and why it may break a promise
    List(RulesListArgs),
    /// Print what must be made public before a draw, as one HTML page
    Notice(RulesNoticeArgs),
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
    /// The published rules to compare with: reports changes, refuses forbidden ones and broken promises
    #[arg(long, value_name = "OLD")]
    pub(crate) against: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Every file is checked as `rules check` does, and against the rules in force: what was promised for a draw that is on stays.
--because publishes all the same; its text stays with the version. An interrupted publication, of any process, is completed
first.

Examples:
  mashang rules publish acme.toml --kafka k1:9092 --store file:/srv/mashang
  mashang rules publish acme.toml --kafka k1:9092 --store file:/srv/mashang --because 'recall of batch 7'")]
pub(crate) struct RulesPublishArgs {
    /// Rules, one file per merchant
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    /// The store: file:DIR or s3://BUCKET/PREFIX
    #[arg(long, env = "MASHANG_STORE", value_name = "URL", required = true)]
    pub(crate) store: String,
    /// Publish rules that break the promises of a draw that is on; TEXT says why, and stays with the version
    #[arg(long, value_name = "TEXT")]
    pub(crate) because: Option<Because>,
    /// Where `file:` secrets lie [default: beside the rules]
    #[arg(long, env = "MASHANG_SECRETS", value_name = "DIR")]
    pub(crate) secrets: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A line per version, in the order of their numbers. A version is in force until the next one of its merchant. The text after
`because` is what --because said when the version was published.

Examples:
  mashang rules list --data data
  mashang rules list --kafka k1:9092 --store file:/srv/mashang --format json")]
pub(crate) struct RulesListArgs {
    /// The directory that `serve --data` names
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kafka", "store"], required_unless_present = "kafka")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    /// The store: file:DIR or s3://BUCKET/PREFIX
    #[arg(long, env = "MASHANG_STORE", value_name = "URL", required_unless_present = "data")]
    pub(crate) store: Option<String>,
    /// How versions are written; json is an object per line
    #[arg(long, value_enum, default_value_t = ListFormat::Text, value_name = "FORMAT")]
    pub(crate) format: ListFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The page needs no other file and prints on A4. What the rules lack (organiser, contact, redeem) is named on the page, and on
standard error.

Examples:
  mashang rules notice acme.toml > notice.html
  mashang rules notice acme.toml --lang en --campaign lucky-wheel > wheel.html")]
pub(crate) struct RulesNoticeArgs {
    /// Rules
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Language of the page
    #[arg(long, value_enum, default_value_t = Language::Zh, value_name = "LANG")]
    pub(crate) lang: Language,
    /// Only this campaign [default: all]
    #[arg(long, value_name = "ID")]
    pub(crate) campaign: Option<String>,
}
