//! What scans leave behind, as sorted segments: a log-structured merge tree in two tables.
//!
//! Keys of scans are at random places of any tree, so a row for each would change a page for each. Here each commit appends what
//! it has, sorted, as a segment of a few blocks. Segments of one level are merged into one of the next, so that a query looks at
//! few of them. A merge changes no answer: a reader takes the greatest value of a key, wherever it finds it.
//!
//! - `buffer`: pairs (a key and its value) in memory
//! - `block`: sorted pairs as bytes
//! - `merge`: merges segments, and removes old ones, in steps
//! - `migrate`: moves the rows of older schemas
//! - `read`: looks up keys, and reads in the order of keys
//! - `values`: the keys and values of each kind

pub(crate) mod block;
pub(crate) mod buffer;
pub(crate) mod merge;
pub(crate) mod migrate;
#[cfg(test)]
mod model_test;
pub(crate) mod read;
pub(crate) mod values;

use self::block::BlockWriter;
use self::buffer::Buffer;
use crate::error::LedgerError;
use crate::store::{Insert, Store, Type, first};

/// What the pairs of a segment are about. Each kind has its own keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    /// The answers to scans, by event. Kept for a day.
    Answers,
    /// The states of item codes.
    Codes,
    /// The entries that claimed codes.
    Claims,
    /// The scans of codes that draw, and of item codes.
    Scans,
}

impl SegmentKind {
    const ALL: [Self; 4] = [Self::Answers, Self::Codes, Self::Claims, Self::Scans];

    /// The word in the tables.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Codes => "codes",
            Self::Claims => "claims",
            Self::Scans => "scans",
        }
    }
}

/// `ready`: whole, readers use it. `source`: the same, and it is being merged into `target`. `target`: being written. `dropped`:
/// its blocks are being deleted.
const SEGMENTS: Insert = Insert {
    table: "segments",
    columns: &[
        ("id", Type::Int),
        ("owner", Type::Int),
        ("kind", Type::Text),
        ("hour", Type::Int),
        ("level", Type::Int),
        ("pairs", Type::Int),
        ("state", Type::Text),
        ("target", Type::Int),
    ],
    conflict: "",
};
const BLOCKS: Insert = Insert {
    table: "segment_blocks",
    columns: &[("segment", Type::Int), ("first", Type::Bytes), ("body", Type::Bytes)],
    conflict: "",
};

/// The segments that readers use.
const READABLE: &str = "state IN ('ready', 'source')";

/// The hour of segments that are kept permanently.
pub(crate) const ALWAYS: i64 = 0;

/// A row of `segments`.
#[derive(Clone, Debug)]
struct Segment {
    id: i64,
    kind: SegmentKind,
    /// The hour of `received` of its answers; [`ALWAYS`] for other kinds.
    hour: i64,
    level: i64,
    pairs: u64,
}

/// Writes pairs as a segment of the lowest level. `owner` is a facts partition whose row of `progress` the transaction has
/// locked: ids of its segments are given under that lock.
pub(crate) fn add(
    store: &mut dyn Store,
    owner: u16,
    kind: SegmentKind,
    hour: i64,
    buffers: &[&Buffer],
) -> Result<(), LedgerError> {
    let pairs = buffer::sorted(buffers);
    if pairs.is_empty() {
        return Ok(());
    }
    let mut writer = BlockWriter::default();
    pairs.into_iter().for_each(|pair| writer.push(pair));
    let segment = Segment { id: next_id(store, owner)?, kind, hour, level: 0, pairs: writer.pairs };
    insert(store, owner, &segment, "ready")?;
    append(store, segment.id, &writer)
}

/// Distance between two ids of an owner: the ids of different owners never meet.
const OWNERS: i64 = 1 << 16;

fn next_id(store: &mut dyn Store, owner: u16) -> Result<i64, LedgerError> {
    let owner = i64::from(owner);
    let sql = "SELECT MAX(id) FROM segments WHERE owner = $1";
    let last = first(store, sql, &[owner.into()], |row| row.int(0))?.flatten();
    Ok(last.unwrap_or(owner) + OWNERS)
}

fn insert(store: &mut dyn Store, owner: u16, segment: &Segment, state: &'static str) -> Result<(), LedgerError> {
    store.insert(&SEGMENTS, &mut |rows| {
        rows.put(&[
            segment.id.into(),
            i64::from(owner).into(),
            segment.kind.as_str().into(),
            segment.hour.into(),
            segment.level.into(),
            segment.pairs.cast_signed().into(),
            state.into(),
            None::<i64>.into(),
        ])
    })
}

/// Appends blocks to a segment.
fn append(store: &mut dyn Store, segment: i64, writer: &BlockWriter) -> Result<(), LedgerError> {
    store.insert(&BLOCKS, &mut |rows| {
        writer
            .blocks
            .iter()
            .try_for_each(|(first, body)| rows.put(&[segment.into(), first.as_slice().into(), body.as_slice().into()]))
    })
}
