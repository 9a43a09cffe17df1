//! The codec: one log record in and out.
//!
//! A frame is a fixed header of [`HEADER_BYTES`] and a body of items, bincode-encoded one after the other. Numbers in
//! the header are little-endian. Only this module uses bincode, behind `put` and `take`.
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | `MSHF` |
//! | 4 | version of this layout and of the items, 2; of a [bundle](bundle()), 3 |
//! | 5 | kind |
//! | 6–7 | topic of the source (255: none), 0 |
//! | 8–15 | received, ms |
//! | 16–31 | log id of the source |
//! | 32–39 | offset in the source |
//! | 40–47 | offset of the previous answer (all ones: none) |
//! | 48–55 | running hash up to the previous answer |
//! | 56–61 | partition of the source, part, part of the previous answer |
//! | 62–63 | 0 |
//! | 64–71 | number of items, bytes of the body |
//! | 72–75 | CRC-32C of all other bytes; these bytes in every version |
//! | 76–79 | 0 |
//!
//! ```
//! use domain::frame::{Body, Frame, FrameError, Kind, seal};
//!
//! let mut body = Body::default();
//! body.push(&"one");
//! body.push(&"two");
//! let mut records = Vec::new();
//! body.drain(|bytes, items| records.push(seal(Kind::Events, 1_794_400_000_000, None, items, bytes)));
//!
//! let frame = Frame::open(&records[0])?;
//! assert_eq!(frame.received, 1_794_400_000_000);
//! assert_eq!(frame.items::<&str>().collect::<Result<Vec<_>, _>>()?, ["one", "two"]);
//!
//! // One changed bit is noticed.
//! let mut damaged = records.remove(0);
//! damaged[80] ^= 1;
//! assert!(matches!(Frame::open(&damaged), Err(FrameError::Checksum { .. })));
//! # Ok::<(), FrameError>(())
//! ```

mod bundle;
mod error;

use serde::{Deserialize, Serialize};

pub use bundle::{BUNDLE_BYTES_MAX, Frames, bundle, may_share_record};
pub use error::{DecodeError, FrameError};

use self::bundle::BUNDLE_VERSION;
use crate::model::address::{AnswerPos, PartitionId, Provenance, Topic};
use crate::model::time::Millis;

/// Size of a frame's header, bytes.
pub const HEADER_BYTES: usize = 80;
/// Maximum size of a part, bytes; a body that would grow beyond it is cut, and a single larger item has a part of its own.
/// The cuts are part of a desk's answer: another number is another [`Behaviour`](crate::protocol::behaviour::Behaviour).
pub const PART_BYTES_MAX: usize = 512 * 1024;
const MAGIC: [u8; 4] = *b"MSHF";
const VERSION: u8 = 2;
const KIND_AT: usize = 5;
const SOURCE_AT: usize = 6;
const CRC_AT: usize = 72;
const NO_TOPIC: u8 = 255;
const CONFIG: bincode::config::Configuration = bincode::config::standard();

/// What the items of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `scans`: events.
    Events = 1,
    /// `draws`: scans of codes.
    CodeScans = 2,
    /// `awards`: entries that drew a prize.
    Wins = 3,
    /// `facts`.
    Facts = 4,
    /// Any topic but `facts`: the rules that are in force from here on.
    Marker = 5,
    /// The first record of a partition: it names the log.
    Genesis = 6,
    /// `rules`: markers of a version are in every partition.
    Placed = 7,
    /// `rejects`: a record of `scans` that was set aside, with its partition and offset.
    Reject = 8,
    /// `rejects`: a record that was set aside was sent again, or will not be.
    RejectHandled = 9,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Events,
            2 => Self::CodeScans,
            3 => Self::Wins,
            4 => Self::Facts,
            5 => Self::Marker,
            6 => Self::Genesis,
            7 => Self::Placed,
            8 => Self::Reject,
            9 => Self::RejectHandled,
            _ => return None,
        })
    }

    /// The name in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::CodeScans => "code scans",
            Self::Wins => "wins",
            Self::Facts => "facts",
            Self::Marker => "marker",
            Self::Genesis => "genesis",
            Self::Placed => "placed",
            Self::Reject => "reject",
            Self::RejectHandled => "reject handled",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The kind that a record's header names. Nothing else of the record is checked: it may be damaged, or not a frame.
