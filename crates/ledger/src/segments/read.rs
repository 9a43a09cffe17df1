//! Reads segments: one key, the keys of a range, or all in order.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use domain::model::time::{DAY_MS, HOUR_MS, Millis};

use super::block::{Cursor, Pair};
use super::{ALWAYS, READABLE, SegmentKind};
use crate::error::LedgerError;
use crate::store::{Store, all, first};

/// Number of blocks of a segment that are read at a time.
const BLOCKS_READ: i64 = 32;

/// The latest `received` of all facts partitions.
pub(crate) fn latest_received(store: &mut dyn Store) -> Result<Millis, LedgerError> {
    let latest = first(store, "SELECT MAX(received) FROM progress", &[], |row| row.int(0))?;
    Ok(latest.flatten().unwrap_or(0))
}

/// The hour before which answers are not kept any more, at this latest `received` (contract section 9).
pub(crate) fn oldest_hour(latest: Millis) -> i64 {
    (latest - DAY_MS).div_euclid(HOUR_MS)
}

/// The answer to an event, unless it is too old to be kept.
pub(crate) fn answer(store: &mut dyn Store, event: u128) -> Result<Option<Vec<u8>>, LedgerError> {
    let latest = latest_received(store)?;
    lookup(store, SegmentKind::Answers, oldest_hour(latest), &event.to_be_bytes())
}

/// A pair that is copied out of its block.
pub(crate) type Owned = (Vec<u8>, Vec<u8>);

/// The greatest value of a key of a kind whose pairs stay.
pub(crate) fn state(store: &mut dyn Store, kind: SegmentKind, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
    lookup(store, kind, ALWAYS, key)
}

/// The greatest value of a key, in segments of hours from `oldest` on.
fn lookup(store: &mut dyn Store, kind: SegmentKind, oldest: i64, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
    let sql = format!(
        "SELECT (SELECT body FROM segment_blocks b WHERE b.segment = s.id AND b.first <= $1 ORDER BY b.first DESC LIMIT 1)
         FROM segments s WHERE kind = $2 AND hour >= $3 AND {READABLE}"
    );
    let mut greatest: Option<Vec<u8>> = None;
    store.select(&sql, &[key.into(), kind.as_str().into(), oldest.into()], &mut |row| {
        let Some(block) = row.bytes(0)? else { return Ok(()) };
        let mut cursor = Cursor::default();
        while let Some((found, value)) = cursor.next(block)? {
            if found == key && greatest.as_deref().is_none_or(|greatest| greatest < value) {
                greatest = Some(value.to_vec());
            }
        }
        Ok(())
    })?;
    Ok(greatest)
}

/// All pairs whose keys begin with `prefix`, in the order of their keys. All are in memory at once: a prefix names a code.
pub(crate) fn with_prefix(store: &mut dyn Store, kind: SegmentKind, prefix: &[u8]) -> Result<Vec<Owned>, LedgerError> {
    let sql = format!(
        "SELECT b.body FROM segments s JOIN segment_blocks b ON b.segment = s.id
         WHERE kind = $2 AND {READABLE} AND b.first < $3 AND b.first >= COALESCE((SELECT c.first FROM segment_blocks c
           WHERE c.segment = s.id AND c.first <= $1 ORDER BY c.first DESC LIMIT 1), $1)"
    );
    // A prefix ends in the NUL after a text: the keys beyond it have a greater byte there.
    let mut beyond = prefix.to_vec();
    if let Some(last) = beyond.last_mut() {
        *last += 1;
    }
    let mut found = Vec::new();
    store.select(&sql, &[prefix.into(), kind.as_str().into(), beyond.as_slice().into()], &mut |row| {
        let block = row.bytes(0)?.unwrap_or_default();
        let mut cursor = Cursor::default();
        while let Some((key, value)) = cursor.next(block)? {
            if key.starts_with(prefix) {
                found.push((key.to_vec(), value.to_vec()));
            }
        }
        Ok(())
    })?;
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(&a.1)));
    found.dedup_by(|later, first| later.0 == first.0);
    Ok(found)
}

/// The readable segments of a kind.
fn readable(store: &mut dyn Store, kind: SegmentKind) -> Result<Vec<i64>, LedgerError> {
    let sql = format!("SELECT id FROM segments WHERE kind = $1 AND {READABLE} ORDER BY id");
    all(store, &sql, &[kind.as_str().into()], |row| row.int_of(0))
}

/// All pairs of a kind in the order of their keys, one of each key. The caller has a transaction, so that all are of one state.
pub(crate) fn in_order(store: &mut dyn Store, kind: SegmentKind) -> Result<Ordered, LedgerError> {
    let segments = readable(store, kind)?;
    Ordered::over(store, segments, &[])
}

