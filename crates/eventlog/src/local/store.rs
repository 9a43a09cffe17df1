//! The log without threads: open and repair, append a round, read, delete old segments.
//!
//! A round writes its records to the segments of their partitions, writes them as one block to the journal, syncs the
//! journal, and only then shows them to readers. So the journal alone decides what the log holds since the journal began; the
//! segments are synced before the journal is removed. If any step of a round fails, the whole round is taken back.
//!
//! Files: `meta.json`, `journal/NUMBER.jrn`, `TOPIC/PARTITION/OFFSET.seg`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::model::address::{Partitions, TopicPartition};
use domain::model::time::Millis;

use crate::api::Append;
use crate::error::{LogError, at};
use crate::files::{self, Files, PARTIAL};
use crate::local::journal::{self, Ends, Journal, OldJournal};
use crate::local::meta::{Clock, JOURNAL, META, Meta, read_meta};
use crate::local::reader::{Partition, partition_dir};
use crate::local::segment::{HEADER_BYTES, Segment};
use crate::local::tail::{Tail, first_append};

/// Sizes of the log's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Size from which on a segment is closed, bytes; the next record begins another one.
    pub segment_bytes: u64,
    /// Size from which on a journal is closed, bytes; the next round begins another one.
    pub journal_bytes: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { segment_bytes: 64 * 1024 * 1024, journal_bytes: 64 * 1024 * 1024 }
    }
}

/// The log. One owner appends; partitions are shared with readers.
#[derive(Debug)]
pub struct Store {
    files: Arc<dyn Files>,
    dir: PathBuf,
    meta: Meta,
    sizes: Sizes,
    tails: BTreeMap<TopicPartition, Tail>,
    journal: Journal,
    /// Earlier journals, whose segments are not synced yet.
    older: Vec<u64>,
    append: Millis,
    /// Segments with bytes that were not synced yet, by path.
    dirty: BTreeMap<PathBuf, Arc<Segment>>,
    is_broken: bool,
}

/// Segments that must be synced before older journals are removed.
#[derive(Debug)]
pub struct Unsynced {
    files: Arc<dyn Files>,
    segments: Vec<Arc<Segment>>,
    ends: Vec<(TopicPartition, u64)>,
    journals: Vec<u64>,
}

impl Unsynced {
    /// Makes the segments durable. Appends may run at the same time.
    ///
    /// # Errors
    /// The disk fails; the journals must stay.
    pub fn sync(&self) -> Result<(), LogError> {
        let mut dirs = BTreeSet::new();
        for segment in &self.segments {
            segment.file.sync().map_err(at(&segment.path, "synced"))?;
            dirs.extend(segment.path.parent());
        }
        for dir in dirs {
            self.files.sync_dir(dir).map_err(at(dir, "synced"))?;
        }
        Ok(())
    }

    /// The number of segments to sync.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether there is no segment to sync.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }
}

impl Store {
    /// Opens a log, or creates one; repairs what a crash left.
    ///
    /// # Errors
    /// The log is damaged, differs from `meta` (ids are not compared), or the disk fails.
    pub fn open(files: Arc<dyn Files>, dir: &Path, meta: &Meta, sizes: Sizes) -> Result<Self, LogError> {
        files.create_dir(dir).map_err(at(dir, "made"))?;
        let found = match read_meta(&*files, dir)? {
            Some(found) => found,
            None => {
                let bytes = serde_json::to_vec(meta).expect("numbers and words");
                files::publish(&*files, dir, META, &bytes).map_err(at(dir, "written"))?;
                meta.clone()
            }
        };
        let other = |found: String, wanted: String, mend| LogError::Other { dir: dir.to_owned(), found, wanted, mend };
        if found.clock != meta.clock {
            let name = |clock| if clock == Clock::Wall { "--clock wall" } else { "--clock event" };
            return Err(other(name(found.clock).into(), name(meta.clock).into(), "start it as it was made"));
        }
        if found.partitions != meta.partitions {
            let of = |p: Partitions| format!("{} partitions", p.scans);
            return Err(other(of(found.partitions), of(meta.partitions), "give the number that it was made with"));
        }
        Self::recover(files, dir, found, sizes)
    }