///
/// It is for readers that only need some kinds, and skip the checks of [`Frame::open`] for the others.
#[must_use]
pub fn peek_kind(record: &[u8]) -> Option<Kind> {
    record.get(KIND_AT).and_then(|&byte| Kind::of(byte))
}

/// A frame as read: its header is checked, its items are still bytes.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What the items are.
    pub kind: Kind,
    /// The `received` of the last event that led to it, ms.
    pub received: Millis,
    /// What this frame answers; `None` for frames of an edge or a publisher.
    pub tag: Option<Provenance>,
    /// Number of items.
    pub count: u32,
    /// The items, encoded one after the other.
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Checks a record and its header.
    ///
    /// # Errors
    /// The first check that fails. Nothing of a damaged record is used.
    pub fn open(record: &'a [u8]) -> Result<Self, FrameError> {
        let (head, body) = checked_header(record)?;
        if head[4] == BUNDLE_VERSION {
            return Err(FrameError::Bundled);
        }
        Self::of(head, body)
    }

    /// A frame of a header and a body whose bytes are checked.
    fn of(head: &[u8; HEADER_BYTES], body: &'a [u8]) -> Result<Self, FrameError> {
        let (kind, topic) = kind_and_topic(head)?;
        let tag = topic.map(|topic| tag_of(head, topic));
        Ok(Self { kind, received: u64_at(head, 8).cast_signed(), tag, count: u32_at(head, 64), body })
    }

    /// The items, borrowing from the record.
    #[must_use]
    pub fn items<T: Deserialize<'a>>(&self) -> Items<'a, T> {
        Items { left: self.body, index: 0, count: self.count, item: std::marker::PhantomData }
    }
}

/// Checks that a record is whole, and of a version that this build reads. Returns its header and its body.
fn checked_header(record: &[u8]) -> Result<(&[u8; HEADER_BYTES], &[u8]), FrameError> {
    let (head, body) = record.split_first_chunk::<HEADER_BYTES>().ok_or(FrameError::Short(record.len()))?;
    if head[..4] != MAGIC {
        return Err(FrameError::Magic);
    }
    // The checksum comes first and has the same place in every version: a version byte that damage changed must not ask for
    // another build.
    let stored = u32_at(head, CRC_AT);
    let found = checksum(record);
    if stored != found {
        return Err(FrameError::Checksum { stored, found });
    }
    if !matches!(head[4], VERSION | BUNDLE_VERSION) {
        return Err(FrameError::Version(head[4]));
    }
    if u32_at(head, 68) as usize != body.len() {
        return Err(FrameError::Header("the length of the body"));
    }
    Ok((head, body))
}

/// The kind of a header, and the topic of its source if it names one.
fn kind_and_topic(head: &[u8; HEADER_BYTES]) -> Result<(Kind, Option<Topic>), FrameError> {
    let kind = Kind::of(head[KIND_AT]).ok_or(FrameError::Header("the kind"))?;
    if head[6] == NO_TOPIC {
        return Ok((kind, None));
    }
    let topic = Topic::ALL.get(usize::from(head[6])).ok_or(FrameError::Header("the topic of the source"))?;
    Ok((kind, Some(*topic)))
}

fn tag_of(head: &[u8; HEADER_BYTES], topic: Topic) -> Provenance {
    let prev = AnswerPos { offset: u64_at(head, 40), part: u16_at(head, 60) };
    Provenance {
        source: PartitionId { log: u128_at(head, 16), topic, partition: u16_at(head, 56) },
        at: AnswerPos { offset: u64_at(head, 32), part: u16_at(head, 58) },
        prev: (prev.offset != u64::MAX).then_some(prev),
        hash: u64_at(head, 48),
    }
}

/// Iterates over the items of a frame. It ends after the first item that cannot be decoded, and reports bytes left over.
#[derive(Debug)]
pub struct Items<'a, T> {
    left: &'a [u8],
    index: u32,
    count: u32,
    item: std::marker::PhantomData<T>,
}

