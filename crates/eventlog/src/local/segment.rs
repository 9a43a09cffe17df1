//! The records of one partition, in files that each begin with a given offset.
//!
//! A segment is a header of [`HEADER_BYTES`] and records, each a head of [`HEAD_BYTES`] and its bytes. Numbers are
//! little-endian.
//!
//! | header | contents | | head | contents |
//! |---|---|---|---|---|
//! | 0–7 | `MSHSEG1\n` | | 0–3 | CRC-32C of the rest of the head and the record |
//! | 8–23 | id of the topic | | 4–7 | bytes of the record |
//! | 24 | topic | | 8–15 | offset |
//! | 26–27 | partition | | 16–23 | append time, ms |
//! | 28–35 | offset of the first record | | | |
//! | 36–39 | CRC-32C of the bytes before | | | |

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::model::address::PartitionId;
use domain::model::time::Millis;

use crate::error::{LogError, at};
use crate::files::{File, Files};

pub(super) const HEADER_BYTES: usize = 40;
pub(super) const HEAD_BYTES: usize = 24;
/// Maximum size of a record, bytes; a longer one counts as damage. Frames are far smaller.
pub(super) const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
const MAGIC: [u8; 8] = *b"MSHSEG1\n";
/// Size of the chunks in which a segment is read, bytes; a longer record makes its chunk longer.
const CHUNK_BYTES: usize = 256 * 1024;

/// A file of records. Its writer shares it with readers.
#[derive(Debug)]
pub struct Segment {
    /// The offset of its first record.
    pub base: u64,
    /// Its path.
    pub path: PathBuf,
    /// Its file.
    pub file: Arc<dyn File>,
    /// The number of durable bytes, which readers may see.
    shown: AtomicU64,
}

impl Segment {
    /// The name of the segment that begins at an offset.
    pub fn name(base: u64) -> String {
        format!("{base:020}.seg")
    }

    /// The offset in a segment's name.
    pub(crate) fn base_of(name: &str) -> Option<u64> {
        name.strip_suffix(".seg")?.parse().ok()
    }

    /// Creates an empty segment, or empties one that was never shown. If its header cannot be written, the file is removed:
    /// otherwise the next start would report damage once the log has grown past its offset.
    pub fn create(files: &dyn Files, dir: &Path, source: &PartitionId, base: u64) -> Result<Self, LogError> {
        let path = dir.join(Self::name(base));
        let file = files.open(&path, true).map_err(at(&path, "made"))?;
        if let Err(error) = file.truncate(0).and_then(|()| file.write_at(&header(source, base), 0)) {
            files.remove(&path).map_err(at(&path, "removed"))?;
            return Err(at(&path, "written")(error));
        }
        Ok(Self { base, path, file, shown: AtomicU64::new(HEADER_BYTES as u64) })
    }

    /// Opens a segment and checks its header; readers see none of its records yet.
    pub fn open(files: &dyn Files, dir: &Path, source: &PartitionId, base: u64) -> Result<Self, LogError> {
        let path = dir.join(Self::name(base));
        let file = files.open(&path, false).map_err(at(&path, "opened"))?;
        let mut found = [0; HEADER_BYTES];
        let n = file.read_at(&mut found, 0).map_err(at(&path, "read"))?;
        if n < HEADER_BYTES || found != header(source, base) {
            let what = "its header is not that of this partition of this log".to_owned();
            return Err(LogError::Damaged { path, byte: 0, what });
        }
        Ok(Self { base, path, file, shown: AtomicU64::new(HEADER_BYTES as u64) })
    }

    /// The size of what readers may see, bytes.
    pub fn shown(&self) -> u64 {
        self.shown.load(Ordering::Acquire)
    }

    /// Shows the file up to a size to readers.
    pub fn show(&self, bytes: u64) {
        self.shown.store(bytes, Ordering::Release);
    }