    fn recover(files: Arc<dyn Files>, dir: &Path, meta: Meta, sizes: Sizes) -> Result<Self, LogError> {
        let journals = dir.join(JOURNAL);
        files.create_dir(&journals).map_err(at(&journals, "made"))?;
        let names = files.list(&journals).map_err(at(&journals, "listed"))?;
        for name in names.iter().filter(|name| name.ends_with(PARTIAL)) {
            let path = journals.join(name);
            files.remove(&path).map_err(at(&path, "removed"))?;
        }
        let numbers: Vec<u64> = names.iter().filter_map(|name| journal::number_of(name)).collect();
        let old = numbers.iter().map(|&n| OldJournal::open(&*files, &journals, n)).collect::<Result<Vec<_>, _>>()?;
        if old.is_empty() {
            check_nothing_is_there(&*files, dir, &meta)?;
        }
        let ends: BTreeMap<TopicPartition, u64> =
            old.first().map_or_else(BTreeMap::new, |j| j.ends.iter().copied().collect());
        let mut tails = BTreeMap::new();
        for partition in meta.all() {
            let end = ends.get(&partition).copied().unwrap_or(0);
            tails.insert(partition, Tail::open(&*files, dir, meta.source(partition), end)?);
        }
        // Replay the records of the journals that are not in synced segments.
        let mut dirty = BTreeMap::new();
        let (mut append, mut next) = (0, 0);
        for (i, journal) in old.iter().enumerate() {
            if i > 0 && journal.number() != next {
                let what = format!("journal {} begins with block {}, {next} must come", numbers[i], journal.number());
                return Err(LogError::Damaged { path: journals.join(journal::name(numbers[i])), byte: 0, what });
            }
            let whole = journal.records(|key, offset, time, record| {
                append = append.max(time);
                let tail = tails.get_mut(&key).ok_or_else(|| LogError::Damaged {
                    path: journals.join(journal::name(numbers[i])),
                    byte: 0,
                    what: format!("it holds a record of {key}, which is not there"),
                })?;
                tail.stage(&*files, sizes.segment_bytes, offset, time, record)
            })?;
            next = whole.next;
            for tail in tails.values_mut() {
                tail.write()?;
                dirty.extend(tail.show().into_iter().map(|segment| (segment.path.clone(), segment)));
            }
        }
        let ends = tails.iter().map(|(key, tail)| (*key, tail.next)).collect::<Ends>();
        let number = numbers.last().map_or(0, |n| n + 1);
        let unsynced = Unsynced {
            files: Arc::clone(&files),
            segments: tails.values().map(|tail| Arc::clone(&tail.segment)).chain(dirty.into_values()).collect(),
            ends: ends.clone(),
            journals: numbers,
        };
        unsynced.sync()?;
        sync_dirs(&*files, dir, &meta)?;
        let journal = Journal::create(&*files, &journals, number, next, &ends)?;
        let mut store = Self {
            files,
            dir: dir.to_owned(),
            meta,
            sizes,
            tails,
            journal,
            older: unsynced.journals.clone(),
            append,
            dirty: BTreeMap::new(),
            is_broken: false,
        };
        store.synced(&unsynced)?;
        Ok(store)
    }

    /// The identity of the log.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// A partition, to read.
    ///
    /// # Panics
    /// If the log has no such partition.
    #[must_use]
    pub fn partition(&self, partition: TopicPartition) -> Arc<Partition> {
        Arc::clone(&self.tails[&partition].partition)
    }

    /// Every partition, to read.
    #[must_use]
    pub fn partitions(&self) -> BTreeMap<TopicPartition, Arc<Partition>> {
        self.tails.iter().map(|(key, tail)| (*key, Arc::clone(&tail.partition))).collect()
    }

    /// Appends records, all or none of them, and makes them durable. The append time is `now`, or the last append time if that is
    /// later.
    ///
    /// # Errors
    /// The disk fails, and nothing is appended. Unless it is only full, the log [is broken](Store::is_broken).
    ///
    /// # Panics
    /// If the log is broken, or has no such partition.
    pub fn append(&mut self, records: &[Append], now: Millis) -> Result<(), LogError> {
        assert!(!self.is_broken, "a broken log is not written to");
        let append = self.append.max(now);
        if let Err(error) = self.try_append(records, append) {
            self.is_broken = !error.is_full();
            self.undo().inspect_err(|_| self.is_broken = true)?;
            return Err(error);
        }
        self.append = append;
        for tail in self.tails.values_mut().filter(|tail| tail.is_touched()) {
            self.dirty.extend(tail.show().into_iter().map(|segment| (segment.path.clone(), segment)));
        }
        Ok(())
    }

    fn try_append(&mut self, records: &[Append], append: Millis) -> Result<(), LogError> {
        self.journal.begin_round(append);
        for Append { topic, partition, record } in records {
            let to = TopicPartition::new(*topic, *partition);
            let tail = self.tails.get_mut(&to).expect("a partition of this log");
            let offset = tail.next + tail.round.records;
            tail.stage(&*self.files, self.sizes.segment_bytes, offset, append, record)?;
            self.journal.put(to, offset, record);
        }
        for tail in self.tails.values_mut().filter(|tail| tail.is_touched()) {
            tail.write()?;
        }
        let dir = self.dir.join(JOURNAL);
        self.journal.commit().map_err(at(&dir, "written"))
    }

