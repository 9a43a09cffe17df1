//! Snapshots: saved states of stages in a directory or an object store.
//!
//! A snapshot is a state and a manifest that names it. A large state is a head and segments, of which one snapshot writes what changed
//! since the one before. The manifest is written last and atomically, and never changes.
//! The last `KEPT` snapshots of a partition stay. A manifest whose state is missing or damaged is an error: a stage with a
//! lost state does not begin empty.
//!
//! - [`segment`]: the pieces in which a large state is stored
//! - `saver`: how a task stores its state in segments, part by part

pub(crate) mod saver;
pub mod segment;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::model::address::{PartitionId, Topic, TopicPartition};
use eventlog::files::Files;
use eventlog::objects::{Directory, Objects};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::snapshot::segment::{Chain, Fate, NewSegment, Segment, SegmentKind, SegmentSizes};

/// Number of snapshots that are kept for each partition; older ones are removed.
pub(crate) const KEPT: usize = 3;
/// The format of a manifest that names a whole state.
const WHOLE: u32 = 2;
/// The format of a manifest that names a head and segments.
const SEGMENTED: u32 = 3;
/// Number of snapshots of a partition after which a segment that no manifest has is removed.
const UNUSED_FOR: u32 = 16;
const MANIFEST: &str = ".manifest.json";
const STATE: &str = ".state";
const SEGMENT: &str = ".segment";

/// A stage's state at an offset: it contains all records before the offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The partition that it read.
    pub source: PartitionId,
    /// The offset of the next record.
    pub offset: u64,
    /// The number of the stage's behaviour.
    pub behaviour: u32,
    /// The encoded stage, or what of it is not in segments.
    pub state: Vec<u8>,
    /// The segments, unless the state is whole.
    pub chain: Option<Chain>,
    /// Those of them that are not handed to a writer yet.
    pub new: Vec<NewSegment>,
    /// Approximate memory of the state, bytes; 0 if it is not known.
    pub memory: u64,
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
    /// Where the base of the segments began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    segments: Vec<Segment>,
    /// Approximate memory of a state in segments, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
}

/// What every manifest has, of any format.
#[derive(Debug, Deserialize)]
struct AnyManifest {
    format: u32,
}

/// Why a snapshot cannot be written or restored.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum SnapshotError {
    #[error("{at}: cannot be {done}: {cause}")]
    Io { at: String, done: &'static str, cause: io::Error },
    #[error(
        "{at}: the snapshot of {partition} is torn: {what}; put it back from a copy, or remove this manifest to go back to the snapshot before it, if the log reaches back so far"
    )]
    Torn { at: String, partition: String, what: String },
    #[error(
        "{at}: the snapshot of {partition} is of format {format}, and this build reads up to {SEGMENTED}: upgrade this build"
    )]
    Newer { at: String, partition: String, format: u32 },
    #[error("a segment of the snapshot of {0} was not written; the next one stores the whole state")]
    Incomplete(String),
    #[error(
        "{at}: the snapshot is of {partition} of log {found:032x}, which is now of log {log:032x}: the topic was recreated, or the store belongs to another deployment. Restore the topic, or begin with an empty store and ledger"
    )]
    OtherLog { at: String, partition: String, found: u128, log: u128 },
}

impl SnapshotError {
    /// Whether another attempt may succeed.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

/// The snapshots of all partitions.
#[derive(Clone, Debug)]
pub struct Snapshots {
    objects: Arc<dyn Objects>,
    folder: String,
    /// Distinguishes this process from others that write to the same store.
    writer: u32,
    /// Number of segments of this process so far.
    segments: Arc<AtomicU64>,
    /// By folder, the segments that no manifest has, and how often they were found.
    unused: Arc<Mutex<HashMap<String, HashMap<String, u32>>>>,
    sizes: SegmentSizes,
}

impl Snapshots {
    /// The snapshots in a directory.
    #[must_use]
    pub fn new(files: Arc<dyn Files>, dir: &Path) -> Self {
        Self {
            objects: Arc::new(Directory::new(files, dir)),
            folder: String::new(),
            writer: 0,
            segments: Arc::default(),
            unused: Arc::default(),
            sizes: SegmentSizes::default(),
        }
    }

    /// The snapshots in a folder of a store that several processes write to: each has its own number.
    #[must_use]
    pub fn of_store(objects: Arc<dyn Objects>, folder: &str, writer: u32) -> Self {
        Self {
            objects,
            folder: format!("{folder}/"),
            writer,
            segments: Arc::default(),
            unused: Arc::default(),
            sizes: SegmentSizes::default(),
        }
    }

    /// The same with segments of other sizes.
    #[must_use]
    pub fn with_sizes(self, sizes: SegmentSizes) -> Self {
        Self { sizes, ..self }
    }

