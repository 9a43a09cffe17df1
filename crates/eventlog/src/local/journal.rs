//! The latest appends to all partitions in one file, so that one sync makes a round durable, however many partitions it
//! touches. The segments are written in the same round and synced later, before the journal is removed.
//!
//! A journal begins with a block of the offsets up to which each partition was synced at that time. Then each round is a block:
//!
//! | block | contents |
//! |---|---|
//! | 0–7 | `MSHJRNL1` |
//! | 8–11 | CRC-32C of all that follows |
//! | 12–15 | bytes of the body |
//! | 16–23 | number of the block, one more than the one before it |
//! | 24– | the body |
//!
//! Each block is synced before the next one is begun. So only the last block can be torn; a valid block after an invalid one is
//! damage.

use std::path::Path;
use std::sync::Arc;

use domain::model::address::{Topic, TopicPartition};
use domain::model::time::Millis;

use crate::error::{LogError, at};
use crate::files::{self, File, Files};

const MAGIC: [u8; 8] = *b"MSHJRNL1";
const HEAD_BYTES: usize = 24;
const RECORD_HEAD_BYTES: usize = 16;

/// The ends of partitions: their next offsets.
pub(crate) type Ends = Vec<(TopicPartition, u64)>;

/// The journal that rounds are written to.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Its number, which is in its name.
    pub number: u64,
    file: Arc<dyn File>,
    bytes: u64,
    /// The number of the next block.
    next: u64,
    block: Vec<u8>,
}

pub(crate) fn name(number: u64) -> String {
    format!("{number:020}.jrn")
}

pub(crate) fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(".jrn")?.parse().ok()
}

impl Journal {
    /// Creates a journal and makes it durable; `next` is the number of its first block.
    pub(crate) fn create(files: &dyn Files, dir: &Path, number: u64, next: u64, ends: &Ends) -> Result<Self, LogError> {
        let mut block = begin();
        for (TopicPartition { topic, partition }, end) in ends {
            block.push(*topic as u8);
            block.extend_from_slice(&partition.to_le_bytes());
            block.extend_from_slice(&end.to_le_bytes());
        }
        finish(&mut block, next);
        let path = dir.join(name(number));
        files::publish(files, dir, &name(number), &block).map_err(at(&path, "written"))?;
        let file = files.open(&path, false).map_err(at(&path, "opened"))?;
        Ok(Self { number, file, bytes: block.len() as u64, next: next + 1, block })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of the next block.
    pub(crate) fn next_block(&self) -> u64 {
        self.next
    }

    /// Begins a round.
    pub(crate) fn begin_round(&mut self, append: Millis) {
        self.block.clear();
        self.block.extend_from_slice(&[0; HEAD_BYTES]);
        self.block.extend_from_slice(&append.to_le_bytes());
    }

    /// Adds a record to the round.
    pub(crate) fn put(&mut self, TopicPartition { topic, partition }: TopicPartition, offset: u64, record: &[u8]) {
        self.block.extend_from_slice(&[topic as u8, 0]);
        self.block.extend_from_slice(&partition.to_le_bytes());
        self.block.extend_from_slice(&u32::try_from(record.len()).expect("records are bounded").to_le_bytes());
        self.block.extend_from_slice(&offset.to_le_bytes());
        self.block.extend_from_slice(record);
    }

    /// Writes the round and syncs it. If that fails, the caller takes the round back with [`Journal::undo`].
    pub(crate) fn commit(&mut self) -> std::io::Result<()> {
        finish(&mut self.block, self.next);
        self.file.write_at(&self.block, self.bytes)?;
        self.file.sync()?;
        self.bytes += self.block.len() as u64;
        self.next += 1;
        Ok(())
    }

    /// Takes back a round that failed.
    pub(crate) fn undo(&self) -> std::io::Result<()> {
        self.file.truncate(self.bytes)
    }

    /// The current position, for [`Journal::rewind`].
    pub(crate) fn mark(&self) -> Mark {
        Mark { bytes: self.bytes, next: self.next }
    }

    /// Takes back the rounds since a mark, and makes that durable: a whole round behind a torn one would count as damage.
    pub(crate) fn rewind(&mut self, mark: Mark) -> std::io::Result<()> {
        (self.bytes, self.next) = (mark.bytes, mark.next);
        self.undo()?;
        self.file.sync()
    }
}

/// An earlier position of a journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    bytes: u64,
    next: u64,
}

/// The size of a round with a number of records that have `bytes` in all, bytes.
pub(crate) fn round_bytes(records: usize, bytes: usize) -> u64 {
    (HEAD_BYTES + size_of::<Millis>() + records * RECORD_HEAD_BYTES + bytes) as u64
}

fn begin() -> Vec<u8> {
    vec![0; HEAD_BYTES]
}

fn finish(block: &mut [u8], number: u64) {
    let len = u32::try_from(block.len() - HEAD_BYTES).expect("rounds are bounded");
    block[..8].copy_from_slice(&MAGIC);
    block[12..16].copy_from_slice(&len.to_le_bytes());
    block[16..24].copy_from_slice(&number.to_le_bytes());
    let crc = crc32c::crc32c(&block[12..]);
    block[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// A block of a journal that was read.
#[derive(Clone, Copy, Debug)]
struct Block<'a> {
    number: u64,
    body: &'a [u8],
}

fn block(bytes: &[u8]) -> Option<Block<'_>> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let len = u32::from_le_bytes([head[12], head[13], head[14], head[15]]) as usize;
    if head[..8] != MAGIC || rest.len() < len {
        return None;
    }
    let crc = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    if crc32c::crc32c(&bytes[12..HEAD_BYTES + len]) != crc {
        return None;
    }
    Some(Block { number: u64::from_le_bytes(std::array::from_fn(|i| head[16 + i])), body: &rest[..len] })
}

