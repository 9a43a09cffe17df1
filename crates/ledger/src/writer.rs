//! The writer: one transaction writes rows, counters and positions, or nothing.
//!
//! The transaction first compares the positions in the database with those that the batch began from. A paused process
//! that wakes up, or a second one on the same facts, changes nothing.

use std::collections::BTreeMap;
use std::path::Path;

use domain::flow::{Guards, Missing, Position, Positions, Stop, Verdict};
use domain::frame::{Frame, FrameError, Kind};
use domain::model::fact::{Fact, Metric, What};
use domain::model::place::{Place, Topic};
use domain::model::time::{DAY_MS, HOUR_MS, Millis};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::batch::Batch;
use crate::schema::{LedgerError, Origin, create, open_to_write};

/// How long answers are kept, by `received` (contract section 9).
pub const ANSWERS_KEEP_MS: i64 = DAY_MS;

/// How the database meets a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A commit is on the disk before it returns.
    Commit,
    /// Only the finished file counts: it is made anew after a crash.
    Rebuild,
}

/// Reads facts partitions into the ledger.
#[derive(Debug)]
pub struct Writer {
    db: Connection,
    chains: BTreeMap<u16, Chain>,
    /// Answers are kept for whoever asks; `run` has nobody who would.
    keeps_answers: bool,
    /// Duplicates that were written since it was opened.
    duplicates: i64,
    /// The hour up to which answers were let go.
    swept: i64,
    /// Whether the positions in the database must be those that the batch began from; off only to show what for.
    pub compare: bool,
}

/// One facts partition.
#[derive(Debug)]
struct Chain {
    /// The offset that must come next.
    next: u64,
    /// Where that was at the last commit.
    written: u64,
    /// The first record that was early, while it has not come again: the stored offset stays at it.
    early: Option<u64>,
    received: Millis,
    positions: Positions,
    batch: Batch,
    /// What the database held when the batch began.
    began: Stored,
}

/// Positions as the database holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stored {
    next: u64,
    received: Millis,
    positions: BTreeMap<(Topic, u16), Position>,
}

