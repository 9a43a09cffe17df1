//! A file system in memory that a test can crash. Writes that were not synced are then lost or survive in part, by a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::{File, Files};

/// A disk in memory. All clones share it.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Names of files as they are now, and as a crash leaves them.
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    contents: Vec<Content>,
    syncs: u64,
    /// Bytes that may still be written before the disk is full.
    free_bytes: Option<u64>,
    /// The number of crashes; a handle from before the last one fails.
    crashes: u64,
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since the last sync.
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(usize),
}

/// What a crash does to writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// They survive: only the process ends.
    Nothing,
    /// All of them are lost.
    Everything,
    /// Each write survives, is lost, or survives in part, by the seed.
    Torn(u64),
}

impl Memory {
    /// Crashes the disk: open handles fail from now on, and `loss` says what becomes of writes that were not synced.
    pub fn crash(&self, loss: Loss) {
        let mut state = self.state();
        state.crashes += 1;
        let mut random = match loss {
            Loss::Nothing => return,
            Loss::Everything => None,
            Loss::Torn(seed) => Some(Random(seed)),
        };
        // Each name that was added, removed or changed without a sync has its old or its new state.
        let mut survivors = state.durable_names.clone();
        if let Some(random) = &mut random {
            let all: BTreeSet<&PathBuf> = state.names.keys().chain(state.durable_names.keys()).collect();
            for path in all {
                let (now, durable) = (state.names.get(path), state.durable_names.get(path));
                if now != durable && random.next(2) == 0 {
                    match now {
                        Some(&content) => drop(survivors.insert(path.clone(), content)),
                        None => drop(survivors.remove(path)),
                    }
                }
            }
        }
        state.names = survivors;
        state.durable_names = state.names.clone();
        for content in &mut state.contents {
            let pending = std::mem::take(&mut content.pending);
            if let Some(random) = &mut random {
                for change in pending {
                    let survives = random.next(4);
                    match change {
                        Change::Write(at, bytes) => {
                            let survivors = match survives {
                                0 => 0,
                                1 => usize::try_from(random.next(bytes.len() as u64 + 1)).unwrap_or(0),
                                _ => bytes.len(),
                            };
                            put(&mut content.durable, at, &bytes[..survivors]);
                        }
                        Change::Truncate(len) if survives > 0 => content.durable.truncate(len),
                        Change::Truncate(_) => {}
                    }
                }
            }
            content.now = content.durable.clone();
        }
    }

    /// Sets how many more bytes may be written before the disk is full; `None` is no limit.
    pub fn set_room(&self, room: Option<u64>) {
        self.state().free_bytes = room;
    }

    /// The number of syncs of files and directories.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Flips one bit of a byte of a file; the change is durable.
    ///
    /// # Panics
    /// If there is no such file or byte.
    pub fn flip(&self, path: &Path, at: usize) {
        let mut state = self.state();
        let content = state.names[path];
        state.contents[content].now[at] ^= 1;
        state.contents[content].durable[at] ^= 1;
    }

    /// The paths of all files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

/// A small generator of random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }
}

fn put(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let at = usize::try_from(at).expect("a small file");
    if bytes.is_empty() {
        return;
    }
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", path.display()))
}

impl Files for Memory {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let mut names: Vec<String> = Vec::new();
        for path in state.names.keys() {
            if let Ok(below) = path.strip_prefix(dir)
                && let Some(first) = below.iter().next()
            {
                let first = first.to_string_lossy().into_owned();
                if names.last() != Some(&first) {
                    names.push(first);
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        let content = match state.names.get(path) {
            Some(&content) => content,
            None if create => {
                state.contents.push(Content::default());
                let content = state.contents.len() - 1;
                state.names.insert(path.to_owned(), content);
                content
            }
            None => return Err(not_found(path)),
        };
        let crashes = state.crashes;
        Ok(Arc::new(MemoryFile { disk: self.clone(), content, crashes }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().names.remove(path).map(drop).ok_or_else(|| not_found(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let content = state.names.remove(from).ok_or_else(|| not_found(from))?;
        state.names.insert(to.to_owned(), content);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let content = *state.names.get(from).ok_or_else(|| not_found(from))?;
        if state.names.contains_key(to) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, to.display().to_string()));
        }
        state.names.insert(to.to_owned(), content);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.syncs += 1;
        let names: BTreeMap<PathBuf, usize> =
            state.names.iter().filter(|(path, _)| path.parent() == Some(dir)).map(|(p, c)| (p.clone(), *c)).collect();
        state.durable_names.retain(|path, _| path.parent() != Some(dir));
        state.durable_names.extend(names);
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: Memory,
    content: usize,
    crashes: u64,
}

impl MemoryFile {
    /// The disk's state; an error if the disk crashed since the file was opened.
    fn disk(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.crashes == self.crashes {
            Ok(state)
        } else {
            Err(io::Error::other("the handle is from before a crash"))
        }
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk()?.contents[self.content].now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let state = self.disk()?;
        let now = &state.contents[self.content].now;
        let from = usize::try_from(at).expect("a small file").min(now.len());
        let n = buffer.len().min(now.len() - from);
        buffer[..n].copy_from_slice(&now[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.disk()?;
        let space = usize::try_from(state.free_bytes.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let (written, full) = (&bytes[..space.min(bytes.len())], space < bytes.len());
        if let Some(free) = &mut state.free_bytes {
            *free -= written.len() as u64;
        }
        let content = &mut state.contents[self.content];
        put(&mut content.now, at, written);
        content.pending.push(Change::Write(at, written.to_vec()));
        if full { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk()?;
        let content = &mut state.contents[self.content];
        let len = usize::try_from(len).expect("a small file");
        content.now.resize(len, 0);
        content.pending.push(Change::Truncate(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk()?;
        state.syncs += 1;
        let content = &mut state.contents[self.content];
        content.durable = content.now.clone();
        content.pending.clear();
        Ok(())
    }
}
