//! Lines on standard output and standard error. A failed write to standard output is an error. A failed write to standard
//! error is ignored: no output is left to report it on.

use std::fmt::Display;
use std::io::Write;

use anyhow::Result;

/// A line on standard output.
pub(crate) fn print(line: impl Display) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// A line on standard error.
pub(crate) fn report(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Text on standard error that stays on its line.
pub(crate) fn show(text: impl Display) {
    let _ = write!(std::io::stderr(), "{text}");
}