impl Writer {
    /// Creates the ledger of a `run` in a new file.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(file: &Path, facts: impl IntoIterator<Item = u16>) -> Result<Self, LedgerError> {
        let db = Connection::open(file)?;
        create(&db, Origin::Run)?;
        Self::over(db, Durability::Rebuild, facts)
    }

    /// Goes on with the ledger of a service where its positions are, or makes a new one.
    ///
    /// # Errors
    /// As [`open_to_write`].
    pub fn open(file: &Path, facts: impl IntoIterator<Item = u16>) -> Result<Self, LedgerError> {
        Self::over(open_to_write(file)?, Durability::Commit, facts)
    }

    /// Goes on with a ledger where its positions are.
    ///
    /// # Errors
    /// The database refuses.
    pub fn over(
        db: Connection,
        durability: Durability,
        facts: impl IntoIterator<Item = u16>,
    ) -> Result<Self, LedgerError> {
        let (journal, synchronous) = match durability {
            Durability::Commit => ("WAL", "FULL"),
            Durability::Rebuild => ("MEMORY", "OFF"),
        };
        db.pragma_update(None, "journal_mode", journal)?;
        db.pragma_update(None, "synchronous", synchronous)?;
        db.set_prepared_statement_cache_capacity(32);
        let chains = facts.into_iter().map(|facts| Ok((facts, Chain::over(&db, facts)?)));
        Ok(Self {
            chains: chains.collect::<Result<_, LedgerError>>()?,
            db,
            keeps_answers: durability == Durability::Commit,
            duplicates: 0,
            swept: i64::MIN,
            compare: true,
        })
    }

    /// The facts partitions that it reads.
    pub fn partitions(&self) -> impl Iterator<Item = u16> {
        self.chains.keys().copied()
    }

    /// The offset of a facts partition that must come next.
    #[must_use]
    pub fn next_offset(&self, facts: u16) -> u64 {
        self.chains.get(&facts).map_or(0, |chain| chain.next)
    }

    /// The offset of a facts partition up to which everything is in the database.
    #[must_use]
    pub fn committed(&self, facts: u16) -> u64 {
        self.chains.get(&facts).map_or(0, |chain| chain.began.next)
    }

    /// The logs that it has read.
    pub fn logs(&self) -> impl Iterator<Item = (Topic, u128)> {
        let positions = self.chains.values().flat_map(|chain| chain.began.positions.iter());
        positions.map(|((topic, _), position)| (*topic, position.log))
    }

    /// Facts that wait for the next transaction.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.chains.values().map(|chain| chain.batch.facts()).sum()
    }

    /// Duplicates that were written since it was opened.
    #[must_use]
    pub fn duplicates(&self) -> i64 {
        self.duplicates
    }

    /// Whether there is something to commit.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.chains.values().any(Chain::is_dirty)
    }

    /// Frames that came before one that they follow; an alarm if nothing more is to be read.
    pub fn missing(&self) -> impl Iterator<Item = Missing> {
        self.chains.values().flat_map(|chain| chain.positions.missing())
    }

    /// Switches safeguards off, in tests that show what each is for.
    pub fn set_guards(&mut self, guards: Guards) {
        for chain in self.chains.values_mut() {
            chain.positions.guards = guards;
        }
    }

    /// Takes the record at an offset of a facts partition.
    ///
    /// # Errors
    /// The record does not follow, or is no frame of facts. The writer must then be thrown away.
    ///
    /// # Panics
    /// If the partition is none of [`Writer::partitions`].
    pub fn apply(&mut self, facts: u16, offset: u64, record: &[u8]) -> Result<Verdict, LedgerError> {
        let keeps_answers = self.keeps_answers;
        let chain = self.chains.get_mut(&facts).expect("one of the partitions that the writer was opened for");
        chain.apply(facts, offset, record, keeps_answers)
    }

    /// Writes what was taken since the last commit.
    ///
    /// # Errors
    /// [`LedgerError::Moved`] if another writer went on from where this one began; nothing is changed then. If the database
    /// refuses, nothing is changed either, and the same commit may be tried again.
    pub fn commit(&mut self) -> Result<(), LedgerError> {
        let tx = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        let mut written = Vec::new();
        for (&facts, chain) in self.chains.iter().filter(|(_, chain)| chain.is_dirty()) {
            if self.compare && stored(&tx, facts)? != chain.began {
                return Err(LedgerError::Moved);
            }
            written.push((facts, chain.write(facts, &tx)?));
        }
        let received = self.chains.values().map(|chain| chain.received).max().unwrap_or(0);
        let oldest = (received - ANSWERS_KEEP_MS).div_euclid(HOUR_MS);
        if self.keeps_answers && oldest > self.swept {
            tx.execute("DELETE FROM answers WHERE hour < ?1", [oldest])?;
        }
        tx.commit()?;
        self.swept = self.swept.max(oldest);
        for (facts, now) in written {
            if let Some(chain) = self.chains.get_mut(&facts) {
                self.duplicates += chain.batch.duplicates();
                chain.batch = Batch::default();
                chain.began = now;
                chain.written = chain.next;
            }
        }
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

    /// Ends with a last commit; all of it is in the one file then, unless somebody reads an older state of it.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn close(mut self) -> Result<(), LedgerError> {
        self.commit()?;
        self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(self.db.close().map_err(|(_, error)| error)?)
    }
}

impl Chain {
    fn over(db: &Connection, facts: u16) -> Result<Self, LedgerError> {
        let stored = stored(db, facts)?;
        let mut positions = Positions::default();
        for (&(topic, partition), &position) in &stored.positions {
            positions.restore(topic, partition, position);
        }
        Ok(Self {
            next: stored.next,
            written: stored.next,
            early: None,
            received: stored.received,
            positions,
            batch: Batch::default(),
            began: stored,
        })
    }

    fn is_dirty(&self) -> bool {
        self.next != self.written
    }

    fn apply(&mut self, facts: u16, offset: u64, record: &[u8], keeps_answers: bool) -> Result<Verdict, LedgerError> {
        let partition = || format!("facts partition {facts}");
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
                let fact = fact.map_err(broken)?;
                if keeps_answers || !matches!(fact.what, What::Answer(_)) {
                    self.batch.add(&fact)?;
                }
            }
            self.received = self.received.max(frame.received);
        }
        self.next = offset + 1;
        self.early = self.positions.missing().next().map(|_| self.early.unwrap_or(offset));
        Ok(verdict)
    }

    /// Writes the batch and how far it goes.
    fn write(&self, facts: u16, tx: &Transaction<'_>) -> rusqlite::Result<Stored> {
        self.batch.write(facts, tx)?;
        let mut now =
            Stored { next: self.early.unwrap_or(self.next), received: self.received, positions: BTreeMap::new() };
        for (topic, partition, position) in self.positions.iter() {
            now.positions.insert((topic, partition), *position);
            let Position { log, at: Place { offset, part }, hash } = position;
            tx.prepare_cached("INSERT OR REPLACE INTO positions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(
                params![
                    facts,
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
            facts,
            now.next.cast_signed(),
            self.received
        ])?;
        Ok(now)
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
