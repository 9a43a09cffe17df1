//! Merges segments, and removes old ones, a step after each commit.
//!
//! A merge is a row in state `target` with its sources: each step appends the next pairs to it, in a transaction of its own, and
//! the last one makes it `ready`. So a merge of any size delays no commit for long, and goes on after a crash where it was.

use std::collections::BTreeMap;

use domain::model::time::HOUR_MS;

use super::block::{BlockWriter, Cursor};
use super::read::{Ordered, latest_received, oldest_hour};
use super::{Segment, SegmentKind, append, insert, next_id};
use crate::error::LedgerError;
use crate::store::{Dialect, Store, all, first};

/// Number of segments of a level that are merged into one of the next.
const FAN_OUT: usize = 8;
/// Maximum number of segments in one merge; the others have their turn later.
const SOURCES_MAX: usize = 64;
/// Maximum number of pairs that a merge makes a segment of; larger segments stay as they are.
const PAIRS_MAX: u64 = 4_000_000;
/// Number of pairs that a step merges at least: some 30 ms of work.
const STEP_MIN: u64 = 50_000;
/// Number of pairs that a step merges for each that was committed: more than the levels that a pair passes.
const STEP_SHARE: u64 = 6;
/// Maximum number of blocks that a step deletes.
const DROPPED_MAX: i64 = 5_000;
/// Hours after which no answer comes into an hour any more: its segments become one, whatever their levels.
const CLOSED_AFTER: i64 = 2;

/// The merges of one writer.
#[derive(Debug, Default)]
pub(crate) struct Merges {
    /// Commits since it was last looked for segments to merge.
    commits: usize,
    is_busy: bool,
}

/// A step's limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// The facts partitions whose segments are merged.
    pub(crate) owner: u16,
    /// Number of pairs after which it ends.
    pub(crate) pairs: u64,
}

impl Step {
    /// A step after a commit of this number of facts.
    pub(crate) fn after(owner: u16, committed: u64) -> Self {
        Self { owner, pairs: STEP_MIN.max(committed * STEP_SHARE) }
    }
}

impl Merges {
    /// Whether a step is due after a commit.
    pub(crate) fn is_due(&mut self) -> bool {
        self.commits += 1;
        let is_due = self.is_busy || self.commits >= FAN_OUT;
        if is_due {
            self.commits = 0;
        }
        is_due
    }

    /// Whether a merge or a removal is not finished, as far as the writer knows.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Notes whether steps are left.
    pub(crate) fn note(&mut self, is_busy: bool) {
        self.is_busy = is_busy;
    }
}

/// The facts partitions that have segments.
pub(crate) fn owners(store: &mut dyn Store) -> Result<Vec<u16>, LedgerError> {
    all(store, "SELECT DISTINCT owner FROM segments ORDER BY owner", &[], |row| {
        let owner = row.int_of(0)?;
        u16::try_from(owner).map_err(|_| LedgerError::Damaged(format!("segments.owner {owner}")))
    })
}

/// Does one step, within a transaction. Returns whether more are left.
pub(crate) fn step(store: &mut dyn Store, step: Step) -> Result<bool, LedgerError> {
    if !is_locked(store, step.owner)? {
        // Its writer commits just now, and merges itself.
        return Ok(false);
    }
    let latest = latest_received(store)?;
    let now = latest.div_euclid(HOUR_MS);
    expire(store, step.owner, oldest_hour(latest))?;
    let removes = remove(store, step.owner)?;
    if find(store, step.owner, "target")?.is_empty() && !begin(store, step.owner, now)? {
        return Ok(removes);
    }
    go_on(store, step)?;
    Ok(true)
}

/// Locks the owner's row of `progress`, unless another process has locked it.
fn is_locked(store: &mut dyn Store, owner: u16) -> Result<bool, LedgerError> {
    if store.dialect() == Dialect::Sqlite {
        return Ok(true);
    }
    let sql = "SELECT facts FROM progress WHERE facts = $1 FOR UPDATE SKIP LOCKED";
    Ok(first(store, sql, &[i64::from(owner).into()], |row| row.int_of(0))?.is_some())
}

fn find(store: &mut dyn Store, owner: u16, state: &str) -> Result<Vec<Segment>, LedgerError> {
    let sql = "SELECT id, kind, hour, level, pairs FROM segments WHERE owner = $1 AND state = $2 ORDER BY id";
    all(store, sql, &[i64::from(owner).into(), state.into()], |row| {
        let kind = row.text_of(1)?;
        let known = SegmentKind::ALL.into_iter().find(|k| k.as_str() == kind);
        Ok(Segment {
            id: row.int_of(0)?,
            kind: known.ok_or_else(|| LedgerError::Damaged(format!("segments.kind {kind}")))?,
            hour: row.int_of(2)?,
            level: row.int_of(3)?,
            pairs: row.int_of(4)?.cast_unsigned(),
        })
    })
}

