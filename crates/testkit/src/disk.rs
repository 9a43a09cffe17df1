//! Disks that can be full: file systems in memory, which only root can mount.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk of its own, a few MiB large; gone with the value.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a disk of so many MiB over an empty directory. `None`: it cannot be; that is said.
    ///
    /// # Panics
    /// If it cannot be and `MASHANG_NO_SKIP` is set.
    #[must_use]
    pub fn mount(at: &Path, mib: u32) -> Option<Self> {
        let options = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        assert!(std::env::var_os("MASHANG_NO_SKIP").is_none(), "no disk can be mounted: root is needed");
        eprintln!("skipped: no disk can be mounted without being root");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there keeps it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
