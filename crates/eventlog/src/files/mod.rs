//! The layer over the file system. [`disk`] is the real one; [`memory`] loses, tears and refuses writes, by a seed.
//!
//! A file's contents are durable only after [`File::sync`], and its name only after [`Files::sync_dir`].

pub mod disk;
pub mod memory;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The operations on directories and names.
pub trait Files: Debug + Send + Sync {
    /// Creates a directory and its parents.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names in a directory, sorted; none if the directory does not exist.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Opens a file to read and write. If `create` is set, a missing file is created.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>>;

    /// Opens a file that is only read: its disk may be mounted read-only.
    ///
    /// # Errors
    /// As the system says.
    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open(path, false)
    }

    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Renames a file in one atomic step.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, in one atomic step, unless a file has that name: `AlreadyExists`.
    ///
    /// # Errors
    /// As the system says.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The operations on a file's contents.
pub trait File: Debug + Send + Sync {
    /// # Errors
    /// As the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    ///
    /// # Errors
    /// As the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads from byte `at` until the buffer is full or the file ends; returns the number of bytes.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes all of the bytes; on an error, an unknown part of them is written.
    ///
    /// # Errors
    /// As the system says.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// # Errors
    /// As the system says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes all writes to the file durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync(&self) -> io::Result<()>;
}

/// Writes a whole file under a temporary name, syncs it and renames it. So the file is whole or absent, also when several
/// processes write it at the same time.
///
/// # Errors
/// As the system says; the file is then as it was before.
pub fn publish(files: &dyn Files, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let partial = write_partial(files, dir, name, bytes)?;
    let target = dir.join(name);
    match files.rename(&partial, &target) {
        // Another process has renamed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound && read(files, &target)? == bytes => {}
        moved => moved?,
    }
    files.sync_dir(dir)
}

/// Writes a whole file as [`publish`] does, unless there is one of this name. Returns whether it was written. Of several processes that
/// write other contents, one does; of those with the same contents, each gets `true`.
///
/// # Errors
/// As the system says; the file may be there all the same.
pub fn create(files: &dyn Files, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<bool> {
    let partial = write_partial(files, dir, name, bytes)?;
    let target = dir.join(name);
    let is_created = match files.link(&partial, &target) {
        Ok(()) => true,
        // Another process has written it; if it has removed the temporary name, with the same contents.
        Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
            read(files, &target)? == bytes
        }
        Err(error) => return Err(error),
    };
    match files.remove(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    files.sync_dir(dir)?;
    Ok(is_created)
}

/// Writes a file under a temporary name and syncs it. Writers of other contents use another name; writers of the same contents do not
/// change the file.
fn write_partial(files: &dyn Files, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let partial = dir.join(format!("{name}-{:08x}{PARTIAL}", crc32c::crc32c(bytes)));
    let written = files.open(&partial, true).and_then(|file| {
        file.write_at(bytes, 0)?;
        file.truncate(bytes.len() as u64)?;
        file.sync()
    });
    if written.is_err() {
        let _ = files.remove(&partial);
    }
    written?;
    Ok(partial)
}

/// The suffix of temporary names of files that are not whole yet.
pub(crate) const PARTIAL: &str = ".partial";

/// All bytes of a file.
///
/// # Errors
/// As the system says.
pub fn read(files: &dyn Files, path: &Path) -> io::Result<Vec<u8>> {
    let file = files.open_to_read(path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
