//! `mashang explain`.

use std::io::{BufWriter, Write, stdout};

use anyhow::{Result, bail};
use ledger::history::HistoryFormat;
use ledger::reader::Ledger;
use ledger::url::LedgerUrl;

use crate::cli::{ExplainCodeArgs, ReportFormat};
use crate::usage;

/// Writes a code's history to standard output.
pub(crate) fn code(args: &ExplainCodeArgs) -> Result<()> {
    let mut ledger = args.ledger.parse().and_then(|url: LedgerUrl| Ledger::open(&url)).map_err(usage)?;
    let format = match args.format {
        ReportFormat::Text => HistoryFormat::Text,
        ReportFormat::Json => HistoryFormat::Json,
    };
    let mut out = BufWriter::new(stdout().lock());
    if !ledger.explain_code(&args.name, args.shopper.as_deref(), format, &mut out)? {
        bail!(
            "code {} has no history in this ledger: name a code that `export codes` or `export awards` shows",
            args.name
        );
    }
    Ok(out.flush()?)
}
