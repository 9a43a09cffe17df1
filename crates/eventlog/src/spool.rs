//! Rounds that a log did not take yet: bounded, checksummed, durable once [`Spool::append`] returns, handed out in their order.
//!
//! The files are journals (see `journal`) that begin with an empty block. One is begun when the one before it is long enough, and
//! removed, from the oldest on, when everything in it was drained. So after a restart what the oldest file holds may be handed out
//! a second time.
//!
//! What lies where: `spool.json`, `NUMBER.jrn`.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::model::time::Millis;
use serde::{Deserialize, Serialize};

use crate::api::Append;
use crate::error::{LogError, at};
use crate::files::{self, File, Files, PARTIAL};
use crate::local::journal::{self, Journal, Old};

/// Changes with what lies on the disk.
const FORMAT: u32 = 1;
const META: &str = "spool.json";
/// How large a spool may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// All files together.
    pub bytes_max: u64,
    /// A file is closed at so many bytes.
    pub file_bytes: u64,
    /// What is read at once: a block holds at most so many bytes of records, unless one record has more.
    pub block_bytes: usize,
}

impl Sizes {
    /// Files of a sixteenth of the whole, at most 8 MiB: what a restart hands out twice, and what a drained spool still holds.
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
    /// Files by age.
    held: VecDeque<Held>,
    /// Writes to the last of them, unless that is from before a restart.
    journal: Option<Journal>,
    /// The numbers of the next block that is written, and of the next one that is handed out.
    next_written: u64,
    next_out: u64,
    /// Where that one lies, once its file is open.
    cursor: Option<(Opened, u64)>,
    /// Blocks that were handed out and are not drained.
    under_way: BTreeMap<u64, UnderWay>,
    is_broken: bool,
}

/// A file with blocks that are not all drained: those from `first`, which has no records, up to `next`.
#[derive(Debug)]
struct Held {
    number: u64,
    first: u64,
    next: u64,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct Opened {
    number: u64,
    path: PathBuf,
    file: Arc<dyn File>,
}

#[derive(Debug)]
struct UnderWay {
    file: Opened,
    at: u64,
    append: Millis,
}

/// A block of the spool: records in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub number: u64,
    pub records: Vec<Append>,
}