/// Takes answers of hours before `oldest` out of the sight of readers.
fn expire(store: &mut dyn Store, owner: u16, oldest: i64) -> Result<(), LedgerError> {
    let sql =
        "UPDATE segments SET state = 'dropped' WHERE owner = $1 AND kind = $2 AND hour < $3 AND state <> 'dropped'";
    store.execute(sql, &[i64::from(owner).into(), SegmentKind::Answers.as_str().into(), oldest.into()])?;
    Ok(())
}

/// Deletes blocks of a dropped segment, and then its row. Returns whether there are more.
fn remove(store: &mut dyn Store, owner: u16) -> Result<bool, LedgerError> {
    let dropped = find(store, owner, "dropped")?;
    let mut left = DROPPED_MAX;
    for segment in &dropped {
        let sql = "DELETE FROM segment_blocks WHERE segment = $1 AND first IN
          (SELECT first FROM segment_blocks WHERE segment = $1 ORDER BY first LIMIT $2)";
        let deleted = store.execute(sql, &[segment.id.into(), left.into()])?;
        left -= deleted.cast_signed();
        if left <= 0 {
            return Ok(true);
        }
        store.execute("DELETE FROM segments WHERE id = $1", &[segment.id.into()])?;
    }
    Ok(false)
}

/// Begins a merge if there are enough segments for one.
fn begin(store: &mut dyn Store, owner: u16, now: i64) -> Result<bool, LedgerError> {
    let ready = find(store, owner, "ready")?;
    let Some(sources) = choose(ready, now) else { return Ok(false) };
    let level = sources.iter().map(|source| source.level).max().unwrap_or(0) + 1;
    let Segment { kind, hour, .. } = sources[0];
    let target = Segment { id: next_id(store, owner)?, kind, hour, level, pairs: 0 };
    insert(store, owner, &target, "target")?;
    for source in sources {
        let sql = "UPDATE segments SET state = 'source', target = $1 WHERE id = $2";
        store.execute(sql, &[target.id.into(), source.id.into()])?;
    }
    Ok(true)
}

/// The segments of the next merge: as many of one level as are merged at a time, or what is left of an hour that has ended.
fn choose(ready: Vec<Segment>, now: i64) -> Option<Vec<Segment>> {
    let mut groups: BTreeMap<(&str, i64, Option<i64>), Vec<Segment>> = BTreeMap::new();
    for segment in ready {
        let is_closed = segment.kind == SegmentKind::Answers && segment.hour <= now - CLOSED_AFTER;
        let level = (!is_closed).then_some(segment.level);
        groups.entry((segment.kind.as_str(), segment.hour, level)).or_default().push(segment);
    }
    groups.into_iter().find_map(|((.., level), mut group)| {
        let least = if level.is_some() { FAN_OUT } else { 2 };
        // The smallest first: the most segments go for the least work.
        group.sort_by_key(|segment| (segment.pairs, segment.id));
        let mut pairs = 0;
        let fits = |segment: &Segment| {
            pairs += segment.pairs;
            pairs <= PAIRS_MAX
        };
        let most = if level.is_some() { FAN_OUT } else { SOURCES_MAX };
        let sources: Vec<Segment> = group.into_iter().take(most).take_while(fits).collect();
        (sources.len() >= least).then_some(sources)
    })
}

/// Appends the next pairs to each merge that has begun.
fn go_on(store: &mut dyn Store, step: Step) -> Result<(), LedgerError> {
    for target in find(store, step.owner, "target")? {
        let sql = "SELECT id FROM segments WHERE target = $1 AND state = 'source' ORDER BY id";
        let sources = all(store, sql, &[target.id.into()], |row| row.int_of(0))?;
        let after = last_key(store, target.id)?;
        let mut ordered = Ordered::over(store, sources, &after)?;
        let mut writer = BlockWriter::default();
        let mut has_more = true;
        while has_more && writer.pairs < step.pairs {
            has_more = ordered.next(store, &mut |pair| writer.push(pair))?;
        }
        append(store, target.id, &writer)?;
        let pairs = (target.pairs + writer.pairs).cast_signed();
        let state = if has_more { "target" } else { "ready" };
        let sql = "UPDATE segments SET pairs = $1, state = $2 WHERE id = $3";
        store.execute(sql, &[pairs.into(), state.into(), target.id.into()])?;
        if !has_more {
            let sql = "UPDATE segments SET state = 'dropped' WHERE target = $1 AND state = 'source'";
            store.execute(sql, &[target.id.into()])?;
        }
    }
    Ok(())
}

/// The last key that a segment has; empty, which no key is, for one without pairs.
fn last_key(store: &mut dyn Store, segment: i64) -> Result<Vec<u8>, LedgerError> {
    let sql = "SELECT body FROM segment_blocks WHERE segment = $1 ORDER BY first DESC LIMIT 1";
    let block = first(store, sql, &[segment.into()], |row| Ok(row.bytes(0)?.unwrap_or_default().to_vec()))?;
    let (mut cursor, mut last) = (Cursor::default(), Vec::new());
    if let Some(block) = &block {
        while let Some((key, _)) = cursor.next(block)? {
            last = key.to_vec();
        }
    }
    Ok(last)
}