    /// The sizes of segments.
    pub(crate) fn sizes(&self) -> SegmentSizes {
        self.sizes
    }

    /// A segment of a state that was begun at an offset. No other segment ever has its name.
    pub(crate) fn segment(&self, kind: SegmentKind, offset: u64, bytes: Vec<u8>, fate: Fate) -> NewSegment {
        let crc32c = crc32c::crc32c(&bytes);
        let (kind, number) = (kind.letter(), self.segments.fetch_add(1, Ordering::AcqRel));
        let name = format!("{offset:020}-{kind}-{number:08x}-{:08x}{SEGMENT}", self.writer);
        NewSegment { segment: Segment { name, bytes: bytes.len() as u64, crc32c }, bytes, fate }
    }

    /// Writes a snapshot, the manifest last, and removes old ones. Returns the first offset that the log must keep.
    ///
    /// A snapshot at the offset of a published one is not written: both have the same content, and an interrupted change
    /// would leave a torn one. A snapshot below the latest one is not written either: the log may begin after its offset.
    ///
    /// # Errors
    /// The store fails; earlier snapshots remain.
    pub fn write(&self, snapshot: &Snapshot) -> Result<u64, SnapshotError> {
        let folder = self.folder_of(snapshot.source.topic, snapshot.source.partition);
        self.objects.make_folder(&folder).map_err(self.io_at(&folder, "made"))?;
        let names = self.names(&folder)?;
        let latest = names.iter().filter_map(|n| offset_of(n, MANIFEST)).next_back();
        if latest.is_some_and(|latest| latest >= snapshot.offset) {
            // Later segments must not follow on ones that are not there.
            if let Some(chain) = &snapshot.chain {
                self.give_up(&folder, &chain.fate, None);
            }
            return self.prune(&folder);
        }
        let crc = crc32c::crc32c(&snapshot.state);
        let state = state_name(snapshot.offset, crc, self.writer);
        let at = format!("{folder}/{state}");
        let segments = || snapshot.new.iter().try_for_each(|segment| self.write_segment(snapshot.source, segment));
        let whole = || match &snapshot.chain {
            Some(chain) if chain.fate.has_failed() || chain.fate.written() != chain.handed_out => {
                Err(SnapshotError::Incomplete(snapshot.source.to_string()))
            }
            _ => Ok(()),
        };
        let head = || self.objects.write_data(&at, &snapshot.state).map_err(self.io_at(&at, "written"));
        let written = segments().and_then(|()| whole()).and_then(|()| head());
        let written = written.and_then(|()| self.check_present(&folder, snapshot));
        let written = written.and_then(|()| self.write_manifest(&folder, &state, crc, snapshot));
        let fate = snapshot.chain.as_ref().map(|chain| chain.fate.clone()).unwrap_or_default();
        if let Err(error) = written {
            // The manifest may be there all the same. If the folder cannot be listed, all stays.
            let manifest = name(snapshot.offset, MANIFEST);
            if self.objects.list(&folder).is_ok_and(|names| !names.contains(&manifest)) {
                self.give_up(&folder, &fate, Some(&state));
            }
            fate.fail();
            return Err(error);
        }
        fate.published();
        self.prune(&folder)
    }

    /// Removes what no manifest will have. Otherwise unfinished snapshots would fill a store that was full for a while.
    fn give_up(&self, folder: &str, fate: &Fate, object: Option<&str>) {
        let segments = fate.fail();
        let objects: Vec<&str> = segments.iter().map(String::as_str).chain(object).collect();
        let _ = self.objects.remove(folder, &objects);
    }

    /// Checks that no other process has removed a segment.
    fn check_present(&self, folder: &str, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let Some(chain) = &snapshot.chain else { return Ok(()) };
        let names: HashSet<String> = self.names(folder)?.into_iter().collect();
        let is_whole = chain.segments.iter().all(|segment| names.contains(&segment.name));
        if is_whole { Ok(()) } else { Err(SnapshotError::Incomplete(snapshot.source.to_string())) }
    }

    /// Writes a segment ahead of its snapshot.
    ///
    /// # Errors
    /// The store fails; the snapshot will not be written.
    pub fn write_segment(&self, source: PartitionId, new: &NewSegment) -> Result<(), SnapshotError> {
        if new.fate.has_failed() {
            return Err(SnapshotError::Incomplete(source.to_string()));
        }
        let folder = self.folder_of(source.topic, source.partition);
        let at = format!("{folder}/{}", new.segment.name);
        let written = self.objects.make_folder(&folder).and_then(|()| self.objects.write_data(&at, &new.bytes));
        match written {
            Ok(()) => new.fate.wrote(&new.segment.name),
            Err(_) => self.give_up(&folder, &new.fate, Some(&new.segment.name)),
        }
        written.map_err(self.io_at(&at, "written"))
    }