/// Reads the block that begins at a byte of a synced journal; `None` if no whole block begins there.
pub(crate) fn read_block(file: &dyn File, at: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = [0; HEAD_BYTES];
    if file.read_at(&mut head, at)? < HEAD_BYTES {
        return Ok(None);
    }
    let len = u64::from(u32::from_le_bytes([head[12], head[13], head[14], head[15]]));
    if head[..8] != MAGIC || at + HEAD_BYTES as u64 + len > file.len()? {
        return Ok(None);
    }
    let mut bytes = vec![0; HEAD_BYTES + usize::try_from(len).expect("32 bits")];
    let read = file.read_at(&mut bytes, at)?;
    Ok((read == bytes.len() && block(&bytes).is_some()).then_some(bytes))
}

/// Decodes a round that [`read_block`] returned: its number and append time; its records are passed to `each`.
pub(crate) fn open_round(bytes: &[u8], mut each: impl FnMut(TopicPartition, &[u8])) -> Option<(u64, Millis)> {
    let Block { number, body } = block(bytes)?;
    let append = i64::from_le_bytes(*body.first_chunk()?);
    let read = round(body, &mut |partition, _, _, record| {
        each(partition, record);
        Ok(())
    });
    read.is_ok().then_some((number, append))
}

/// The end of a journal's whole blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WholeBlocks {
    /// The number that the next block must have.
    pub next: u64,
    /// The size of the whole blocks, bytes; what follows is torn.
    pub bytes: u64,
}

/// A journal that was found on the disk.
pub(crate) struct OldJournal {
    /// The offsets up to which partitions were synced when it began.
    pub ends: Ends,
    bytes: Vec<u8>,
    path: std::path::PathBuf,
    /// The byte where the rounds begin, and the number of the first one.
    from: usize,
    first: u64,
}

impl OldJournal {
    pub(crate) fn open(files: &dyn Files, dir: &Path, number: u64) -> Result<Self, LogError> {
        let path = dir.join(name(number));
        let bytes = files::read(files, &path).map_err(at(&path, "read"))?;
        let damaged = |what: &str| LogError::Damaged { path: path.clone(), byte: 0, what: what.to_owned() };
        let head = block(&bytes).ok_or_else(|| damaged("the journal's first block is torn"))?;
        let mut ends = Vec::new();
        for row in head.body.chunks(11) {
            let topic = Topic::ALL.get(usize::from(row[0])).filter(|_| row.len() == 11);
            let topic = topic.ok_or_else(|| damaged("the journal's first block names no topic"))?;
            let end = u64::from_le_bytes(std::array::from_fn(|i| row[3 + i]));
            ends.push((TopicPartition::new(*topic, u16::from_le_bytes([row[1], row[2]])), end));
        }
        let (from, first) = (HEAD_BYTES + head.body.len(), head.number + 1);
        Ok(Self { ends, bytes, path, from, first })
    }

    /// The number of its first block, which holds the ends.
    pub(crate) fn number(&self) -> u64 {
        self.first - 1
    }

    /// Passes every record of every round to `each`, in order; returns where the whole rounds end.
    ///
    /// # Errors
    /// A valid block follows an invalid one, or records are impossible.
    pub(crate) fn records(
        &self,
        mut each: impl FnMut(TopicPartition, u64, Millis, &[u8]) -> Result<(), LogError>,
    ) -> Result<WholeBlocks, LogError> {
        let mut at = self.from;
        let mut next = self.first;
        while let Some(found) = self.bytes.get(at..).and_then(block) {
            if found.number != next {
                return Err(self.damaged(at, format!("block {} stands where {next} must be", found.number)));
            }
            round(found.body, &mut each).map_err(|e| match e {
                Torn::Body => self.damaged(at, "a round's records do not fill it".to_owned()),
                Torn::Other(other) => other,
            })?;
            at += HEAD_BYTES + found.body.len();
            next += 1;
        }
        // The rest was never synced, unless a valid block follows.
        let mut search = at + 1;
        while let Some(found) = self.bytes.get(search..).and_then(|rest| memchr::memmem::find(rest, &MAGIC)) {
            let start = search + found;
            if self.bytes.get(start..).and_then(block).is_some_and(|b| b.number >= next) {
                return Err(self.damaged(at, format!("block {next} is torn, and a good one follows at byte {start}")));
            }
            search = start + 1;
        }
        Ok(WholeBlocks { next, bytes: at as u64 })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(crate) fn damaged(&self, byte: usize, what: String) -> LogError {
        LogError::Damaged { path: self.path.clone(), byte: byte as u64, what }
    }
}

enum Torn {
    Body,
    Other(LogError),
}

fn round(
    body: &[u8],
    each: &mut impl FnMut(TopicPartition, u64, Millis, &[u8]) -> Result<(), LogError>,
) -> Result<(), Torn> {
    let (append, mut rest) = body.split_first_chunk::<8>().ok_or(Torn::Body)?;
    let append = i64::from_le_bytes(*append);
    while !rest.is_empty() {
        let (head, after) = rest.split_first_chunk::<RECORD_HEAD_BYTES>().ok_or(Torn::Body)?;
        let topic = *Topic::ALL.get(usize::from(head[0])).ok_or(Torn::Body)?;
        let partition = u16::from_le_bytes([head[2], head[3]]);
        let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let offset = u64::from_le_bytes(std::array::from_fn(|i| head[8 + i]));
        let (record, after) = after.split_at_checked(len).ok_or(Torn::Body)?;
        each(TopicPartition::new(topic, partition), offset, append, record).map_err(Torn::Other)?;
        rest = after;
    }
    Ok(())
}
