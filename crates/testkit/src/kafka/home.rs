//! Directories of clusters. A cluster that all tests of a binary share is never dropped. So the next cluster of any binary removes
//! the directories of processes that have ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed when dropped, or by a later [`Home::new`] of any process after the end of this one.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    mark: PathBuf,
    /// The lock, which this process holds until it ends.
    _lock: File,
}

impl Home {
    /// # Panics
    /// If no file can be created in the directory for temporary files.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let all = std::env::temp_dir().join("mashang-testkit-kafka");
        fs::create_dir_all(&all).expect("a directory for temporary files");
        sweep(&all);
        loop {
            let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let mark = all.join(format!("{name}.lock"));
            let lock = File::create(&mark).expect("a file in the directory for temporary files");
            if lock.try_lock().is_ok() {
                let path = all.join(name);
                fs::create_dir_all(&path).expect("a directory in the directory for temporary files");
                return Self { path, mark, _lock: lock };
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        let _ = fs::remove_file(&self.mark);
    }
}

/// Removes the directories of processes that have ended.
fn sweep(all: &Path) {
    let entries = fs::read_dir(all).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    for mark in entries.filter(|path| path.extension().is_some_and(|e| e == "lock")) {
        let Ok(file) = File::open(&mark) else { continue };
        if file.try_lock().is_ok() {
            let _ = fs::remove_dir_all(mark.with_extension(""));
            let _ = fs::remove_file(&mark);
        }
    }
}
