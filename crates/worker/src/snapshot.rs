//! Snapshots: saved states of stages in a directory.
//!
//! A snapshot is a state file and a manifest that names it. The manifest is written last and atomically, and never changes.
//! The last `KEPT` snapshots of a partition stay. A manifest whose state is missing or damaged is an error: a stage with a
//! lost state does not begin empty.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::model::address::{PartitionId, Topic};
use eventlog::files::{self, Files};
use serde::{Deserialize, Serialize};

/// Number of snapshots that are kept for each partition; older ones are removed.
pub(crate) const KEPT: usize = 3;
const FORMAT: u32 = 2;
const MANIFEST: &str = ".manifest.json";
const STATE: &str = ".state";
/// Length of the pieces in which a state is written and synced, in bytes: a log on the same disk waits for one of them, not for all.
const PIECE_BYTES: usize = 1024 * 1024;

/// A stage's state at an offset: it contains all records before the offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The partition that it read.
    pub source: PartitionId,
    /// The offset of the next record.
    pub offset: u64,
    /// The number of the stage's behaviour.
    pub behaviour: u32,
    /// The encoded stage.
    pub state: Vec<u8>,
}

/// The partition and offset of a published snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: u16,
    /// The offset.
    pub offset: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    /// The id of the topic, hex.
    log: String,
    topic: Topic,
    partition: u16,
    offset: u64,
    behaviour: u32,
    bytes: u64,
    crc32c: u32,
    /// The name of the state file.
    state: String,
}

/// Why a snapshot cannot be written or restored.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum SnapshotError {
    #[error("{path}: cannot be {done}: {cause}")]
    Io { path: PathBuf, done: &'static str, cause: io::Error },
    #[error(
        "{path}: the snapshot of {partition} is torn: {what}; put it back from a copy, or remove this manifest to go back to the snapshot before it, if the log reaches back so far"
    )]
    Torn { path: PathBuf, partition: String, what: String },
    #[error(
        "{path}: the snapshot is of {partition} of log {found:032x}, which is now of log {log:032x}: the topic was recreated, or the store belongs to another deployment. Restore the topic, or begin with an empty store and ledger"
    )]
    OtherLog { path: PathBuf, partition: String, found: u128, log: u128 },
}

/// The snapshots of all partitions.
#[derive(Clone, Debug)]
pub struct Snapshots {
    files: Arc<dyn Files>,
    dir: PathBuf,
    /// Distinguishes this process from others that write to the same store.
    writer: u32,
}

impl Snapshots {
    /// The snapshots in a directory.
    #[must_use]
    pub fn new(files: Arc<dyn Files>, dir: &Path) -> Self {
        Self { files, dir: dir.to_owned(), writer: 0 }
    }

    /// The same, for a store that several processes write to: each has its own number.
    #[must_use]
    pub fn written_by(self, writer: u32) -> Self {
        Self { writer, ..self }
    }

    /// Writes a snapshot, the manifest last, and removes old ones. Returns the first offset that the log must keep.
    ///
    /// A snapshot at the offset of a published one is not written: both have the same content, and an interrupted change
    /// would leave a torn one. A snapshot below the latest one is not written either: the log may begin after its offset.
    ///
    /// # Errors
    /// The disk fails; earlier snapshots remain.
    pub fn write(&self, snapshot: &Snapshot) -> Result<u64, SnapshotError> {
        let dir = self.dir_of(snapshot.source.topic, snapshot.source.partition);
        self.files.create_dir(&dir).map_err(io_at(&dir, "made"))?;
        self.files.sync_dir(&self.dir).map_err(io_at(&self.dir, "synced"))?;
        let names = self.files.list(&dir).map_err(io_at(&dir, "listed"))?;
        let latest = names.iter().filter_map(|n| offset_of(n, MANIFEST)).next_back();
        if latest.is_some_and(|latest| latest >= snapshot.offset) {
            return self.prune(&dir);
        }
        let state = state_name(snapshot.offset, crc32c::crc32c(&snapshot.state), self.writer);
        let written =
            self.write_state(&dir, &state, snapshot).and_then(|()| self.write_manifest(&dir, &state, snapshot));
        if written.is_err() {
            // Otherwise unfinished snapshots would fill a store that was full for a while.
            self.remove_unpublished(&dir, &state, snapshot.offset);
        }
        written?;
        self.prune(&dir)
    }

