//! `mashang export`.

use std::io::{BufWriter, stdout};

use anyhow::Result;
use ledger::reader::Ledger;
use ledger::url::LedgerUrl;

use crate::cli::ExportArgs;
use crate::usage;

/// Writes a table to standard output.
pub(crate) fn export(args: &ExportArgs) -> Result<()> {
    let mut ledger = args.ledger.parse().and_then(|url: LedgerUrl| Ledger::open(&url)).map_err(usage)?;
    Ok(ledger.export(args.table, args.format, &mut BufWriter::new(stdout().lock()))?)
}
