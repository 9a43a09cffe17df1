//! `mashang export`.

use std::io::{BufWriter, stdout};

use anyhow::Result;
use ledger::export::export as write_table;
use ledger::schema::open_to_read;

use crate::cli::ExportArgs;
use crate::usage;

/// Writes a table to standard output.
pub(crate) fn export(args: &ExportArgs) -> Result<()> {
    let db = open_to_read(&args.ledger).map_err(usage)?;
    Ok(write_table(&db, args.table, args.format, &mut BufWriter::new(stdout().lock()))?)
}
