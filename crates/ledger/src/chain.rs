//! One facts partition on its way into the ledger: its next offset, its waiting batches, and its stored positions.

use std::collections::BTreeMap;

use domain::frame::{FrameError, Frames, Kind, stored_checksum};
use domain::model::address::{AnswerPos, Topic, TopicPartition};
use domain::model::fact::{Fact, What};
use domain::model::time::Millis;
use domain::protocol::error::Unexpected;
use domain::protocol::positions::{Admission, Position, Positions, ProtocolError};

use crate::batch::Batch;
use crate::error::LedgerError;
use crate::store::{Dialect, Insert, Store, Type, Value};

const POSITIONS: Insert = Insert {
    table: "positions",
    columns: &[
        ("facts", Type::Int),
        ("topic", Type::Text),
        ("partition", Type::Int),
        ("log", Type::Text),
        ("place", Type::Int),
        ("part", Type::Int),
        ("hash", Type::Text),
    ],
    conflict: "ON CONFLICT(facts, topic, partition) DO UPDATE SET log = excluded.log, place = excluded.place,
      part = excluded.part, hash = excluded.hash",
};
const PROGRESS: Insert = Insert {
    table: "progress",
    columns: &[("facts", Type::Int), ("next", Type::Int), ("received", Type::Int), ("checksum", Type::Int)],
    conflict: "ON CONFLICT(facts) DO UPDATE SET next = excluded.next, received = excluded.received,
      checksum = excluded.checksum",
};

/// The positions that the database holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) next: u64,
    pub(crate) received: Millis,
    /// Checksum of the record before `next`; none before the first, and where an older build wrote the position.
    pub(crate) checksum: Option<u32>,
    pub(crate) positions: BTreeMap<TopicPartition, Position>,
}

/// A batch that is being committed. It does not change until the commit has succeeded.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) batch: Batch,
    /// The positions that the database holds after the commit.
    pub(crate) now: Stored,
    /// Whether a COMMIT was sent that had no answer yet: the database may hold the batch.
    pub(crate) is_sent: bool,
}

/// One facts partition.
#[derive(Debug)]
pub(crate) struct Chain {
    /// The next offset.
    pub(crate) next: u64,
    /// The next offset at the time of the last sealing.
    sealed_at: u64,
    /// Checksum of the record before it.
    checksum: Option<u32>,
    /// Whether that record is still to be read again and compared.
    is_unchecked: bool,
    /// The first record that arrived before its predecessor, and the checksum of the record before it. The stored offset stays at it
    /// until the record arrives again.
    early: Option<(u64, Option<u32>)>,
    pub(crate) received: Millis,
    pub(crate) positions: Positions,
    batch: Batch,
    pub(crate) sealed: Option<Sealed>,
    /// The positions that the database held when the batch began.
    pub(crate) began: Stored,
}

impl Chain {
    /// Begins at the stored positions.
    pub(crate) fn over(stored: Stored) -> Self {
        let mut positions = Positions::default();
        for (&source, &position) in &stored.positions {
            positions.restore(source, position);
        }
        Self {
            next: stored.next,
            sealed_at: stored.next,
            checksum: stored.checksum,
            is_unchecked: stored.checksum.is_some(),
            early: None,
            received: stored.received,
            positions,
            batch: Batch::default(),
            sealed: None,
            began: stored,
        }
    }

    /// Whether records wait for a commit.
    pub(crate) fn is_dirty(&self) -> bool {
        self.next != self.sealed_at || self.sealed.is_some()
    }

    /// See `Writer::first_wanted`.
    pub(crate) fn first_wanted(&self) -> u64 {
        self.next - u64::from(self.is_unchecked)
    }

    /// The number of facts that wait for a commit.
    pub(crate) fn pending(&self) -> usize {
        self.batch.facts() + self.sealed.as_ref().map_or(0, |sealed| sealed.batch.facts())
    }

    /// Adds the record at an offset.
    pub(crate) fn apply(
        &mut self,
        facts: u16,
        offset: u64,
        record: &[u8],
        keeps_answers: bool,
    ) -> Result<Admission, LedgerError> {
        let partition = || format!("facts partition {facts}");
        if offset < self.next {
            let is_last = offset + 1 == self.next;
            if is_last && self.checksum.is_some_and(|checksum| checksum != stored_checksum(record)) {
                return Err(ProtocolError::Rewritten { partition: partition(), offset }.into());
            }
            self.is_unchecked &= !is_last;
            return Ok(Admission::Drop);
        }
        self.is_unchecked = false;
        if offset > self.next {
            return Err(ProtocolError::Offset { partition: partition(), expected: self.next, found: offset }.into());
        }
        let broken = |error: FrameError| ProtocolError::Frame { to: partition(), offset, error };
        let frames = Frames::open(record).map_err(broken)?;
        let is_bundle = frames.is_bundle();
        let (mut first, mut admitted) = (0, Admission::Drop);
        for (number, frame) in (0..).zip(frames) {
            if frame.kind == Kind::Genesis {
                (self.next, self.checksum) = (offset + 1, Some(stored_checksum(record)));
                return Ok(Admission::Apply);
            }
            let (Some(tag), Kind::Facts) = (&frame.tag, frame.kind) else {
                let what = Box::new(Unexpected::NoFacts(frame.kind));
                return Err(ProtocolError::Unexpected { partition: partition(), offset, what }.into());
            };
            // Every frame counts: a record that is read again gives its facts the same numbers, whatever is dropped of it.
            let items = first..;
            first += i64::from(frame.count);
            let admission = self.positions.admit(&frame, tag)?;
            if admission != Admission::Apply {
                admitted = if admitted == Admission::Drop { admission } else { admitted };
                continue;
            }
            for (item, fact) in items.zip(frame.items::<Fact<'_>>()) {
                let fact = fact.map_err(|error| broken(if is_bundle { error.in_bundle(number) } else { error }))?;
                if keeps_answers || !matches!(fact.what, What::Answer(_) | What::Granted { .. }) {
                    self.batch.add(&fact, (offset, item));
                }
            }
            self.received = self.received.max(frame.received);
            admitted = Admission::Apply;
        }
        self.early = self.positions.missing().next().map(|_| self.early.unwrap_or((offset, self.checksum)));
        (self.next, self.checksum) = (offset + 1, Some(stored_checksum(record)));
        Ok(admitted)
    }

