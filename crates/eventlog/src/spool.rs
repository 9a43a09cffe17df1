//! Rounds that a log did not accept yet: bounded, checksummed, durable once [`Spool::append`] returns, read in their order.
//!
//! The files are journals (see `journal`) that begin with an empty block. A new file is begun when the last one is long enough.
//! Files are removed from the oldest on, each when all of its blocks were drained. So after a restart the blocks of the oldest
//! file may be read a second time.
//!
//! Files: `spool.json`, `NUMBER.jrn`.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::model::address::TopicPartition;
use domain::model::time::Millis;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::api::Append;
use crate::error::{LogError, at};
use crate::files::{self, File, Files, PARTIAL};
use crate::local::journal::{self, Journal, OldJournal};

/// Version of the format on the disk; another version is refused.
const FORMAT: u32 = 1;
const META: &str = "spool.json";

/// Limits of a spool's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Maximum size of all files together, bytes; further records are refused.
    pub bytes_max: u64,
    /// Size from which on a file is closed, bytes; the next append begins another file.
    pub file_bytes: u64,
    /// Maximum bytes of records in one block, which is the unit of reading; a single larger record has a block of its own.
    pub block_bytes: usize,
}

impl Sizes {
    /// Files of a sixteenth of `bytes_max`, at most 8 MiB. A restart may read one file twice, and a drained spool keeps one file.
    #[must_use]
    pub fn of(bytes_max: u64) -> Self {
        Self { bytes_max, file_bytes: (bytes_max / 16).min(8 * 1024 * 1024), block_bytes: 1024 * 1024 }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta {
    format: u32,
    /// The id of the log, in hexadecimal digits.
    log: String,
}

/// The spool. One owner writes and drains.
#[derive(Debug)]
pub struct Spool {
    files: Arc<dyn Files>,
    dir: PathBuf,
    sizes: Sizes,
    /// Files, the oldest first.
    spool_files: VecDeque<SpoolFile>,
    /// Writes to the last file, unless that file is from before a restart.
    journal: Option<Journal>,
    /// The number of the next block to write, and of the next block to read.
    next_written: u64,
    next_out: u64,
    /// The open file, and the byte where the next block to read begins. `None` before the first read of a file.
    cursor: Option<(OpenFile, u64)>,
    /// Blocks that were read and are not drained.
    in_flight: BTreeMap<u64, InFlight>,
    is_broken: bool,
}

/// A file with the blocks from `first`, which has no records, up to `next`, not all of them drained.
#[derive(Debug)]
struct SpoolFile {
    number: u64,
    first: u64,
    next: u64,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct OpenFile {
    number: u64,
    path: PathBuf,
    file: Arc<dyn File>,
}

#[derive(Debug)]
struct InFlight {
    file: OpenFile,
    at: u64,
    append: Millis,
}

/// A block of the spool: records in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its number, which identifies it when it is drained.
    pub number: u64,
    /// Its records.
    pub records: Vec<Append>,
}

impl Spool {
    /// Opens the spool of a log, or creates one. A block at the end that a crash left torn was never acknowledged and is cut off.
    /// Every record is passed to `each`.
    ///
    /// # Errors
    /// The spool belongs to another log or is damaged, or the disk fails.
    pub fn open(
        files: Arc<dyn Files>,
        dir: &Path,
        log: u128,
        sizes: Sizes,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Self, LogError> {
        files.create_dir(dir).map_err(at(dir, "made"))?;
        let names = files.list(dir).map_err(at(dir, "listed"))?;
        for name in names.iter().filter(|name| name.ends_with(PARTIAL)) {
            let path = dir.join(name);
            files.remove(&path).map_err(at(&path, "removed"))?;
        }
        let numbers: Vec<u64> = names.iter().filter_map(|name| journal::number_of(name)).collect();
        check_meta(&*files, dir, log, !numbers.is_empty())?;
        let mut spool_files = VecDeque::new();
        let mut next = 0;
        for (i, &number) in numbers.iter().enumerate() {
            let old = OldJournal::open(&*files, dir, number).map_err(of_a_spool)?;
            if i > 0 && (old.number() != next || number != numbers[i - 1] + 1) {
                let what =
                    format!("it begins with block {}, {next} must come: a file before it is missing", old.number());
                return Err(of_a_spool(old.damaged(0, what)));
            }
            let whole = old
                .records(|_, _, _, record| {
                    each(record);
                    Ok(())
                })
                .map_err(of_a_spool)?;
            if whole.bytes < old.bytes() {
                // Only the last file may be torn: earlier files were synced to their ends.
                if i + 1 < numbers.len() {
                    let at = usize::try_from(whole.bytes).unwrap_or(usize::MAX);
                    return Err(of_a_spool(old.damaged(at, format!("block {} is torn", whole.next))));
                }
                let path = dir.join(journal::name(number));
                warn!(
                    path = %path.display(),
                    bytes = old.bytes() - whole.bytes,
                    "the last block of the spool is not whole and is cut off: a crash leaves one that was never acknowledged; if the file was damaged in another way, events with a 202 may be lost"
                );
                let file = files.open(&path, false).map_err(at(&path, "opened"))?;
                file.truncate(whole.bytes).and_then(|()| file.sync()).map_err(at(&path, "cut"))?;
            }
            spool_files.push_back(SpoolFile { number, first: old.number(), next: whole.next, bytes: whole.bytes });
            next = whole.next;
        }
        Ok(Self {
            files,
            dir: dir.to_owned(),
            sizes,
            next_written: next,
            next_out: spool_files.front().map_or(next, |file: &SpoolFile| file.first),
            spool_files,
            journal: None,
            cursor: None,
            in_flight: BTreeMap::new(),
            is_broken: false,
        })
    }

    /// The size of all files, bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.spool_files.iter().map(|file| file.bytes).sum()
    }

    /// Whether the spool has space for a number of records with `bytes` in all.
    #[must_use]
    pub fn fits(&self, records: usize, bytes: usize) -> bool {
        // The upper bound for any division into blocks, and the first block of another file.
        let blocks = 2 * bytes.div_ceil(self.sizes.block_bytes) + 2;
        self.bytes() + blocks as u64 * journal::round_bytes(0, 0) + journal::round_bytes(records, bytes)
            <= self.sizes.bytes_max
    }

    /// Whether all of its blocks are drained.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spool_files.is_empty()
    }

    /// Whether all of its blocks were read.
    #[must_use]
    pub fn is_handed_out(&self) -> bool {
        self.unread().is_none()
    }

    /// The first file with a block that was not read, and that block's number.
    fn unread(&self) -> Option<(u64, u64)> {
        let next = |file: &SpoolFile| self.next_out.max(file.first + 1);
        self.spool_files.iter().find(|file| file.next > next(file)).map(|file| (file.number, next(file)))
    }

    /// The number of blocks that were read and are not drained.
    #[must_use]
    pub fn blocks_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The append time of the oldest block that was read and is not drained.
    #[must_use]
    pub fn oldest(&self) -> Option<Millis> {
        self.in_flight.values().next().map(|block| block.append)
    }

    /// Whether the disk failed in a way that leaves its contents unknown. The spool accepts no more records; opening it again shows
    /// what it holds.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Makes records durable, all or none of them, with one sync for each block; `now` is their append time.
    ///
    /// # Errors
    /// The disk fails. Unless it is only full, the spool [is broken](Spool::is_broken).
    ///
    /// # Panics
    /// If the spool is broken.
    pub fn append(&mut self, records: &[Append], now: Millis) -> Result<(), LogError> {
        assert!(!self.is_broken, "a broken spool is not written to");
        if records.is_empty() {
            return Ok(());
        }
        let written = self.try_append(records, now);
        if let Err(error) = &written {
            self.is_broken |= !error.is_full();
        }
        written
    }

    fn try_append(&mut self, records: &[Append], now: Millis) -> Result<(), LogError> {
        let is_long = |journal: &Journal| journal.bytes() >= self.sizes.file_bytes;
        let mut journal = match self.journal.take().filter(|journal| !is_long(journal)) {
            Some(journal) => journal,
            None => {
                let (number, first) = (self.spool_files.back().map_or(0, |file| file.number + 1), self.next_written);
                let journal = Journal::create(&*self.files, &self.dir, number, first, &Vec::new())?;
                self.next_written = journal.next_block();
                self.spool_files.push_back(SpoolFile {
                    number,
                    first,
                    next: self.next_written,
                    bytes: journal.bytes(),
                });
                journal
            }
        };
        let mark = journal.mark();
        let mut rest = records;
        let mut written = Ok(());
        while !rest.is_empty() && written.is_ok() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|append| {
                bytes += append.record.len();
                bytes <= self.sizes.block_bytes
            });
            let (block, after) = rest.split_at(fits.count().max(1));
            rest = after;
            journal.begin_round(now);
            for (byte, Append { topic, partition, record }) in (0..).zip(block) {
                journal.put(TopicPartition::new(*topic, *partition), byte, record);
            }
            written = journal.commit();
        }
        let path = self.dir.join(journal::name(journal.number));
        if let Err(cause) = written {
            if let Err(error) = journal.rewind(mark) {
                self.is_broken = true;
                return Err(at(&path, "cut back")(error));
            }
            self.journal = Some(journal);
            return Err(at(&path, "written")(cause));
        }
        let last = self.spool_files.back_mut().expect("the one that is written");
        self.next_written = journal.next_block();
        (last.next, last.bytes) = (journal.next_block(), journal.bytes());
        self.journal = Some(journal);
        Ok(())
    }

    /// Reads the next block; `None` if all were read.
    ///
    /// # Errors
    /// The block is damaged, or the disk fails; no block is skipped.
    pub fn next_block(&mut self) -> Result<Option<Block>, LogError> {
        let Some((file, wanted)) = self.unread() else { return Ok(None) };
        let (file, byte) = match self.cursor.take().filter(|(opened, _)| opened.number == file) {
            Some(cursor) => cursor,
            None => {
                let path = self.dir.join(journal::name(file));
                let opened = self.files.open(&path, false).map_err(at(&path, "opened"))?;
                let opened = OpenFile { number: file, path, file: opened };
                let (_, first) = read_block(&opened, 0)?;
                (opened, first)
            }
        };
        let (bytes, end) = read_block(&file, byte)?;
        let (block, append) = decode_block(&bytes).filter(|(block, _)| block.number == wanted).ok_or_else(|| {
            let what = format!("it does not hold block {wanted}");
            LogError::SpoolDamaged { path: file.path.clone(), byte, what }
        })?;
        self.next_out = wanted + 1;
        self.in_flight.insert(wanted, InFlight { file: file.clone(), at: byte, append });
        self.cursor = Some((file, end));
        Ok(Some(block))
    }

    /// Reads a block again that was read before and is not drained.
    ///
    /// # Errors
    /// As [`Spool::next_block`].
    ///
    /// # Panics
    /// If the block was not read before, or is drained.
    pub fn again(&self, number: u64) -> Result<Block, LogError> {
        let InFlight { file, at, .. } = self.in_flight.get(&number).expect("a block that was read");
        let (bytes, _) = read_block(file, *at)?;
        let (block, _) = decode_block(&bytes).filter(|(block, _)| block.number == number).ok_or_else(|| {
            let what = format!("it does not hold block {number}");
            LogError::SpoolDamaged { path: file.path.clone(), byte: *at, what }
        })?;
        Ok(block)
    }

    /// Notes that the log holds a block. Drained files are removed, except the last one.
    ///
    /// # Errors
    /// The disk fails; the spool [is broken](Spool::is_broken).
    pub fn drained(&mut self, number: u64) -> Result<(), LogError> {
        self.in_flight.remove(&number);
        self.remove_drained(1)
    }

    /// Removes the last file too, if it is drained. The next append must begin another one, which costs some syncs.
    ///
    /// # Errors
    /// As [`Spool::drained`].
    pub fn rest(&mut self) -> Result<(), LogError> {
        self.remove_drained(0)
    }

    fn remove_drained(&mut self, files_min: usize) -> Result<(), LogError> {
        let read = if self.is_handed_out() { self.next_written } else { self.next_out };
        let drained = self.in_flight.keys().next().copied().unwrap_or(read);
        while self.spool_files.len() > files_min
            && let Some(file) = self.spool_files.front().filter(|file| file.next <= drained)
        {
            if self.spool_files.len() == 1 {
                (self.journal, self.cursor) = (None, None);
            }
            let path = self.dir.join(journal::name(file.number));
            // From the oldest on, and each removal is durable before the next, so that a crash leaves no gap.
            let gone = self.files.remove(&path).map_err(at(&path, "removed"));
            let gone = gone.and_then(|()| self.files.sync_dir(&self.dir).map_err(at(&self.dir, "synced")));
            gone.inspect_err(|_| self.is_broken = true)?;
            self.spool_files.pop_front();
        }
        Ok(())
    }
}

