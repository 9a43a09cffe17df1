//! A segment of the archive: a header in JSON within a skippable frame of Zstandard (RFC 8878, section 3.1.2), then a frame with the
//! records. So `zstd -d` of the whole object gives the records.
//!
//! A record is its length (u32), its append time (i64, ms), both little-endian, and its bytes, as the log holds them. The first record
//! has the offset of the header, each further one the next.

use std::io::{self, BufReader, Cursor, Read, Write};

use data_encoding::HEXLOWER;
use domain::model::time::{DAY_MS, Millis};
use domain::protocol::merkle::{Hash, Tree, leaf};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use crate::api::Record;
use crate::error::LogError;
use crate::local::meta::Meta;

/// Version of the format; a newer one is refused.
const FORMAT: u32 = 1;
/// The first bytes of the header: a skippable frame.
const MAGIC: [u8; 4] = 0x184D_2A5E_u32.to_le_bytes();
/// Number of bytes before the header's JSON.
const PREFIX_BYTES: usize = 8;
/// Maximum size of a header, bytes; a longer one is damage.
pub const HEADER_BYTES_MAX: usize = 4096;
/// Size of the compressed records at which a segment is closed, bytes. A reader of all partitions holds one segment of each.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
/// Size of the records at which a segment is closed, bytes, however well they are compressed.
const RECORDS_BYTES: u64 = 256 * 1024 * 1024;
/// Maximum size of a record, bytes: what the embedded log takes. A longer one is damage.
const RECORD_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Zstandard's level: the default. Half of an event's bytes are hashes, which nothing makes smaller.
const LEVEL: i32 = 3;
/// Maximum window of a frame that is read, as a power of two: what the level above uses. A larger one is damage.
const WINDOW_LOG_MAX: u32 = 23;

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    format: u32,
    /// The id of the log.
    log: String,
    partition: u16,
    /// The offset of the first record.
    pub first_offset: u64,
    /// The offset of the last record.
    pub last_offset: u64,
    /// Whether the first record is the first of its day.
    pub begins_day: bool,
    /// The latest `received` before the first record; none before the first event.
    pub received_before: Option<Millis>,
    /// The latest `received` up to the last record. All records of a segment belong to its day.
    pub received_to: Option<Millis>,
    /// The size of the records before they are compressed.
    pub bytes: u64,
    /// When it was made, ms since the epoch.
    pub written: Millis,
    #[serde(with = "hex")]
    /// The root of the tree over the records (RFC 9162).
    pub root: Hash,
    #[serde(with = "hex")]
    /// The hash of the last record as a leaf of that tree.
    pub last_leaf: Hash,
    #[serde(with = "hex")]
    /// SHA-256 of the bytes behind the header.
    sha256: Hash,
}

mod hex {
    use data_encoding::HEXLOWER;
    use domain::protocol::merkle::Hash;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(hash: &Hash, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&HEXLOWER.encode(hash))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| serde::de::Error::custom("a hash is not 64 hex digits"))
    }
}

/// What is wrong with a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    what: String,
    is_newer: bool,
}

impl Wrong {
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self { what: what.into(), is_newer: false }
    }

    /// The error, with the object in which it is.
    pub(super) fn at(self, object: String) -> LogError {
        let mend = if self.is_newer {
            "upgrade to read it"
        } else {
            "no record is skipped: put the object back from a copy, or read what comes after it with `log dump --from`"
        };
        LogError::Archive { object, what: self.what, mend }
    }
}