impl<'a, T> Items<'a, T> {
    /// The bytes of the items that are still to be read.
    #[must_use]
    pub const fn unread(&self) -> &'a [u8] {
        self.left
    }
}

impl<'a, T: Deserialize<'a>> Iterator for Items<'a, T> {
    type Item = Result<T, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.index;
        if index == self.count {
            let has_bytes_left = !self.left.is_empty();
            self.left = &[];
            return has_bytes_left.then(|| Err(FrameError::LeftOver { index }));
        }
        match take(self.left) {
            Ok((item, left)) => {
                self.left = left;
                self.index += 1;
                Some(Ok(item))
            }
            Err(why) => {
                self.left = &[];
                self.index = self.count;
                Some(Err(FrameError::Item { index, why }))
            }
        }
    }
}

/// A body under construction; it is cut into parts as it grows.
#[derive(Clone, Debug)]
pub struct Body {
    /// Maximum size of a part, bytes; a single larger item has a part of its own.
    part_bytes_max: usize,
    /// Finished parts: bytes and number of items.
    parts: Vec<(Vec<u8>, u32)>,
    bytes: Vec<u8>,
    count: u32,
}

impl Default for Body {
    fn default() -> Self {
        Self::cut_at(PART_BYTES_MAX)
    }
}

impl Body {
    /// A body whose parts have at most `part_bytes_max` bytes, except for single items that are larger.
    #[must_use]
    pub fn cut_at(part_bytes_max: usize) -> Self {
        Self { part_bytes_max, parts: Vec::new(), bytes: Vec::new(), count: 0 }
    }

    /// Sets the maximum size of parts, from the next item on.
    pub(crate) fn cut_on_at(&mut self, part_bytes_max: usize) {
        self.part_bytes_max = part_bytes_max;
    }

    /// Moves the items of another body to the end of this one; the other keeps its allocation. Parts stay within their limit.
    pub fn append(&mut self, other: &mut Self) {
        other.drain(|bytes, count| {
            if self.bytes.len() + bytes.len() > self.part_bytes_max && self.count > 0 {
                self.parts.push((std::mem::take(&mut self.bytes), std::mem::take(&mut self.count)));
            }
            self.bytes.extend_from_slice(bytes);
            self.count += count;
        });
    }

    /// Adds an item.
    pub fn push<T: Serialize>(&mut self, item: &T) {
        let before = self.bytes.len();
        put(&mut self.bytes, item);
        self.count_item(before);
    }

    /// Adds an item that [`encode_into`] wrote.
    pub fn push_encoded(&mut self, item: &[u8]) {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(item);
        self.count_item(before);
    }

    /// Counts the item that begins at a byte; it begins a part if it does not fit into this one.
    fn count_item(&mut self, before: usize) {
        if self.bytes.len() > self.part_bytes_max && before > 0 {
            let rest = self.bytes.split_off(before);
            self.parts.push((std::mem::replace(&mut self.bytes, rest), self.count));
            self.count = 0;
        }
        self.count += 1;
    }

    /// Whether it has no item in the part under construction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the part under construction.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Passes every part (bytes, number of items) to `each`, at least one, and keeps the allocation.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8], u32)) {
        for (bytes, count) in self.parts.drain(..) {
            each(&bytes, count);
        }
        each(&self.bytes, self.count);
        self.bytes.clear();
        self.count = 0;
    }
}

/// Writes a record: header, checksum and body.
///
/// # Panics
/// If a body is 4 GiB or larger, which [`Body`] never makes.
#[must_use]
pub fn seal(kind: Kind, received: Millis, tag: Option<&Provenance>, count: u32, body: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER_BYTES + body.len());
    record.resize(HEADER_BYTES, 0);
    let mut at = |from: usize, bytes: &[u8]| record[from..from + bytes.len()].copy_from_slice(bytes);
    at(0, &MAGIC);
    at(4, &[VERSION, kind as u8, NO_TOPIC]);
    at(8, &received.to_le_bytes());
    if let Some(tag) = tag {
        at(6, &[tag.source.topic as u8]);
        at(16, &tag.source.log.to_le_bytes());
        at(32, &tag.at.offset.to_le_bytes());
        at(40, &tag.prev.map_or(u64::MAX, |p| p.offset).to_le_bytes());
        at(48, &tag.hash.to_le_bytes());
        at(56, &tag.source.partition.to_le_bytes());
        at(58, &tag.at.part.to_le_bytes());
        at(60, &tag.prev.map_or(0, |p| p.part).to_le_bytes());
    }
    record.extend_from_slice(body);
    seal_header(&mut record, count);
    record
}

