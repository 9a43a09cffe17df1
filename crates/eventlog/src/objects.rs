//! Objects: named bytes that are written once and never changed, in a directory here, or in an object store elsewhere.
//!
//! A name has parts with `/` between them; all parts but the last are its folder.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files::{self, Files};

/// Length of the pieces in which data is written and synced, in bytes: a log on the same disk waits for one of them, not for all.
const PIECE_BYTES: usize = 1024 * 1024;

/// The operations on objects. An error of kind `NotFound` says that there is no such object; one of kind `NotConnected`, that the
/// store does not answer now.
pub trait Objects: Debug + Send + Sync {
    /// Makes a folder where the store has such.
    ///
    /// # Errors
    /// As the store says.
    fn make_folder(&self, folder: &str) -> io::Result<()>;

    /// The last parts of the names in a folder and of the folders in it, sorted; none if there is no such folder.
    ///
    /// # Errors
    /// As the store says.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// All bytes of an object.
    ///
    /// # Errors
    /// As the store says.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// The first bytes of an object, at most `max`.
    ///
    /// # Errors
    /// As the store says.
    fn read_start(&self, name: &str, max: usize) -> io::Result<Vec<u8>>;

    /// Writes an object unless there is one of this name. Returns whether it was written; it is then durable, and seen whole or not at
    /// all. Of several processes that create it, one does.
    ///
    /// # Errors
    /// As the store says; the object may be there all the same.
    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<bool>;

    /// Writes data that no object refers to yet. The bytes are durable when this returns, the name once an object is published in its
    /// folder; until then it may be seen in part.
    ///
    /// # Errors
    /// As the store says; a part may be left.
    fn write_data(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Writes an object that is seen whole or not at all, and is durable when this returns.
    ///
    /// # Errors
    /// As the store says; the object may be there all the same.
    fn publish(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Removes objects of one folder; those that are not there are not an error. They stay removed once this returns.
    ///
    /// # Errors
    /// The name that cannot be removed, and why.
    fn remove(&self, folder: &str, names: &[&str]) -> Result<(), (String, io::Error)>;

    /// What people find an object or a folder by.
    fn address(&self, name: &str) -> String;
}

/// Whether an error says that a store does not answer now.
#[must_use]
pub fn is_away(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotConnected
}

/// Objects in a directory, a file each.
#[derive(Clone, Debug)]
pub struct Directory {
    files: Arc<dyn Files>,
    dir: PathBuf,
}

impl Directory {
    /// The objects of a directory.
    #[must_use]
    pub fn new(files: Arc<dyn Files>, dir: &Path) -> Self {
        Self { files, dir: dir.to_owned() }
    }

    /// The folder of a name, and its last part.
    fn split<'a>(&self, name: &'a str) -> (PathBuf, &'a str) {
        match name.rsplit_once('/') {
            Some((folder, last)) => (self.dir.join(folder), last),
            None => (self.dir.clone(), name),
        }
    }
}

impl Objects for Directory {
    fn make_folder(&self, folder: &str) -> io::Result<()> {
        let dir = self.dir.join(folder);
        self.files.create_dir(&dir)?;
        dir.parent().map_or(Ok(()), |parent| self.files.sync_dir(parent))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.files.list(&self.dir.join(folder))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        files::read(&*self.files, &self.dir.join(name))
    }

    fn read_start(&self, name: &str, max: usize) -> io::Result<Vec<u8>> {
        let file = self.files.open_to_read(&self.dir.join(name))?;
        let mut bytes = vec![0; max];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        let (dir, last) = self.split(name);
        files::create(&*self.files, &dir, last, bytes)
    }

    fn write_data(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let file = self.files.open(&self.dir.join(name), true)?;
        for (number, piece) in (0..).zip(bytes.chunks(PIECE_BYTES)) {
            if number > 0 {
                file.sync()?;
            }
            file.write_at(piece, number * PIECE_BYTES as u64)?;
        }
        file.truncate(bytes.len() as u64)?;
        file.sync()
    }

    fn publish(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (dir, last) = self.split(name);
        files::publish(&*self.files, &dir, last, bytes)
    }

    fn remove(&self, folder: &str, names: &[&str]) -> Result<(), (String, io::Error)> {
        let dir = self.dir.join(folder);
        for name in names {
            match self.files.remove(&dir.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(((*name).to_owned(), error)),
                _ => {}
            }
        }
        self.files.sync_dir(&dir).map_err(|error| (String::new(), error))
    }

    fn address(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
}