    fn write_manifest(&self, folder: &str, state: &str, crc32c: u32, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let chain = snapshot.chain.as_ref();
        let manifest = Manifest {
            format: if chain.is_some() { SEGMENTED } else { WHOLE },
            log: format!("{:032x}", snapshot.source.log),
            topic: snapshot.source.topic,
            partition: snapshot.source.partition,
            offset: snapshot.offset,
            behaviour: snapshot.behaviour,
            bytes: snapshot.state.len() as u64,
            crc32c,
            state: state.to_owned(),
            since: chain.map(|chain| chain.since),
            segments: chain.map(|chain| chain.segments.clone()).unwrap_or_default(),
            // Builds before segments know no such field.
            memory: chain.map(|_| snapshot.memory),
        };
        let bytes = serde_json::to_vec(&manifest).expect("numbers and words");
        let at = format!("{folder}/{}", name(snapshot.offset, MANIFEST));
        self.objects.publish(&at, &bytes).map_err(self.io_at(&at, "written"))
    }

    /// Removes all but the last snapshots. Returns the first offset that the log must keep.
    fn prune(&self, folder: &str) -> Result<u64, SnapshotError> {
        let names = self.names(folder)?;
        let (segments, others): (Vec<&str>, Vec<&str>) =
            names.iter().map(String::as_str).partition(|name| name.ends_with(SEGMENT));
        let offsets: Vec<u64> = others.iter().filter_map(|name| offset_of(name, MANIFEST)).collect();
        let kept = &offsets[offsets.len().saturating_sub(KEPT)..];
        let Some(&first) = kept.first() else { return Ok(0) };
        // A later state without a manifest may belong to another process that is about to publish it.
        let old = others.into_iter().filter(|name| offset_prefix(name).is_some_and(|offset| offset < first));
        let (manifests, states): (Vec<&str>, Vec<&str>) = old.partition(|name| name.ends_with(MANIFEST));
        let unused = self.unused(folder, segments, kept, &manifests);
        for group in [manifests, states, unused] {
            let removed = self.objects.remove(folder, &group);
            removed.map_err(|(name, cause)| self.io_at(&format!("{folder}/{name}"), "removed")(cause))?;
        }
        Ok(first)
    }

