//! Arguments of the commands that mint codes and say what a code is.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use domain::model::rules::BATCH_NUMBER_MAX;

#[derive(Debug, Args)]
#[command(after_help = "\
The same batch gives the same codes, whenever and in whatever parts they are minted. With --out, what is written is in
OUT.part until it is whole; an interrupted run continues with --from. Codes are secrets until they are sold: keep the files
as you keep cash.

Examples:
  mashang mint --rules acme.toml --batch 7 --out codes.csv
  mashang mint --rules acme.toml --batch 7 --from 400000 --count 500 | gzip > reprint.csv.gz
  mashang mint --rules acme.toml --batch 7 --count 100 --format svg --out labels
  mashang mint --rules acme.toml --batch 7 --count 100 --format svg --sheet 4x6 --out pages")]
pub(crate) struct MintArgs {
    /// The rules that list the batch
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: PathBuf,
    /// The number of the batch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(BATCH_NUMBER_MAX)))]
    pub(crate) batch: u32,
    /// The first serial
    #[arg(long, default_value_t = 0, value_name = "S")]
    pub(crate) from: u64,
    /// How many codes [default: to the end of the batch]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// csv: a table with serial, token and url; svg: QR pictures
    #[arg(long, value_enum, default_value_t = MintFormat::Csv, value_name = "FORMAT")]
    pub(crate) format: MintFormat,
    /// The file of a table [default: standard output], or the new directory of pictures
    #[arg(long, value_name = "PATH")]
    pub(crate) out: Option<PathBuf>,
    /// Pictures as A4 pages to print, COLSxROWS codes on each, with their tokens in groups of four
    #[arg(long, value_name = "COLSxROWS")]
    pub(crate) sheet: Option<SheetSize>,
    /// Replace the file of a table that exists, and begin an interrupted run anew
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
    /// Where `file:` secrets lie [default: beside the rules]
    #[arg(long, env = "MASHANG_SECRETS", value_name = "DIR")]
    pub(crate) secrets: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MintFormat {
    Csv,
    Svg,
}

/// Maximum number of codes across a sheet, and down it; a larger one is refused.
const SHEET_CODES_MAX: u64 = 40;

/// Number of codes across a sheet and down it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SheetSize {
    pub(crate) columns: u64,
    pub(crate) rows: u64,
}

impl FromStr for SheetSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(['x', 'X', '×']).and_then(|(c, r)| Some((c.parse().ok()?, r.parse().ok()?)));
        let is_possible = |n: &u64| (1..=SHEET_CODES_MAX).contains(n);
        let sizes = parts.filter(|(columns, rows)| is_possible(columns) && is_possible(rows));
        let wanted = || format!("is no size of a sheet: give COLSxROWS, each from 1 to {SHEET_CODES_MAX}, such as 4x6");
        sizes.map(|(columns, rows)| Self { columns, rows }).ok_or_else(wanted)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Prints one JSON object: kind, name, batch, serial, guide, store and campaign, null where there is none. `unknown` is a text that
the rules do not explain, `forged` one that has the shape of a code of a batch, and was never minted.

Examples:
  mashang code 0007-9F3K-7QXW-0M2B-AC5T --rules acme.toml
  mashang code https://m.example/01/06901234567892 --rules acme.toml")]
pub(crate) struct CodeArgs {
    /// The text of the code, as a scanner gives it
    pub(crate) text: String,
    /// The rules under which it is read
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: PathBuf,
    /// Where `file:` secrets lie [default: beside the rules]
    #[arg(long, env = "MASHANG_SECRETS", value_name = "DIR")]
    pub(crate) secrets: Option<PathBuf>,
}
