//! `mashang mint`: the codes of a batch, as a table or as pictures.
//!
//! - `minter`: tokens and URLs of a batch
//! - `table`: codes as CSV
//! - `symbol`, `picture`: QR codes as SVG, one by one or on pages
//! - `part`, `folder`: files and directories that are there only once they are whole
//! - `watch`: progress and signals

mod folder;
mod minter;
mod part;
mod picture;
mod symbol;
mod table;
mod watch;

use std::io::{ErrorKind, IsTerminal, stdout};
use std::ops::Range;
use std::path::Path;

use anyhow::{Result, anyhow};

use self::folder::write_pictures;
use self::minter::Minter;
use self::part::write_table;
use self::picture::Pictures;
use self::table::Rows;
use self::watch::{Cause, Watch};
use crate::cli::code_args::{MintArgs, MintFormat};
use crate::rules::files::{read_public, read_secret};
use crate::usage;

/// Mints the codes that are asked for.
pub(crate) fn mint(args: &MintArgs) -> Result<()> {
    let out = args.out.as_deref().filter(|&out| out != Path::new("-"));
    if args.sheet.is_some() && args.format != MintFormat::Svg {
        return Err(usage("--sheet: is for pictures; give --format svg too"));
    }
    if args.format == MintFormat::Svg && out.is_none() {
        return Err(usage("--format svg: needs a new directory for the pictures; give --out DIR"));
    }
    // Who mints needs the secret of the batch alone, and none of a draw.
    let rules = read_public(&args.rules)?.rules;
    let beside = args.rules.parent().unwrap_or(Path::new(""));
    let secrets = args.secrets.as_deref().unwrap_or(beside);
    let minter = Minter::new(&rules, |place| read_secret(secrets, place), args.batch).map_err(usage)?;
    let serials = minter.serials(args.from, args.count).map_err(usage)?;
    let mut watch = Watch::start(serials.end - serials.start)?;
    let rows = Rows::new(&minter);
    match (args.format, out) {
        (MintFormat::Svg, Some(dir)) => {
            let pictures = Pictures { minter: &minter, sheet: args.sheet };
            write_pictures(&pictures, serials, dir, args.force, &mut watch)
        }
        (_, Some(file)) => write_table(&rows, serials, file, args.force, &mut watch),
        (_, None) => print_table(&rows, serials, &mut watch),
    }
}

/// Writes the table to standard output.
fn print_table(rows: &Rows<'_>, serials: Range<u64>, watch: &mut Watch) -> Result<()> {
    let mut out = stdout().lock();
    if out.is_terminal() {
        watch.hide();
    }
    Rows::write_header(&mut out)?;
    rows.write(serials.clone(), &mut out, watch).map_err(|cut| match cut.cause {
        // Its reader has what it wants.
        Cause::Io(error) if error.kind() == ErrorKind::BrokenPipe => error.into(),
        ref cause => {
            let (next, mend) = (cut.next, cut.mend(&serials));
            anyhow!("standard output: {cause}; it has the codes before serial {next}: {mend}")
        }
    })
}
