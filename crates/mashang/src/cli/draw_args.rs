//! Arguments of the commands that recompute draws.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use domain::model::time::Millis;

use crate::cli::values::moment;

#[derive(Debug, Subcommand)]
pub(crate) enum DrawCommand {
    /// Print the commit of a secret: what the rules publish before the draw
    Commit(DrawCommitArgs),
    /// Recompute a campaign's draws from its rules and its secret
    Verify(DrawVerifyArgs),
    /// Pick entries of a list by a secret, or check such a pick
    Pick(DrawPickArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
A secret is 32 random bytes as 64 hex digits, in a file that only its owner can read.

Examples:
  (umask 077; openssl rand -hex 32 > secrets/campaign-1.key)
  mashang draw commit secrets/campaign-1.key")]
pub(crate) struct DrawCommitArgs {
    /// The file of the secret
    #[arg(value_name = "SECRETFILE")]
    pub(crate) secret: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
No ledger is needed, and no other secret. Without --log and --archive, rows of a campaign of moments have only their amounts recomputed.
Exit status 1 if a row differs; winning codes of a sealed campaign without a row are listed and change no exit status.

Examples:
  mashang draw verify --rules acme.toml --campaign lucky-wheel --secret secrets/campaign-2.key --awards awards.csv
  mashang draw verify --rules acme.toml --campaign lucky-wheel --secret secrets/campaign-2.key --awards awards.csv --log dump.ndjson
  mashang draw verify --rules acme.toml --campaign lucky-wheel --secret secrets/campaign-2.key --awards awards.csv --archive s3://mashang/archive
  mashang draw verify --rules acme.toml --campaign lucky-wheel --secret secrets/campaign-2.key --code MAG-7 --shopper u1 --entry 1")]
pub(crate) struct DrawVerifyArgs {
    /// The rules: the TOML file, or the published object
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: PathBuf,
    /// The campaign's id
    #[arg(long, value_name = "ID")]
    pub(crate) campaign: String,
    /// The file of the campaign's secret
    #[arg(long, value_name = "FILE")]
    pub(crate) secret: PathBuf,
    /// What `export awards` printed: every row of the campaign is recomputed
    #[arg(long, value_name = "CSV", required_unless_present = "code", conflicts_with = "code")]
    pub(crate) awards: Option<PathBuf>,
    /// What `log dump` printed, of the whole campaign: every entry is taken through the desks again
    #[arg(long, value_name = "FILE", requires = "awards")]
    pub(crate) log: Option<PathBuf>,
    /// The archive of the log instead, file:DIR or s3://BUCKET/PREFIX
    #[arg(long, value_name = "URL", requires = "awards", conflicts_with = "log")]
    pub(crate) archive: Option<String>,
    /// Recompute one draw, of this code's name
    #[arg(long, value_name = "NAME")]
    pub(crate) code: Option<String>,
    /// The shopper, for a code that is not one-item
    #[arg(long, requires = "code")]
    pub(crate) shopper: Option<String>,
    /// The number of the shopper's entry in the campaign, where the draw depends on it
    #[arg(long, value_name = "N", requires = "code", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) entry: Option<u64>,
    /// When the entry was received, where the draw depends on it: RFC 3339, or ms since the epoch
    #[arg(long, value_name = "TIME", requires = "code", value_parser = moment)]
    pub(crate) time: Option<Millis>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The list has one entry a line, no two alike; their order does not matter.

Examples:
  mashang draw pick --list entrants.txt --count 100 --secret list.key --name lucky-hundred > picked.txt
  mashang draw pick --list entrants.txt --count 100 --secret list.key --name lucky-hundred --check picked.txt")]
pub(crate) struct DrawPickArgs {
    /// The entries, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) list: PathBuf,
    /// How many are picked
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: u64,
    /// The file of the secret
    #[arg(long, value_name = "FILE")]
    pub(crate) secret: PathBuf,
    /// The name of the draw: another name picks others
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) name: String,
    /// A pick to compare with; exit status 1 if it differs
    #[arg(long, value_name = "PICKED")]
    pub(crate) check: Option<PathBuf>,
}

/// A name without the bytes that separate the parts of a draw's input.
fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("is empty or has control characters; give a name such as lucky-hundred".to_owned());
    }
    Ok(text.to_owned())
}