impl Spool {
    /// Opens the spool of a log, or makes one. What a crash tore off at the end, which nobody was told of, is cut off. `each` is
    /// shown every record that is there.
    ///
    /// # Errors
    /// It is another log's, it is damaged, or the disk refuses.
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
        let mut held = VecDeque::new();
        let mut next = 0;
        for (i, &number) in numbers.iter().enumerate() {
            let old = Old::open(&*files, dir, number).map_err(of_a_spool)?;
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
                // Only what was written last may be torn: files before it were synced to their ends.
                if i + 1 < numbers.len() {
                    let at = usize::try_from(whole.bytes).unwrap_or(usize::MAX);
                    return Err(of_a_spool(old.damaged(at, format!("block {} is torn", whole.next))));
                }
                let path = dir.join(journal::name(number));
                let file = files.open(&path, false).map_err(at(&path, "opened"))?;
                file.truncate(whole.bytes).and_then(|()| file.sync()).map_err(at(&path, "cut"))?;
            }
            held.push_back(Held { number, first: old.number(), next: whole.next, bytes: whole.bytes });
            next = whole.next;
        }
        Ok(Self {
            files,
            dir: dir.to_owned(),
            sizes,
            next_written: next,
            next_out: held.front().map_or(next, |file: &Held| file.first),
            held,
            journal: None,
            cursor: None,
            under_way: BTreeMap::new(),
            is_broken: false,
        })
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.held.iter().map(|file| file.bytes).sum()
    }

    /// Whether so many records of so many bytes together fit.
    #[must_use]
    pub fn fits(&self, records: usize, bytes: usize) -> bool {
        // However they are cut into blocks, and with the first block of another file.
        let blocks = 2 * bytes.div_ceil(self.sizes.block_bytes) + 2;
        self.bytes() + blocks as u64 * journal::round_bytes(0, 0) + journal::round_bytes(records, bytes)
            <= self.sizes.bytes_max
    }

    /// Whether there is nothing in it that is not drained.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether everything in it was handed out.
    #[must_use]
    pub fn is_handed_out(&self) -> bool {
        self.unread().is_none()
    }

    /// The first file with a block that was not handed out, and the number of that.
    fn unread(&self) -> Option<(u64, u64)> {
        let next = |file: &Held| self.next_out.max(file.first + 1);
        self.held.iter().find(|file| file.next > next(file)).map(|file| (file.number, next(file)))
    }

    /// How many blocks were handed out and are not drained.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// When the oldest block was written that was handed out and is not drained.
    #[must_use]
    pub fn oldest(&self) -> Option<Millis> {
        self.under_way.values().next().map(|block| block.append)
    }

    /// Whether the disk failed in a way after which nobody knows what is on it. It takes no more; opening it anew tells.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Makes records durable, all or none of them, in one sync if they are few; `now` is when.
    ///
    /// # Errors
    /// The disk refuses. If it was not just full, the spool [is broken](Spool::is_broken).
    ///
    /// # Panics
    /// If the spool is broken.
    pub fn append(&mut self, records: &[Append], now: Millis) -> Result<(), LogError> {
        assert!(!self.is_broken, "a broken spool is thrown away");
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
                let (number, first) = (self.held.back().map_or(0, |file| file.number + 1), self.next_written);
                let journal = Journal::create(&*self.files, &self.dir, number, first, &Vec::new())?;
                self.next_written = journal.next_block();
                self.held.push_back(Held { number, first, next: self.next_written, bytes: journal.bytes() });
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
            for (place, Append { topic, partition, record }) in (0..).zip(block) {
                journal.put((*topic, *partition), place, record);
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
        let last = self.held.back_mut().expect("the one that is written");
        self.next_written = journal.next_block();
        (last.next, last.bytes) = (journal.next_block(), journal.bytes());
        self.journal = Some(journal);
        Ok(())
    }

    /// Hands out the next block; `None` if all were.
    ///
    /// # Errors
    /// It is damaged, or the disk refuses: nothing is skipped.
    pub fn next_block(&mut self) -> Result<Option<Block>, LogError> {
        let Some((file, wanted)) = self.unread() else { return Ok(None) };
        let (file, place) = match self.cursor.take().filter(|(opened, _)| opened.number == file) {
            Some(cursor) => cursor,
            None => {
                let path = self.dir.join(journal::name(file));
                let opened = self.files.open(&path, false).map_err(at(&path, "opened"))?;
                let opened = Opened { number: file, path, file: opened };
                let (_, first) = read_block(&opened, 0)?;
                (opened, first)
            }
        };
        let (bytes, end) = read_block(&file, place)?;
        let (block, append) = take_apart(&bytes).filter(|(block, _)| block.number == wanted).ok_or_else(|| {
            let what = format!("it does not hold block {wanted}");
            LogError::SpoolDamaged { path: file.path.clone(), byte: place, what }
        })?;
        self.next_out = wanted + 1;
        self.under_way.insert(wanted, UnderWay { file: file.clone(), at: place, append });
        self.cursor = Some((file, end));
        Ok(Some(block))
    }

    /// Hands out a block again that was not drained.
    ///
    /// # Errors
    /// As [`Spool::next_block`].
    ///
    /// # Panics
    /// If no such block was handed out.
    pub fn again(&self, number: u64) -> Result<Block, LogError> {
        let UnderWay { file, at, .. } = self.under_way.get(&number).expect("a block that was handed out");
        let (bytes, _) = read_block(file, *at)?;
        let (block, _) = take_apart(&bytes).filter(|(block, _)| block.number == number).ok_or_else(|| {
            let what = format!("it does not hold block {number}");
            LogError::SpoolDamaged { path: file.path.clone(), byte: *at, what }
        })?;
        Ok(block)
    }

    /// A block is in the log. Files that are drained go, but for the last one.
    ///
    /// # Errors
    /// The disk refuses; the spool [is broken](Spool::is_broken).
    pub fn drained(&mut self, number: u64) -> Result<(), LogError> {
        self.under_way.remove(&number);
        self.let_go(1)
    }

    /// Lets go of the last file too, if it is drained: another one costs some syncs.
    ///
    /// # Errors
    /// As [`Spool::drained`].
    pub fn rest(&mut self) -> Result<(), LogError> {
        self.let_go(0)
    }

    fn let_go(&mut self, files_min: usize) -> Result<(), LogError> {
        let read = if self.is_handed_out() { self.next_written } else { self.next_out };
        let drained = self.under_way.keys().next().copied().unwrap_or(read);
        while self.held.len() > files_min
            && let Some(file) = self.held.front().filter(|file| file.next <= drained)
        {
            if self.held.len() == 1 {
                (self.journal, self.cursor) = (None, None);
            }
            let path = self.dir.join(journal::name(file.number));
            // From the oldest on, each for good before the next, so that a crash leaves no hole.
            let gone = self.files.remove(&path).map_err(at(&path, "removed"));
            let gone = gone.and_then(|()| self.files.sync_dir(&self.dir).map_err(at(&self.dir, "synced")));
            gone.inspect_err(|_| self.is_broken = true)?;
            self.held.pop_front();
        }
        Ok(())
    }
}

/// The block of a file that begins at a byte, and where it ends.
fn read_block(file: &Opened, place: u64) -> Result<(Vec<u8>, u64), LogError> {
    let read = journal::read_block(&*file.file, place).map_err(at(&file.path, "read"))?;
    let bytes = read.ok_or_else(|| LogError::SpoolDamaged {
        path: file.path.clone(),
        byte: place,
        what: "a block that was written is torn".to_owned(),
    })?;
    let end = place + bytes.len() as u64;
    Ok((bytes, end))
}

/// A block and when it was written.
fn take_apart(bytes: &[u8]) -> Option<(Block, Millis)> {
    let mut records = Vec::new();
    let opened = journal::open_round(bytes, |(topic, partition), record| {
        records.push(Append { topic, partition, record: record.to_vec() });
    });
    opened.map(|(number, append)| (Block { number, records }, append))
}

/// Sees to it that the spool is this log's.
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
            // The directory itself may be new.
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

/// Damage of a journal is mended otherwise if it is a spool's.
fn of_a_spool(error: LogError) -> LogError {
    match error {
        LogError::Damaged { path, byte, what } => LogError::SpoolDamaged { path, byte, what },
        other => other,
    }
}
