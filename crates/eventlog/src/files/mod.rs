//! The layer over the file system. The real one is [`disk`]; [`memory`] loses, tears and refuses under a seed.
//!
//! What a file holds, and that it is there at all, counts as durable only after [`File::sync`] and [`Files::sync_dir`].

pub mod disk;
pub mod memory;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The operations on directories and names.
pub trait Files: Debug + Send + Sync {
    /// Makes a directory and those above it.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names in a directory, sorted; none if it is not there.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Opens a file to read and write; makes it if `create` says so.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>>;

    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, in one step.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The operations on what a file holds.
pub trait File: Debug + Send + Sync {
    /// # Errors
    /// As the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether it holds nothing.
    ///
    /// # Errors
    /// As the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills as much of the buffer as there is from `at` on; says how much.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes all of the bytes, or an unknown part of them if it fails.
    ///
    /// # Errors
    /// As the system says.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// # Errors
    /// As the system says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync(&self) -> io::Result<()>;
}

/// Writes a whole file under another name, syncs it and moves it to its place: it is there whole or not at all, also where
/// several processes write it at once.
///
/// # Errors
/// As the system says; the place is then as it was.
pub fn publish(files: &dyn Files, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    // Who writes something else writes it under another name; who writes the same changes nothing of it.
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
    let place = dir.join(name);
    match files.rename(&partial, &place) {
        // Another one has moved it.
        Err(error) if error.kind() == io::ErrorKind::NotFound && read(files, &place)? == bytes => {}
        moved => moved?,
    }
    files.sync_dir(dir)
}

/// The end of the names of files that are not whole yet.
pub const PARTIAL: &str = ".partial";

/// All bytes of a file.
///
/// # Errors
/// As the system says.
pub fn read(files: &dyn Files, path: &Path) -> io::Result<Vec<u8>> {
    let file = files.open(path, false)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