    /// Removes a state without a manifest. If the directory cannot be listed, the state stays.
    fn remove_unpublished(&self, dir: &Path, state: &str, offset: u64) {
        let manifest = name(offset, MANIFEST);
        if self.files.list(dir).is_ok_and(|names| !names.contains(&manifest)) {
            let _ = self.files.remove(&dir.join(state));
        }
    }

    fn write_state(&self, dir: &Path, state: &str, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let path = dir.join(state);
        let file = self.files.open(&path, true).map_err(io_at(&path, "made"))?;
        let write = || {
            for (number, piece) in (0..).zip(snapshot.state.chunks(PIECE_BYTES)) {
                if number > 0 {
                    file.sync()?;
                }
                file.write_at(piece, number * PIECE_BYTES as u64)?;
            }
            file.truncate(snapshot.state.len() as u64)?;
            file.sync()
        };
        write().map_err(io_at(&path, "written"))
    }

    fn write_manifest(&self, dir: &Path, state: &str, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let manifest = Manifest {
            format: FORMAT,
            log: format!("{:032x}", snapshot.source.log),
            topic: snapshot.source.topic,
            partition: snapshot.source.partition,
            offset: snapshot.offset,
            behaviour: snapshot.behaviour,
            bytes: snapshot.state.len() as u64,
            crc32c: crc32c::crc32c(&snapshot.state),
            state: state.to_owned(),
        };
        let bytes = serde_json::to_vec(&manifest).expect("numbers and words");
        let name = name(snapshot.offset, MANIFEST);
        files::publish(&*self.files, dir, &name, &bytes).map_err(io_at(&dir.join(name), "written"))
    }

    /// Removes all but the last snapshots. Returns the first offset that the log must keep.
    fn prune(&self, dir: &Path) -> Result<u64, SnapshotError> {
        let names = self.files.list(dir).map_err(io_at(dir, "listed"))?;
        let offsets: Vec<u64> = names.iter().filter_map(|n| offset_of(n, MANIFEST)).collect();
        let kept = &offsets[offsets.len().saturating_sub(KEPT)..];
        let Some(&first) = kept.first() else { return Ok(0) };
        // A later state without a manifest may belong to another process that is about to publish it.
        let is_old = |name: &&String| offset_prefix(name).is_some_and(|offset| offset < first);
        let (manifests, others): (Vec<&String>, Vec<&String>) =
            names.iter().filter(is_old).partition(|name| name.ends_with(MANIFEST));
        for group in [manifests, others] {
            for name in group {
                let path = dir.join(name);
                match self.files.remove(&path) {
                    // Another process has removed it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed.map_err(io_at(&path, "removed"))?,
                }
            }
            self.files.sync_dir(dir).map_err(io_at(dir, "synced"))?;
        }
        Ok(first)
    }

    /// The latest snapshot of a partition; `None` if there never was one.
    ///
    /// # Errors
    /// The latest snapshot is torn, or of another log.
    pub fn latest(&self, source: PartitionId) -> Result<Option<Snapshot>, SnapshotError> {
        let PartitionId { topic, partition, .. } = source;
        let Some(offset) = self.offsets(topic, partition)?.pop() else { return Ok(None) };
        let listed = Listed { topic, partition, offset };
        let snapshot = self.read(&listed)?;
        if snapshot.source.log != source.log {
            let path = self.manifest(&listed);
            let (found, log) = (snapshot.source.log, source.log);
            return Err(SnapshotError::OtherLog { path, partition: source.to_string(), found, log });
        }
        Ok(Some(snapshot))
    }