    fn undo(&mut self) -> Result<(), LogError> {
        let dir = self.dir.join(JOURNAL);
        self.journal.undo().map_err(at(&dir, "cut back"))?;
        for tail in self.tails.values_mut().filter(|tail| tail.is_touched()) {
            tail.undo(&*self.files)?;
        }
        Ok(())
    }

    /// Whether the disk failed in a way that leaves its contents unknown. Records that were shown stay readable, and opening the
    /// log again shows what it holds.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether the journal has reached [`Sizes::journal_bytes`] and another may be begun.
    #[must_use]
    pub fn is_rotation_due(&self) -> bool {
        self.journal.bytes() >= self.sizes.journal_bytes && self.older.is_empty()
    }

    /// Begins another journal. [`Store::synced`] removes the older ones, once [`Unsynced::sync`] is done.
    ///
    /// # Errors
    /// The disk fails; the current journal stays in use.
    pub fn rotate(&mut self) -> Result<Unsynced, LogError> {
        // These ends are valid once the older journals are removed; until then the oldest journal's ends count.
        let ends: Ends = self.tails.iter().map(|(key, tail)| (*key, tail.next)).collect();
        let dir = self.dir.join(JOURNAL);
        let next = self.journal.next_block();
        let journal = Journal::create(&*self.files, &dir, self.journal.number + 1, next, &ends)?;
        self.older.push(self.journal.number);
        self.journal = journal;
        Ok(Unsynced {
            files: Arc::clone(&self.files),
            segments: std::mem::take(&mut self.dirty).into_values().collect(),
            ends,
            journals: self.older.clone(),
        })
    }

    /// Removes journals whose segments are synced.
    ///
    /// # Errors
    /// The disk fails.
    pub fn synced(&mut self, unsynced: &Unsynced) -> Result<(), LogError> {
        let dir = self.dir.join(JOURNAL);
        for number in &unsynced.journals {
            let path = dir.join(journal::name(*number));
            self.files.remove(&path).map_err(at(&path, "removed"))?;
        }
        self.files.sync_dir(&dir).map_err(at(&dir, "synced"))?;
        self.older.retain(|number| !unsynced.journals.contains(number));
        for (key, end) in &unsynced.ends {
            if let Some(tail) = self.tails.get_mut(key) {
                tail.synced = tail.synced.max(*end);
            }
        }
        Ok(())
    }

    /// Deletes whole segments below an offset that were appended before a time. Records that are not synced yet stay. Returns the
    /// number of segments.
    ///
    /// # Errors
    /// The disk fails.
    pub fn retire(&mut self, partition: TopicPartition, below: u64, before: Millis) -> Result<u64, LogError> {
        let Some(tail) = self.tails.get(&partition) else { return Ok(0) };
        let synced = tail.synced;
        let gone: Vec<Arc<Segment>> = {
            // Only this thread changes the list, and readers do not wait for the disk.
            let segments: Vec<Arc<Segment>> = tail.partition.shown().segments.to_vec();
            // The next segment must be durable without the journal; its first record is not older than the deleted ones.
            let mut whole = 0;
            while let Some(next) = segments.get(whole + 1)
                && next.base <= below
                && next.base < synced
                && (before == Millis::MAX || first_append(next)? < before)
            {
                whole += 1;
            }
            tail.partition.shown().segments.drain(..whole).collect()
        };
        // From the oldest on, so that a crash leaves no gap.
        for segment in &gone {
            self.files.remove(&segment.path).map_err(at(&segment.path, "removed"))?;
            self.files.sync_dir(&tail.dir).map_err(at(&tail.dir, "synced"))?;
            self.dirty.remove(&segment.path);
        }
        Ok(gone.len() as u64)
    }
}

fn sync_dirs(files: &dyn Files, dir: &Path, meta: &Meta) -> Result<(), LogError> {
    for partition in meta.all() {
        let topic = dir.join(partition.topic.as_str());
        let own = partition_dir(dir, partition);
        files.sync_dir(&own).map_err(at(&own, "synced"))?;
        files.sync_dir(&topic).map_err(at(&topic, "synced"))?;
    }
    files.sync_dir(dir).map_err(at(dir, "synced"))
}

/// Checks that no segment holds a record: a log whose journal is missing must not count as a new one.
fn check_nothing_is_there(files: &dyn Files, dir: &Path, meta: &Meta) -> Result<(), LogError> {
    for partition in meta.all() {
        let own = partition_dir(dir, partition);
        for name in files.list(&own).map_err(at(&own, "listed"))? {
            let path = own.join(&name);
            let file = files.open(&path, false).map_err(at(&path, "opened"))?;
            if file.len().map_err(at(&path, "measured"))? > HEADER_BYTES as u64 {
                let what = "the journal is missing, and there are records".to_owned();
                return Err(LogError::Damaged { path: dir.join(JOURNAL), byte: 0, what });
            }
        }
    }
    Ok(())
}