    /// The error of a damaged byte.
    pub fn damaged(&self, byte: u64, what: impl Into<String>) -> LogError {
        LogError::Damaged { path: self.path.clone(), byte, what: what.into() }
    }
}

fn header(source: &PartitionId, base: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..24].copy_from_slice(&source.log.to_le_bytes());
    bytes[24] = source.topic as u8;
    bytes[26..28].copy_from_slice(&source.partition.to_le_bytes());
    bytes[28..36].copy_from_slice(&base.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..36]);
    bytes[36..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Encodes a record at the end of a buffer.
pub(super) fn put(to: &mut Vec<u8>, offset: u64, append: Millis, record: &[u8]) {
    let len = u32::try_from(record.len()).expect("records are bounded");
    let start = to.len();
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(&len.to_le_bytes());
    to.extend_from_slice(&offset.to_le_bytes());
    to.extend_from_slice(&append.to_le_bytes());
    to.extend_from_slice(record);
    let crc = crc32c::crc32c(&to[start + 4..]);
    to[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// A record that was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    /// Its offset.
    pub offset: u64,
    /// Its append time.
    pub append: Millis,
    /// Its contents.
    pub record: &'a [u8],
}

/// Reads a segment's records one after the other.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The byte of the file where the buffer's unread part begins.
    pub at: u64,
    buffer: Vec<u8>,
    from: usize,
}

impl Cursor {
    pub(super) fn new() -> Self {
        Self { at: HEADER_BYTES as u64, buffer: Vec::new(), from: 0 }
    }

    /// The next record, which must have this offset; `None` at byte `limit` of the file.
    pub(super) fn next(&mut self, segment: &Segment, limit: u64, offset: u64) -> Result<Option<Found<'_>>, LogError> {
        if self.at >= limit {
            return Ok(None);
        }
        self.fill(segment, limit, HEAD_BYTES)?;
        let Some(head) = self.buffer[self.from..].first_chunk::<HEAD_BYTES>() else {
            return Err(segment.damaged(self.at, "the head of a record is cut off"));
        };
        let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if len > RECORD_BYTES_MAX || self.at + (HEAD_BYTES + len) as u64 > limit {
            return Err(segment.damaged(self.at, "a record is longer than what is there"));
        }
        self.fill(segment, limit, HEAD_BYTES + len)?;
        let bytes = &self.buffer[self.from..self.from + HEAD_BYTES + len];
        let stored = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if crc32c::crc32c(&bytes[4..]) != stored {
            return Err(segment.damaged(self.at, format!("the checksum of offset {offset} is wrong")));
        }
        let number = |from: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[from + i]));
        if number(8) != offset {
            return Err(segment.damaged(self.at, format!("offset {} stands where {offset} must be", number(8))));
        }
        self.from += bytes.len();
        self.at += bytes.len() as u64;
        let bytes = &self.buffer[self.from - HEAD_BYTES - len..self.from];
        let append = i64::from_le_bytes(std::array::from_fn(|i| bytes[16 + i]));
        Ok(Some(Found { offset, append, record: &bytes[HEAD_BYTES..] }))
    }

    /// Reads until the buffer holds `wanted` unread bytes, or the limit is reached.
    fn fill(&mut self, segment: &Segment, limit: u64, wanted: usize) -> Result<(), LogError> {
        let have = self.buffer.len() - self.from;
        if have >= wanted {
            return Ok(());
        }
        self.buffer.drain(..self.from);
        self.from = 0;
        let left = usize::try_from(limit - self.at).unwrap_or(usize::MAX);
        let size = wanted.max(CHUNK_BYTES).min(left);
        self.buffer.resize(size.max(have), 0);
        let read = segment.file.read_at(&mut self.buffer[have..], self.at + have as u64);
        let read = read.map_err(at(&segment.path, "read"))?;
        self.buffer.truncate(have + read);
        if self.buffer.len() < wanted {
            return Err(segment.damaged(self.at, "the file is shorter than what was written to it"));
        }
        Ok(())
    }
}