    /// All published snapshots, sorted by partition and offset.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, SnapshotError> {
        let mut all = Vec::new();
        for name in self.files.list(&self.dir).map_err(io_at(&self.dir, "listed"))? {
            let parsed = name.rsplit_once('-').and_then(|(topic, n)| Some((Topic::parse(topic)?, n.parse().ok()?)));
            let Some((topic, partition)) = parsed else { continue };
            let offsets = self.offsets(topic, partition)?;
            all.extend(offsets.into_iter().map(|offset| Listed { topic, partition, offset }));
        }
        all.sort_unstable();
        Ok(all)
    }

    /// The offsets of a partition's snapshots, ascending.
    fn offsets(&self, topic: Topic, partition: u16) -> Result<Vec<u64>, SnapshotError> {
        let dir = self.dir_of(topic, partition);
        let names = self.files.list(&dir).map_err(io_at(&dir, "listed"))?;
        Ok(names.iter().filter_map(|n| offset_of(n, MANIFEST)).collect())
    }

    /// Reads a published snapshot and checks its state.
    ///
    /// # Errors
    /// The snapshot is torn, or its manifest is of another partition or offset.
    pub fn read(&self, listed: &Listed) -> Result<Snapshot, SnapshotError> {
        let Listed { topic, partition, offset } = *listed;
        let dir = self.dir_of(topic, partition);
        let path = dir.join(name(offset, MANIFEST));
        let torn = |what: String| self.torn(listed, what);
        let bytes = files::read(&*self.files, &path).map_err(io_at(&path, "read"))?;
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| torn(e.to_string()))?;
        if manifest.format != FORMAT {
            return Err(torn(format!("it is of format {}, this build reads {FORMAT}", manifest.format)));
        }
        let log = u128::from_str_radix(&manifest.log, 16).map_err(|e| torn(format!("its log: {e}")))?;
        if (manifest.topic, manifest.partition, manifest.offset) != (topic, partition, offset) {
            return Err(torn("it is of another partition or offset".to_owned()));
        }
        let state = files::read(&*self.files, &dir.join(&manifest.state))
            .map_err(|e| torn(format!("its state cannot be read: {e}")))?;
        if state.len() as u64 != manifest.bytes || crc32c::crc32c(&state) != manifest.crc32c {
            return Err(torn("its state is not as it was written".to_owned()));
        }
        Ok(Snapshot { source: PartitionId { log, topic, partition }, offset, behaviour: manifest.behaviour, state })
    }

    fn torn(&self, listed: &Listed, what: String) -> SnapshotError {
        let Listed { topic, partition, .. } = *listed;
        let partition = format!("{topic} partition {partition}");
        SnapshotError::Torn { path: self.manifest(listed), partition, what }
    }

    fn manifest(&self, listed: &Listed) -> PathBuf {
        self.dir_of(listed.topic, listed.partition).join(name(listed.offset, MANIFEST))
    }

    fn dir_of(&self, topic: Topic, partition: u16) -> PathBuf {
        self.dir.join(format!("{topic}-{partition}"))
    }
}

fn name(offset: u64, end: &str) -> String {
    format!("{offset:020}{end}")
}

/// The name of a state has its checksum and its writer: two processes at the same offset neither overwrite nor remove each
/// other's states.
fn state_name(offset: u64, crc: u32, writer: u32) -> String {
    format!("{offset:020}-{crc:08x}-{writer:08x}{STATE}")
}

/// The offset at the start of a snapshot file's name.
fn offset_prefix(name: &str) -> Option<u64> {
    name.get(..20)?.parse().ok()
}

fn offset_of(name: &str, end: &str) -> Option<u64> {
    name.strip_suffix(end)?.parse().ok()
}

fn io_at<'a>(path: &'a Path, done: &'static str) -> impl FnOnce(io::Error) -> SnapshotError + 'a {
    move |cause| SnapshotError::Io { path: path.to_owned(), done, cause }
}