/// Only what every version of the header has.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// Reads the header at the start of a segment. Returns where the records begin, too.
pub(super) fn split(bytes: &[u8]) -> Result<(Header, usize), Wrong> {
    let damaged = || Wrong::damaged("the segment is damaged: it does not begin with a header");
    let (prefix, rest) = bytes.split_at_checked(PREFIX_BYTES).ok_or_else(damaged)?;
    let (magic, length) = prefix.split_at(MAGIC.len());
    let length = u32::from_le_bytes(length.try_into().map_err(|_| damaged())?) as usize;
    if magic != MAGIC || length > HEADER_BYTES_MAX - PREFIX_BYTES {
        return Err(damaged());
    }
    let json = rest.get(..length).ok_or_else(damaged)?;
    let read = |e: serde_json::Error| Wrong::damaged(format!("the header is damaged: {e}"));
    let Version { format } = serde_json::from_slice(json).map_err(read)?;
    if format != FORMAT {
        let what = format!("the segment has format {format}, this build knows {FORMAT}");
        return Err(Wrong { what, is_newer: true });
    }
    Ok((serde_json::from_slice(json).map_err(read)?, PREFIX_BYTES + length))
}

impl Header {
    /// The day (UTC) of its records, as days since 1970-01-01; none before the first event.
    #[must_use]
    pub fn day(&self) -> Option<i64> {
        self.received_to.map(|received| received.div_euclid(DAY_MS))
    }

    /// Number of records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.last_offset.saturating_sub(self.first_offset) + 1
    }

    /// Whether it belongs under this name.
    pub(super) fn check_place(&self, meta: &Meta, partition: u16, first: u64) -> Result<(), Wrong> {
        let is_here = self.partition == partition && self.first_offset == first && self.last_offset >= first;
        if is_here && self.log == log_text(meta) {
            return Ok(());
        }
        Err(Wrong::damaged(format!(
            "it is the segment of log {} partition {} from offset {}: it was copied to a wrong name",
            self.log, self.partition, self.first_offset
        )))
    }
}

fn log_text(meta: &Meta) -> String {
    format!("{:032x}", meta.id())
}

/// A segment that is being made.
pub struct Builder {
    first: u64,
    begins_day: bool,
    received_before: Option<Millis>,
    received_to: Option<Millis>,
    tree: Tree,
    last_leaf: Hash,
    bytes: u64,
    encoder: Encoder<'static, Vec<u8>>,
}

impl Builder {
    /// An empty segment, whose first record has an offset.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new(first: u64, begins_day: bool, received_before: Option<Millis>) -> io::Result<Self> {
        let mut encoder = Encoder::new(Vec::new(), LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self {
            first,
            begins_day,
            received_before,
            received_to: received_before,
            tree: Tree::default(),
            last_leaf: Hash::default(),
            bytes: 0,
            encoder,
        })
    }

    /// Adds the next record; `received` is the latest one up to it.
    ///
    /// # Errors
    /// There is no memory.
    pub fn push(&mut self, record: &Record<'_>, received: Option<Millis>) -> io::Result<()> {
        let length = u32::try_from(record.bytes.len()).map_err(io::Error::other)?;
        self.encoder.write_all(&length.to_le_bytes())?;
        self.encoder.write_all(&record.append.to_le_bytes())?;
        self.encoder.write_all(record.bytes)?;
        self.bytes += u64::from(length) + RECORD_HEAD_BYTES as u64;
        self.last_leaf = leaf(record.bytes);
        self.tree.push(self.last_leaf);
        self.received_to = received;
        Ok(())
    }

    /// The offset of the first record.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The offset behind the last record.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + self.tree.size()
    }

    /// The day of its records; none before the first event.
    #[must_use]
    pub fn day(&self) -> Option<i64> {
        self.received_to.map(|received| received.div_euclid(DAY_MS))
    }

    /// Whether it is long enough to be closed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.encoder.get_ref().len() >= SEGMENT_BYTES || self.bytes >= RECORDS_BYTES
    }

    /// The bytes of the object; `None` without a record.
    ///
    /// # Errors
    /// There is no memory.
    pub fn finish(self, meta: &Meta, partition: u16, written: Millis) -> io::Result<Option<Vec<u8>>> {
        let Some(last) = self.tree.size().checked_sub(1) else { return Ok(None) };
        let records = self.encoder.finish()?;
        let header = Header {
            format: FORMAT,
            log: log_text(meta),
            partition,
            first_offset: self.first,
            last_offset: self.first + last,
            begins_day: self.begins_day,
            received_before: self.received_before,
            received_to: self.received_to,
            bytes: self.bytes,
            written,
            root: self.tree.root(),
            last_leaf: self.last_leaf,
            sha256: Sha256::digest(&records).into(),
        };
        let json = serde_json::to_vec(&header)?;
        let length = u32::try_from(json.len()).map_err(io::Error::other)?;
        let mut object = Vec::with_capacity(PREFIX_BYTES + json.len() + records.len());
        object.extend_from_slice(&MAGIC);
        object.extend_from_slice(&length.to_le_bytes());
        object.extend_from_slice(&json);
        object.extend_from_slice(&records);
        Ok(Some(object))
    }
}

