//! `mashang export`.

use std::io::{BufWriter, stdout};

use anyhow::Result;
use ledger::export::{Format, Table, export as write_table};
use ledger::schema::open_to_read;

use crate::cli::{ExportArgs, ExportFormat, TableName};
use crate::usage;

/// Writes a table to standard output.
pub(crate) fn export(args: &ExportArgs) -> Result<()> {
    let db = open_to_read(&args.ledger).map_err(usage)?;
    let table = match args.table {
        TableName::Postings => Table::Postings,
        TableName::Orders => Table::Orders,
        TableName::Members => Table::Members,
        TableName::Awards => Table::Awards,
        TableName::Counters => Table::Counters,
        TableName::Funnels => Table::Funnels,
        TableName::Codes => Table::Codes,
    };
    let format = match args.format {
        ExportFormat::Csv => Format::Csv,
        ExportFormat::Ndjson => Format::Ndjson,
    };
    Ok(write_table(&db, table, format, &mut BufWriter::new(stdout().lock()))?)
}