    /// The segments that can be removed together with these manifests; none if a manifest cannot be read.
    ///
    /// A segment that no manifest has may belong to another process that is about to publish one. Only after some time it is taken for
    /// what a process left that was killed.
    fn unused<'a>(&self, folder: &str, segments: Vec<&'a str>, kept: &[u64], old: &[&str]) -> Vec<&'a str> {
        let of = |manifest: &str| -> Option<Vec<Segment>> {
            let bytes = self.objects.read(&format!("{folder}/{manifest}")).ok()?;
            Some(serde_json::from_slice::<Manifest>(&bytes).ok()?.segments)
        };
        let of_all = |manifests: &mut dyn Iterator<Item = &str>| -> Option<HashSet<String>> {
            Some(manifests.map(of).collect::<Option<Vec<_>>>()?.into_iter().flatten().map(|s| s.name).collect())
        };
        let kept: Vec<String> = kept.iter().map(|&offset| name(offset, MANIFEST)).collect();
        let Some(used) = of_all(&mut kept.iter().map(String::as_str)) else { return Vec::new() };
        let before = of_all(&mut old.iter().copied()).unwrap_or_default();
        let mut unused = self.unused.lock();
        let earlier = unused.remove(folder).unwrap_or_default();
        let mut times = HashMap::new();
        let mut is_unused = |name: &&str| {
            if used.contains(*name) || before.contains(*name) {
                return !used.contains(*name);
            }
            let seen = earlier.get(*name).map_or(1, |seen| seen + 1);
            times.insert((*name).to_owned(), seen);
            seen > UNUSED_FOR
        };
        let removed = segments.into_iter().filter(|name| is_unused(name)).collect();
        unused.insert(folder.to_owned(), times);
        removed
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
            let at = self.objects.address(&self.manifest(&listed));
            let (found, log) = (snapshot.source.log, source.log);
            return Err(SnapshotError::OtherLog { at, partition: source.to_string(), found, log });
        }
        Ok(Some(snapshot))
    }

    /// All published snapshots, sorted by partition and offset.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, SnapshotError> {
        let mut all = Vec::new();
        for name in self.names(self.folder.trim_end_matches('/'))? {
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
        let names = self.names(&self.folder_of(topic, partition))?;
        Ok(names.iter().filter_map(|n| offset_of(n, MANIFEST)).collect())
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, SnapshotError> {
        self.objects.list(folder).map_err(self.io_at(folder, "listed"))
    }

    /// Reads a published snapshot and checks its state.
    ///
    /// # Errors
    /// The snapshot is torn, or its manifest is of another partition or offset, or the store cannot be read.
    pub fn read(&self, listed: &Listed) -> Result<Snapshot, SnapshotError> {
        let Listed { topic, partition, offset } = *listed;
        let (manifest, log) = self.read_manifest(listed)?;
        let Manifest { state: name, bytes, crc32c, since, segments, behaviour, memory, .. } = manifest;
        let state = self.read_segment(listed, &Segment { name, bytes, crc32c })?;
        let chain = since.map(|since| Chain { since, segments, ..Chain::default() });
        let (source, new, memory) = (PartitionId { log, topic, partition }, Vec::new(), memory.unwrap_or_default());
        Ok(Snapshot { source, offset, behaviour, state, chain, new, memory })
    }

    /// A manifest, and the log that it is of.
    fn read_manifest(&self, listed: &Listed) -> Result<(Manifest, u128), SnapshotError> {
        let Listed { topic, partition, offset } = *listed;
        let at = self.manifest(listed);
        let torn = |what: String| self.torn(listed, what);
        let bytes = self.objects.read(&at).map_err(self.io_at(&at, "read"))?;
        let AnyManifest { format } = serde_json::from_slice(&bytes).map_err(|e| torn(e.to_string()))?;
        if format > SEGMENTED {
            let (at, partition) = (self.objects.address(&at), format!("{topic} partition {partition}"));
            return Err(SnapshotError::Newer { at, partition, format });
        }
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| torn(e.to_string()))?;
        if manifest.format != if manifest.since.is_some() { SEGMENTED } else { WHOLE } {
            return Err(torn(format!("its format {format} is not that of its content")));
        }
        let log = u128::from_str_radix(&manifest.log, 16).map_err(|e| torn(format!("its log: {e}")))?;
        if (manifest.topic, manifest.partition, manifest.offset) != (topic, partition, offset) {
            return Err(torn("it is of another partition or offset".to_owned()));
        }
        Ok((manifest, log))
    }

    /// Approximate memory that the latest state of a partition takes, bytes; 0 if there is none, or it is not known.
    ///
    /// # Errors
    /// Its manifest cannot be read.
    pub(crate) fn memory(&self, TopicPartition { topic, partition }: TopicPartition) -> Result<u64, SnapshotError> {
        let Some(offset) = self.offsets(topic, partition)?.pop() else { return Ok(0) };
        let (manifest, _) = self.read_manifest(&Listed { topic, partition, offset })?;
        Ok(manifest.memory.unwrap_or(manifest.bytes))
    }

    /// Reads a snapshot to its end.
    ///
    /// # Errors
    /// As for [`Snapshots::read`] and [`Snapshots::read_segment`].
    pub fn verify(&self, listed: &Listed) -> Result<(), SnapshotError> {
        let Snapshot { chain, .. } = self.read(listed)?;
        let mut segments = chain.iter().flat_map(|chain| &chain.segments);
        segments.try_for_each(|segment| self.read_segment(listed, segment).map(drop))
    }

    /// Reads a segment of a snapshot, or its state.
    ///
    /// # Errors
    /// It is missing or damaged, or the store cannot be read.
    pub fn read_segment(&self, listed: &Listed, part: &Segment) -> Result<Vec<u8>, SnapshotError> {
        let what = if part.name.ends_with(SEGMENT) { format!("segment {}", part.name) } else { "state".to_owned() };
        let at = format!("{}/{}", self.folder_of(listed.topic, listed.partition), part.name);
        let bytes = self.objects.read(&at).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.torn(listed, format!("its {what} is missing")),
            _ => self.io_at(&at, "read")(error),
        })?;
        if bytes.len() as u64 != part.bytes || crc32c::crc32c(&bytes) != part.crc32c {
            return Err(self.torn(listed, format!("its {what} is not as it was written")));
        }
        Ok(bytes)
    }

    fn torn(&self, listed: &Listed, what: String) -> SnapshotError {
        let Listed { topic, partition, .. } = *listed;
        let partition = format!("{topic} partition {partition}");
        SnapshotError::Torn { at: self.objects.address(&self.manifest(listed)), partition, what }
    }

    fn manifest(&self, listed: &Listed) -> String {
        format!("{}/{}", self.folder_of(listed.topic, listed.partition), name(listed.offset, MANIFEST))
    }

    fn folder_of(&self, topic: Topic, partition: u16) -> String {
        format!("{}{topic}-{partition}", self.folder)
    }

    fn io_at<'a>(&'a self, name: &'a str, done: &'static str) -> impl Fn(io::Error) -> SnapshotError + 'a {
        move |cause| SnapshotError::Io { at: self.objects.address(name), done, cause }
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