    /// Closes the batch, unless an earlier one is still being committed.
    pub(crate) fn seal(&mut self) {
        if self.sealed.is_some() || self.next == self.sealed_at {
            return;
        }
        let positions = self.positions.iter().map(|(source, position)| (source, *position));
        let (next, checksum) = self.early.unwrap_or((self.next, self.checksum));
        let now = Stored { next, received: self.received, checksum, positions: positions.collect() };
        self.sealed = Some(Sealed { batch: std::mem::take(&mut self.batch), now, is_sent: false });
        self.sealed_at = self.next;
    }

    /// Notes that the database holds the sealed batch; returns the number of duplicates in it.
    pub(crate) fn settle(&mut self) -> i64 {
        let Some(sealed) = self.sealed.take() else { return 0 };
        self.began = sealed.now;
        sealed.batch.duplicates()
    }
}

impl Stored {
    /// Reads the positions of partitions, in ascending order. For a change it first locks their rows in that order, so an earlier
    /// writer has finished.
    pub(crate) fn read(
        store: &mut dyn Store,
        facts: &[u16],
        to_change: bool,
    ) -> Result<BTreeMap<u16, Self>, LedgerError> {
        let list = facts.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let lock = if to_change && store.dialect() == Dialect::Postgres { "FOR UPDATE" } else { "" };
        let mut all: BTreeMap<u16, Self> = facts.iter().map(|&facts| (facts, Self::default())).collect();
        let sql = format!(
            "SELECT facts, next, received, checksum FROM progress WHERE facts IN ({list}) ORDER BY facts {lock}"
        );
        store.select(&sql, &[], &mut |row| {
            let stored = all.entry(narrow(row.int_of(0)?, "progress.facts")?).or_default();
            (stored.next, stored.received) = (row.int_of(1)?.cast_unsigned(), row.int_of(2)?);
            let checksum = row.int(3)?.map(u32::try_from).transpose();
            stored.checksum = checksum.map_err(|_| LedgerError::Damaged("progress.checksum".to_owned()))?;
            Ok(())
        })?;
        let sql =
            format!("SELECT facts, topic, partition, log, place, part, hash FROM positions WHERE facts IN ({list})");
        store.select(&sql, &[], &mut |row| {
            let bad = |what: &str| LedgerError::Damaged(format!("positions.{what}"));
            let topic = Topic::parse(row.text_of(1)?).ok_or_else(|| bad("topic"))?;
            let log = u128::from_str_radix(row.text_of(3)?, 16).map_err(|_| bad("log"))?;
            let hash = u64::from_str_radix(row.text_of(6)?, 16).map_err(|_| bad("hash"))?;
            let at =
                AnswerPos { offset: row.int_of(4)?.cast_unsigned(), part: narrow(row.int_of(5)?, "positions.part")? };
            let source = TopicPartition::new(topic, narrow(row.int_of(2)?, "positions.partition")?);
            let stored = all.entry(narrow(row.int_of(0)?, "positions.facts")?).or_default();
            stored.positions.insert(source, Position { log, at, hash });
            Ok(())
        })?;
        Ok(all)
    }

    /// Writes the positions of partitions, in ascending order.
    pub(crate) fn write(store: &mut dyn Store, all: &[(u16, &Self)]) -> Result<(), LedgerError> {
        store.insert(&POSITIONS, &mut |rows| {
            for &(facts, stored) in all {
                for (&TopicPartition { topic, partition }, &Position { log, at, hash }) in &stored.positions {
                    rows.put(&[
                        i64::from(facts).into(),
                        topic.as_str().into(),
                        i64::from(partition).into(),
                        Value::Text(&format!("{log:032x}")),
                        at.offset.cast_signed().into(),
                        i64::from(at.part).into(),
                        Value::Text(&format!("{hash:016x}")),
                    ])?;
                }
            }
            Ok(())
        })?;
        store.insert(&PROGRESS, &mut |rows| {
            for &(facts, stored) in all {
                rows.put(&[
                    i64::from(facts).into(),
                    stored.next.cast_signed().into(),
                    stored.received.into(),
                    stored.checksum.map_or(Value::Null, |checksum| i64::from(checksum).into()),
                ])?;
            }
            Ok(())
        })
    }

    /// Creates the row that the partition's writer locks, if it is missing.
    pub(crate) fn make(store: &mut dyn Store, facts: u16) -> Result<(), LedgerError> {
        let sql = "INSERT INTO progress(facts, next, received) VALUES ($1, 0, 0) ON CONFLICT(facts) DO NOTHING";
        store.execute(sql, &[i64::from(facts).into()]).map(drop)
    }
}

fn narrow(int: i64, what: &str) -> Result<u16, LedgerError> {
    u16::try_from(int).map_err(|_| LedgerError::Damaged(format!("{what} {int}")))
}