/// The block that begins at a byte of a file, and the byte where it ends.
fn read_block(file: &OpenFile, byte: u64) -> Result<(Vec<u8>, u64), LogError> {
    let read = journal::read_block(&*file.file, byte).map_err(at(&file.path, "read"))?;
    let bytes = read.ok_or_else(|| LogError::SpoolDamaged {
        path: file.path.clone(),
        byte,
        what: "a block that was written is torn".to_owned(),
    })?;
    let end = byte + bytes.len() as u64;
    Ok((bytes, end))
}

/// Decodes a block and its append time.
fn decode_block(bytes: &[u8]) -> Option<(Block, Millis)> {
    let mut records = Vec::new();
    let opened = journal::open_round(bytes, |TopicPartition { topic, partition }, record| {
        records.push(Append { topic, partition, record: record.to_vec() });
    });
    opened.map(|(number, append)| (Block { number, records }, append))
}

/// Checks that the spool belongs to this log; creates the metadata of a new spool.
fn check_meta(files: &dyn Files, dir: &Path, log: u128, has_blocks: bool) -> Result<(), LogError> {
    let path = dir.join(META);
    let damaged = |what: String| LogError::SpoolDamaged { path: path.clone(), byte: 0, what };
    let bytes = match files::read(files, &path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if has_blocks {
                return Err(damaged("it is missing beside files of events".to_owned()));
            }
            let meta = Meta { format: FORMAT, log: format!("{log:032x}") };
            let bytes = serde_json::to_vec(&meta).expect("a number and a text");
            files::publish(files, dir, META, &bytes).map_err(at(&path, "written"))?;
            // The spool's directory may be new: its name must be durable too.
            let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            return files.sync_dir(above).map_err(at(above, "synced"));
        }
        bytes => bytes.map_err(at(&path, "read"))?,
    };
    let meta: Meta = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    if meta.format != FORMAT {
        let (found, wanted) = (format!("format {}", meta.format), format!("format {FORMAT}"));
        return Err(LogError::Other { dir: dir.to_owned(), found, wanted, mend: "use the build that wrote it" });
    }
    let found = u128::from_str_radix(&meta.log, 16).map_err(|e| damaged(e.to_string()))?;
    if found != log {
        return Err(LogError::SpoolOther { dir: dir.to_owned(), found, wanted: log });
    }
    Ok(())
}

/// Turns damage of a journal into damage of a spool, which has another fix.
fn of_a_spool(error: LogError) -> LogError {
    match error {
        LogError::Damaged { path, byte, what } => LogError::SpoolDamaged { path, byte, what },
        other => other,
    }
}