/// A segment that is being read.
#[derive(Debug)]
struct Source {
    segment: i64,
    /// Blocks that are read already.
    blocks: Vec<Vec<u8>>,
    /// The next pair: its block, and its place in it.
    block: usize,
    cursor: Cursor,
    /// The first key of the last block that is read; `None` after the last block.
    last: Option<Vec<u8>>,
}

/// The next pair of a source.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    key: Vec<u8>,
    value: Vec<u8>,
    source: usize,
}

impl Ord for Head {
    /// By key; of equal keys the greatest value comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then_with(|| other.value.cmp(&self.value)).then(self.source.cmp(&other.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Source {
    /// Begins at or before the first key above `after`.
    fn open(store: &mut dyn Store, segment: i64, after: &[u8]) -> Result<Self, LedgerError> {
        let sql = "SELECT first FROM segment_blocks WHERE segment = $1 AND first <= $2 ORDER BY first DESC LIMIT 1";
        let from = first(store, sql, &[segment.into(), after.into()], |row| Ok(row.bytes(0)?.map(<[u8]>::to_vec)))?;
        let from = from.flatten().unwrap_or_else(|| after.to_vec());
        let mut source =
            Self { segment, blocks: Vec::new(), block: 0, cursor: Cursor::default(), last: Some(Vec::new()) };
        source.load(store, ">=", &from)?;
        Ok(source)
    }

    /// Reads blocks whose first keys are `than` this one.
    fn load(&mut self, store: &mut dyn Store, than: &str, key: &[u8]) -> Result<(), LedgerError> {
        let sql = format!(
            "SELECT first, body FROM segment_blocks WHERE segment = $1 AND first {than} $2 ORDER BY first LIMIT $3"
        );
        (self.block, self.cursor, self.last) = (0, Cursor::default(), None);
        let Self { blocks, last, .. } = self;
        blocks.clear();
        let params = [self.segment.into(), key.into(), BLOCKS_READ.into()];
        store.select(&sql, &params, &mut |row| {
            blocks.push(row.bytes(1)?.unwrap_or_default().to_vec());
            *last = Some(row.bytes(0)?.unwrap_or_default().to_vec());
            Ok(())
        })
    }

    /// Puts the next pair into `head`; `false` after the last one.
    fn next(&mut self, store: &mut dyn Store, head: &mut Head) -> Result<bool, LedgerError> {
        loop {
            while let Some(block) = self.blocks.get(self.block) {
                if let Some((key, value)) = self.cursor.next(block)? {
                    head.key.clear();
                    head.key.extend_from_slice(key);
                    head.value.clear();
                    head.value.extend_from_slice(value);
                    return Ok(true);
                }
                self.block += 1;
                self.cursor = Cursor::default();
            }
            let Some(last) = self.last.take() else { return Ok(false) };
            self.load(store, ">", &last)?;
        }
    }
}

/// Pairs of several segments in the order of their keys.
#[derive(Debug)]
pub(crate) struct Ordered {
    sources: Vec<Source>,
    heads: BinaryHeap<Reverse<Head>>,
    /// The key of the pair that was passed last.
    passed: Option<Vec<u8>>,
}

impl Ordered {
    /// Begins with the first key above `after`.
    pub(super) fn over(store: &mut dyn Store, segments: Vec<i64>, after: &[u8]) -> Result<Self, LedgerError> {
        let mut own = Self { sources: Vec::new(), heads: BinaryHeap::new(), passed: None };
        for segment in segments {
            let mut source = Source::open(store, segment, after)?;
            let mut head = Head { source: own.sources.len(), ..Head::default() };
            let mut has_next = source.next(store, &mut head)?;
            while has_next && !after.is_empty() && *head.key <= *after {
                has_next = source.next(store, &mut head)?;
            }
            own.sources.push(source);
            if has_next {
                own.heads.push(Reverse(head));
            }
        }
        Ok(own)
    }

    /// Passes the next pair to `each`; returns whether there was one.
    pub(crate) fn next(&mut self, store: &mut dyn Store, each: &mut dyn FnMut(Pair<'_>)) -> Result<bool, LedgerError> {
        while let Some(mut top) = self.heads.peek_mut() {
            let head = &mut top.0;
            let is_new = self.passed.as_deref() != Some(&*head.key);
            if is_new {
                let passed = self.passed.get_or_insert_default();
                passed.clear();
                passed.extend_from_slice(&head.key);
                each((&head.key, &head.value));
            }
            if !self.sources[head.source].next(store, head)? {
                PeekMut::pop(top);
            }
            if is_new {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
