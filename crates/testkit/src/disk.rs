//! Small disks that tests can fill: file systems in memory, which only root can mount.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk of a few MiB, unmounted when the value is dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a disk of `mib` MiB over an empty directory. If that is not possible, it prints why and returns `None`.
    ///
    /// # Panics
    /// If the disk cannot be mounted and `MASHANG_NO_SKIP` is set.
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
        // Lazily: open files on the disk stay usable.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
