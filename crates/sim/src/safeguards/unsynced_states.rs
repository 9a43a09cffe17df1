//! A disk that reports a snapshot's state as durable although it is not: a crash may lose it after its manifest is published.

use std::io;
use std::path::Path;
use std::sync::Arc;

use eventlog::files::memory::Memory;
use eventlog::files::{File, Files};

use super::{Safeguard, Without};

/// The suffix of states.
const STATE: &str = ".state";

/// The disk of a run's snapshots.
#[must_use]
pub(crate) fn snapshot_files(without: Without, disk: &Memory) -> Arc<dyn Files> {
    if without.contains(&Safeguard::ManifestLast) {
        Arc::new(UnsyncedStates(disk.clone()))
    } else {
        Arc::new(disk.clone())
    }
}

#[derive(Debug)]
struct UnsyncedStates(Memory);

impl Files for UnsyncedStates {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        let file = self.0.open(path, create)?;
        Ok(if path.to_string_lossy().ends_with(STATE) { Arc::new(Unsynced(file)) } else { file })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.link(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
}

#[derive(Debug)]
struct Unsynced(Arc<dyn File>);

impl File for Unsynced {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_at(bytes, at)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
