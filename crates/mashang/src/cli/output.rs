//! What people and other programs are told. Standard output that cannot be written is an error; standard error is not: then
//! there is nobody left to tell.

use std::fmt::Display;
use std::io::Write;

use anyhow::Result;

/// A line on standard output.
pub(crate) fn answer(line: impl Display) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// A line on standard error.
pub(crate) fn tell(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Text on standard error that stays on its line.
pub(crate) fn show(text: impl Display) {
    let _ = write!(std::io::stderr(), "{text}");
}