/// Writes what a header says of the whole record: the number of items or frames, the bytes of the body, the checksum.
fn seal_header(record: &mut [u8], count: u32) {
    let bytes = u32::try_from(record.len() - HEADER_BYTES).expect("a body below 4 GiB");
    record[64..68].copy_from_slice(&count.to_le_bytes());
    record[68..72].copy_from_slice(&bytes.to_le_bytes());
    let crc = checksum(record);
    record[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Encodes a value that is stored as a whole, such as a desk's state.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, value);
    bytes
}

/// Encodes a value to the end of a buffer, as an item of a [`Body`] or for [`decode`].
pub fn encode_into<T: Serialize>(bytes: &mut Vec<u8>, value: &T) {
    put(bytes, value);
}

/// Decodes what [`encode`] or [`encode_into`] wrote.
///
/// # Errors
/// The bytes are not such a value.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    match take(bytes)? {
        (value, []) => Ok(value),
        (_, left) => Err(DecodeError::LeftOver(left.len())),
    }
}

/// The checksum that a record carries; 0 for a record that is too short for one.
#[must_use]
pub fn stored_checksum(record: &[u8]) -> u32 {
    record.first_chunk::<HEADER_BYTES>().map_or(0, |head| u32_at(head, CRC_AT))
}

fn checksum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..CRC_AT]), &record[CRC_AT + 4..])
}

fn put<T: Serialize>(bytes: &mut Vec<u8>, item: &T) {
    let done = bincode::serde::encode_into_writer(item, Sink(bytes), CONFIG);
    done.expect("model types encode, and memory takes what is written");
}

/// The item at the beginning of these bytes, which may be a part of a frame's body.
///
/// # Errors
/// The bytes are no such item.
pub fn item<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    take(bytes).map(|(item, _)| item)
}

/// The value at the beginning of the bytes of a stored row, and what follows it. A damaged length asks for no more memory than some
/// times the row's own.
pub(crate) fn take_from_row<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), DecodeError> {
    // The decoder counts a number as it is in memory, which is at most 16 times as long as it is stored.
    const SHORT: usize = 4 * 1024 * 1024;
    const LONG: usize = 16 * SHORT;
    let decoded = if bytes.len() <= SHORT {
        bincode::serde::borrow_decode_from_slice(bytes, CONFIG.with_limit::<{ 17 * SHORT }>())
    } else if bytes.len() <= LONG {
        bincode::serde::borrow_decode_from_slice(bytes, CONFIG.with_limit::<{ 17 * LONG }>())
    } else {
        bincode::serde::borrow_decode_from_slice(bytes, CONFIG)
    };
    let (value, used) = decoded.map_err(|why| DecodeError::Malformed(why.to_string()))?;
    Ok((value, &bytes[used..]))
}

fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), DecodeError> {
    let decoded = bincode::serde::borrow_decode_from_slice(bytes, CONFIG);
    let (item, used) = decoded.map_err(|why| DecodeError::Malformed(why.to_string()))?;
    Ok((item, &bytes[used..]))
}

struct Sink<'a>(&'a mut Vec<u8>);

impl bincode::enc::write::Writer for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn chunk<const N: usize>(head: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| head[at + i])
}

fn u16_at(head: &[u8; HEADER_BYTES], at: usize) -> u16 {
    u16::from_le_bytes(chunk(head, at))
}

fn u32_at(head: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(chunk(head, at))
}

fn u64_at(head: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(chunk(head, at))
}

fn u128_at(head: &[u8; HEADER_BYTES], at: usize) -> u128 {
    u128::from_le_bytes(chunk(head, at))
}
