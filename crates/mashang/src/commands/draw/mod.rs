//! `mashang draw`: commits to secrets, and draws that anyone recomputes (contract section 6).
//!
//! - `draws`: the arithmetic
//! - `awards`: rows of `export awards`
//! - `verify`: the draws of a campaign, from its rules and its secret
//! - `entries`: the entries of a log, taken through the desks again
//! - `pick`: entries of a list

mod awards;
mod draws;
mod entries;
pub(crate) mod pick;
pub(crate) mod verify;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use domain::model::rules::secrets::Secret;
use sha2::{Digest, Sha256};

use crate::cli::draw_args::DrawCommitArgs;
use crate::process::output::{print, report};
use crate::rules::files::read_private;
use crate::usage;

/// Prints what the rules publish of a secret.
pub(crate) fn commit(args: &DrawCommitArgs) -> Result<()> {
    let secret = read_secret(&args.secret)?;
    let mode = std::fs::metadata(&args.secret).map_or(0, |meta| meta.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        report(format_args!(
            "warning: {}: others may read it (mode {mode:04o}): chmod 600 it until the draw is over",
            args.secret.display()
        ));
    }
    print(HEXLOWER.encode(&hash(&secret)))
}

/// The commit of a secret.
fn hash(secret: &Secret) -> [u8; 32] {
    Sha256::digest(**secret).into()
}

/// Reads a secret from a file that no other user may have written.
///
/// # Errors
/// The file cannot be read, or holds no secret: usage.
fn read_secret(path: &Path) -> Result<Secret> {
    let bytes = read_private(path).map_err(usage)?;
    let mut secret = Secret::new([0; 32]);
    let digits = bytes.trim_ascii();
    if digits.len() != 2 * secret.len() || HEXLOWER_PERMISSIVE.decode_mut(digits, secret.as_mut()).is_err() {
        let name = path.display();
        return Err(usage(format!("{name}: holds no secret: write 64 hex digits and nothing else")));
    }
    Ok(secret)
}
