//! The writer: one transaction writes rows, counters and positions, or nothing.
//!
//! The transaction first compares the positions in the database with those that the batch began from. A paused process
//! that wakes up, or a second one on the same facts, changes nothing.

use std::collections::BTreeMap;
use std::path::Path;

use domain::flow::{Position, Positions, Stop, Verdict};
use domain::frame::{Frame, FrameError, Kind};
use domain::model::fact::{Fact, Metric};
use domain::model::place::{Place, Topic};
use domain::model::time::Millis;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::batch::Batch;
use crate::schema::{LedgerError, Origin, create};

/// How the database meets a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A commit is on the disk before it returns.
    Commit,
    /// Only the finished file counts: it is made anew after a crash.
    Rebuild,
}

/// Reads one facts partition into the ledger.
#[derive(Debug)]
pub struct Writer {
    db: Connection,
    facts: u16,
    /// The offset that must come next.
    next: u64,
    received: Millis,
    pub positions: Positions,
    batch: Batch,
    /// What the database held when the batch began.
    began: Stored,
    /// Whether the positions in the database must be those that the batch began from; off only to show what for.
    pub compare: bool,
}

/// Positions as the database holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stored {
    next: u64,
    received: Millis,
    positions: BTreeMap<(Topic, u16), Position>,
}

impl Writer {
    /// Creates a ledger in a new file.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(file: &Path, origin: Origin, durability: Durability, facts: u16) -> Result<Self, LedgerError> {
        let db = Connection::open(file)?;
        create(&db, origin)?;
        Self::over(db, durability, facts)
    }

    /// Goes on with a ledger where its positions are.
    ///
    /// # Errors
    /// The database refuses.
    pub fn over(db: Connection, durability: Durability, facts: u16) -> Result<Self, LedgerError> {
        let (journal, synchronous) = match durability {
            Durability::Commit => ("WAL", "FULL"),
            Durability::Rebuild => ("MEMORY", "OFF"),
        };
        db.pragma_update(None, "journal_mode", journal)?;
        db.pragma_update(None, "synchronous", synchronous)?;
        db.set_prepared_statement_cache_capacity(32);
        let stored = stored(&db, facts)?;
        let mut positions = Positions::default();
        for (&(topic, partition), &position) in &stored.positions {
            positions.restore(topic, partition, position);
        }
        Ok(Self {
            db,
            facts,
            next: stored.next,
            received: stored.received,
            positions,
            batch: Batch::default(),
            began: stored,
            compare: true,
        })
    }

    /// The offset of the facts partition that must come next.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// Facts that wait for the next transaction.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.batch.facts()
    }

    /// Takes the record at an offset of the facts partition.
    ///
    /// # Errors
    /// The record does not follow, or is no frame of facts. The writer must then be thrown away.
    pub fn apply(&mut self, offset: u64, record: &[u8]) -> Result<Verdict, LedgerError> {
        let partition = || format!("facts partition {}", self.facts);
        if offset < self.next {
            return Ok(Verdict::Drop);
        }
        if offset > self.next {
            return Err(Stop::Offset { partition: partition(), expected: self.next, found: offset }.into());
        }
        let broken = |error: FrameError| Stop::Frame { to: partition(), offset, error };
        let frame = Frame::open(record).map_err(broken)?;
        let (Some(tag), Kind::Facts) = (&frame.tag, frame.kind) else {
            let what = format!("a frame of {:?} has no place in facts", frame.kind);
            return Err(Stop::Unexpected { partition: partition(), offset, what }.into());
        };
        let verdict = self.positions.admit(&frame, tag)?;
        if verdict == Verdict::Apply {
            for fact in frame.items::<Fact<'_>>() {
                self.batch.add(&fact.map_err(broken)?)?;
            }
            self.received = self.received.max(frame.received);
        }
        self.next = offset + 1;
        Ok(verdict)
    }

    /// Writes what was taken since the last commit.
    ///
    /// # Errors
    /// [`LedgerError::Moved`] if another writer went on from where this one began; nothing is changed then. If the database
    /// refuses, nothing is changed either, and the same commit may be tried again.
    pub fn commit(&mut self) -> Result<(), LedgerError> {
        let tx = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        if self.compare && stored(&tx, self.facts)? != self.began {
            return Err(LedgerError::Moved);
        }
        self.batch.write(self.facts, &tx)?;
        let mut now = Stored { next: self.next, received: self.received, positions: BTreeMap::new() };
        for (topic, partition, position) in self.positions.iter() {
            now.positions.insert((topic, partition), *position);
            let Position { log, at: Place { offset, part }, hash } = position;
            tx.prepare_cached("INSERT OR REPLACE INTO positions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(
                params![
                    self.facts,
                    topic.as_str(),
                    partition,
                    format!("{log:032x}"),
                    offset.cast_signed(),
                    part,
                    format!("{hash:016x}")
                ],
            )?;
        }
        tx.prepare_cached("INSERT OR REPLACE INTO progress VALUES (?1, ?2, ?3)")?.execute(params![
            self.facts,
            self.next.cast_signed(),
            self.received
        ])?;
        tx.commit()?;
        self.batch = Batch::default();
        self.began = now;
        Ok(())
    }

    /// The sum of a metric over all merchants and days, as of the last commit.
    ///
    /// # Errors
    /// The database refuses.
    pub fn sum(&self, metric: Metric) -> Result<i64, LedgerError> {
        let sql = "SELECT COALESCE(SUM(value), 0) FROM counters WHERE scope = 'merchant' AND metric = ?1";
        Ok(self.db.query_row(sql, [metric.as_str()], |row| row.get(0))?)
    }

    /// Ends with a last commit.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn close(mut self) -> Result<(), LedgerError> {
        self.commit()?;
        Ok(self.db.close().map_err(|(_, error)| error)?)
    }
}

fn stored(db: &Connection, facts: u16) -> Result<Stored, LedgerError> {
    let mut found = Stored::default();
    let progress = db.prepare_cached("SELECT next, received FROM progress WHERE facts = ?1")?;
    let row = { progress }.query_row([facts], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?))).optional()?;
    if let Some((next, received)) = row {
        (found.next, found.received) = (next.cast_unsigned(), received);
    }
    let mut select =
        db.prepare_cached("SELECT topic, partition, log, place, part, hash FROM positions WHERE facts = ?1")?;
    let mut rows = select.query([facts])?;
    while let Some(row) = rows.next()? {
        let text = |at: usize| row.get::<_, String>(at);
        let bad = |what: &str| rusqlite::Error::InvalidColumnName(format!("positions.{what}"));
        let topic = Topic::parse(&text(0)?).ok_or_else(|| bad("topic"))?;
        let log = u128::from_str_radix(&text(2)?, 16).map_err(|_| bad("log"))?;
        let hash = u64::from_str_radix(&text(5)?, 16).map_err(|_| bad("hash"))?;
        let at = Place { offset: row.get::<_, i64>(3)?.cast_unsigned(), part: row.get(4)? };
        found.positions.insert((topic, row.get(1)?), Position { log, at, hash });
    }
    Ok(found)
}