/// Number of bytes before a record's own.
const RECORD_HEAD_BYTES: usize = 12;

/// A segment that is read.
pub struct Segment {
    /// What it says of itself.
    pub header: Header,
    decoder: Decoder<'static, BufReader<Cursor<Vec<u8>>>>,
    next: u64,
    /// Bytes of records that are left.
    left: u64,
    record: Vec<u8>,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("header", &self.header).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Segment {
    /// Opens the bytes of an object, whose name says which segment it is.
    pub(super) fn open(mut bytes: Vec<u8>, meta: &Meta, partition: u16, first: u64) -> Result<Self, Wrong> {
        let (header, at) = split(&bytes)?;
        header.check_place(meta, partition, first)?;
        let found: Hash = Sha256::digest(&bytes[at..]).into();
        if found != header.sha256 {
            return Err(Wrong::damaged(format!(
                "the segment is damaged: its records have SHA-256 {}, its header says {}",
                HEXLOWER.encode(&found),
                HEXLOWER.encode(&header.sha256)
            )));
        }
        bytes.drain(..at);
        let opened = Decoder::with_buffer(BufReader::new(Cursor::new(bytes)));
        let mut decoder = opened.map_err(|e| unreadable(&e))?;
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(|e| unreadable(&e))?;
        let (next, left) = (header.first_offset, header.bytes);
        Ok(Self { header, decoder, next, left, record: Vec::new() })
    }

    /// Whether all of its records were read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.next > self.header.last_offset
    }

    /// Checks that nothing is behind the last record, once it was read.
    pub(super) fn end(&mut self) -> Result<(), Wrong> {
        let mut more = [0];
        let is_over = self.left == 0 && self.decoder.read(&mut more).map_err(|e| unreadable(&e))? == 0;
        if is_over { Ok(()) } else { Err(Wrong::damaged("it has more records than its header says")) }
    }

    /// Reads on to the record at an offset.
    pub(super) fn skip_below(&mut self, offset: u64) -> Result<(), Wrong> {
        while self.next < offset && self.next_record()?.is_some() {}
        Ok(())
    }

    /// The next record; `None` once all were read.
    pub(super) fn next_record(&mut self) -> Result<Option<Record<'_>>, Wrong> {
        if self.is_read() {
            return Ok(None);
        }
        let mut length = [0; 4];
        let mut append = [0; 8];
        self.decoder.read_exact(&mut length).map_err(|e| unreadable(&e))?;
        self.decoder.read_exact(&mut append).map_err(|e| unreadable(&e))?;
        let length = u32::from_le_bytes(length);
        let whole = u64::from(length) + RECORD_HEAD_BYTES as u64;
        if length > RECORD_BYTES_MAX || whole > self.left {
            return Err(Wrong::damaged(format!("the record at offset {} is longer than its segment", self.next)));
        }
        self.left -= whole;
        self.record.resize(length as usize, 0);
        self.decoder.read_exact(&mut self.record).map_err(|e| unreadable(&e))?;
        let record = Record { offset: self.next, append: Millis::from_le_bytes(append), bytes: &self.record };
        self.next += 1;
        Ok(Some(record))
    }
}

fn unreadable(error: &io::Error) -> Wrong {
    Wrong::damaged(format!("the records cannot be read: {error}"))
}
