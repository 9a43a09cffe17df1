//! `mashang explain`.

use std::io::{BufWriter, Write, stdout};

use anyhow::{Result, bail};
use ledger::history::explain_code;
use ledger::schema::open_to_read;

use crate::cli::ExplainCodeArgs;
use crate::usage;

/// Writes a code's history to standard output.
pub(crate) fn code(args: &ExplainCodeArgs) -> Result<()> {
    let db = open_to_read(&args.ledger).map_err(usage)?;
    let mut out = BufWriter::new(stdout().lock());
    if !explain_code(&db, &args.name, args.shopper.as_deref(), &mut out)? {
        bail!(
            "code {} has no history in this ledger: one-item codes and codes that draw have one, by the names that `export codes` and `export awards` show",
            args.name
        );
    }
    Ok(out.flush()?)
}
