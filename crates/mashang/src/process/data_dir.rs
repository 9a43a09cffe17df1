//! A directory that one process at a time writes.

use std::fs::{File, TryLockError};
use std::path::Path;

/// Locks a directory until the file that this gives is closed.
pub(crate) fn lock(dir: &Path) -> Result<File, String> {
    let file = File::open(dir).map_err(|e| format!("cannot be written: {e}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err("another process of mashang writes there: wait for it, stop it, or choose another".to_owned())
        }
        Err(TryLockError::Error(e)) => Err(format!("cannot be locked: {e}")),
    }
}
