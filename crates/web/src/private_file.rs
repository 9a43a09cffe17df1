//! Files of secrets.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::unistd::geteuid;

/// Checks that only its owner can read a file, and that its owner is the user of this process or root.
///
/// # Errors
/// What is wrong and the fix, as a phrase that follows the path.
pub fn check(meta: &Metadata) -> Result<(), String> {
    check_owner(meta)?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(format!("others may read the keys (mode {mode:04o}): chmod 600 it")) }
}

/// Checks that the owner of a file is the user of this process or root: any other user can change it.
///
/// # Errors
/// As [`check`].
pub fn check_owner(meta: &Metadata) -> Result<(), String> {
    let (owner, own) = (meta.uid(), geteuid().as_raw());
    if owner == own || owner == 0 {
        return Ok(());
    }
    Err(format!("it belongs to user {owner}, this process runs as user {own}: chown it"))
}
