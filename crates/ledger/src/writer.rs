//! The writer: it writes rows, counters and positions in one transaction, or nothing.
//!
//! The transaction first compares the positions in the database with those that the batch began from. So a process that wakes
//! after a pause, or a second process on the same facts, changes nothing. Several writers share a ledger, each with its own
//! facts partitions. A partition may move to another writer, which continues from the positions in the database.
//!
//! The calls of a writer block: use it on threads that may block, never on those of an asynchronous runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use domain::model::address::Topic;
use domain::model::fact::Metric;
use domain::protocol::positions::{Admission, Missing, Positions};
use rusqlite::Connection;

use crate::batch::{Batch, write as tables};
use crate::chain::{Chain, Sealed, Stored};
use crate::error::LedgerError;
use crate::schema::{BUSY_TIMEOUT, Origin, check_unchanged, create, open_to_write};
use crate::segments::merge::{self, Merges, Step};
use crate::store::sqlite::Sqlite;
use crate::store::sums::{SUM, total};
use crate::store::{Dialect, Store, TransactionKind, first, transaction};
use crate::url::LedgerUrl;

/// Wait before SQLite is tried again while another connection opens the file.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Memory for pages of SQLite, KiB: with less, pages are read again for each transaction as soon as the ledger is larger than it.
const CACHE_KIB: u32 = 64 * 1024;
/// Size of the write-ahead log from which on its pages are copied into the file, pages of 4 KiB. A page that many transactions
/// change is copied once.
const CHECKPOINT_PAGES: u32 = 4 * 1024;

/// How much SQLite keeps in a crash. Postgres always works as with `Commit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A commit is durable before it returns.
    Commit,
    /// Only the finished file is durable; after a crash it is built again.
    Rebuild,
}

impl Durability {
    fn set(self, store: &mut dyn Store) -> Result<(), LedgerError> {
        let pragmas = match self {
            Self::Commit => "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
            Self::Rebuild => "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF",
        };
        let pragmas =
            format!("{pragmas}; PRAGMA cache_size = -{CACHE_KIB}; PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}");
        // SQLite does not wait by itself while another connection opens the same new file.
        let until = Instant::now() + BUSY_TIMEOUT;
        loop {
            match store.batch(&pragmas) {
                Err(error) if error.is_passing() && Instant::now() < until => std::thread::sleep(BUSY_PAUSE),
                done => return done,
            }
        }
    }
}

/// Writes facts partitions into the ledger.
#[derive(Debug)]
pub struct Writer {
    store: Box<dyn Store>,
    /// The address of the ledger, for messages.
    at: String,
    chains: BTreeMap<u16, Chain>,
    /// Whether answers are kept for later queries; `run` has no such queries.
    keeps_answers: bool,
    /// Duplicates that were written since the writer was opened.
    duplicates: i64,
    merges: Merges,
}

impl Writer {
    /// Creates the ledger of a `run` in a new file.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(file: &Path, facts: impl IntoIterator<Item = u16>) -> Result<Self, LedgerError> {
        let db = Connection::open(file)?;
        create(&db, Origin::Run)?;
        Self::over(db, Durability::Rebuild, facts)
    }

    /// Opens the ledger of a service at its stored positions. An empty database becomes a new ledger, and an older ledger is
    /// upgraded.
    ///
    /// # Errors
    /// The database holds something else, a ledger of `run`, or a ledger of a newer schema; or it cannot be reached.
    pub fn open(url: &LedgerUrl, facts: impl IntoIterator<Item = u16>) -> Result<Self, LedgerError> {
        let store = open_to_write(url)?;
        Self::new(store, url.to_string(), Durability::Commit)?.with(facts)
    }

    /// Opens a ledger over a connection to SQLite, at its stored positions.
    ///
    /// # Errors
    /// The database fails.
    pub fn over(
        db: Connection,
        durability: Durability,
        facts: impl IntoIterator<Item = u16>,
    ) -> Result<Self, LedgerError> {
        let at = db.path().unwrap_or("in memory").to_owned();
        Self::new(Box::new(Sqlite::new(db)), at, durability)?.with(facts)
    }

    fn new(mut store: Box<dyn Store>, at: String, durability: Durability) -> Result<Self, LedgerError> {
        if store.dialect() == Dialect::Sqlite {
            durability.set(store.as_mut())?;
        }
        Ok(Self {
            store,
            at,
            chains: BTreeMap::new(),
            keeps_answers: durability == Durability::Commit,
            duplicates: 0,
            merges: Merges::default(),
        })
    }

    fn with(mut self, facts: impl IntoIterator<Item = u16>) -> Result<Self, LedgerError> {
        facts.into_iter().try_for_each(|facts| self.adopt(facts))?;
        Ok(self)
    }

    /// Begins a facts partition at its stored positions. If the writer had the partition before, facts that were not committed are
    /// dropped.
    ///
    /// # Errors
    /// The database fails.
    pub fn adopt(&mut self, facts: u16) -> Result<(), LedgerError> {
        if self.store.dialect() == Dialect::Postgres {
            Stored::make(self.store.as_mut(), facts)?;
        }
        // One transaction reads the offset and the positions: the partition's earlier writer may be committing.
        let read = |store: &mut dyn Store| Stored::read(store, &[facts], true);
        let stored = if self.store.dialect() == Dialect::Postgres {
            transaction(self.store.as_mut(), TransactionKind::Write, read)?
        } else {
            crate::store::reading(self.store.as_mut(), read)?
        };
        let stored = stored.into_values().next().unwrap_or_default();
        self.chains.insert(facts, Chain::over(stored));
        Ok(())
    }

    /// Gives up a facts partition. Facts that were not committed are dropped; the partition's next writer reads them again.
    pub fn release(&mut self, facts: u16) {
        self.chains.remove(&facts);
    }

    /// The facts partitions that the writer has.
    pub fn partitions(&self) -> impl Iterator<Item = u16> {
        self.chains.keys().copied()
    }

    /// The next offset of a facts partition.
    #[must_use]
    pub fn next_offset(&self, facts: u16) -> u64 {
        self.chains.get(&facts).map_or(0, |chain| chain.next)
    }

    /// The first offset that it wants of a facts partition: that of the last record that the database has, to compare it, if it is
    /// known, or else the next one. It may be left out if the log no longer has it.
    #[must_use]
    pub fn first_wanted(&self, facts: u16) -> u64 {
        self.chains.get(&facts).map_or(0, Chain::first_wanted)
    }

    /// The offset of a facts partition before which the database holds all facts.
    #[must_use]
    pub fn committed(&self, facts: u16) -> u64 {
        self.chains.get(&facts).map_or(0, |chain| chain.began.next)
    }

    /// The ids of the logs that the ledger was written from.
    pub fn logs(&self) -> impl Iterator<Item = (Topic, u128)> {
        let positions = self.chains.values().flat_map(|chain| chain.began.positions.iter());
        positions.map(|(source, position)| (source.topic, position.log))
    }

    /// The number of facts that wait for the next transaction.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.chains.values().map(Chain::pending).sum()
    }

    /// The number of duplicates that were written since the writer was opened.
    #[must_use]
    pub fn duplicates(&self) -> i64 {
        self.duplicates
    }

    /// Whether records wait for a commit.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.chains.values().any(Chain::is_dirty)
    }

    /// Frames that arrived before their predecessors; an alarm if the facts partition has no more records.
    pub fn missing(&self) -> impl Iterator<Item = Missing> {
        self.partitions().flat_map(|facts| self.positions(facts).missing())
    }

    /// The last frames that a facts partition has of its sources, including those that wait for a commit.
    ///
    /// # Panics
    /// If the partition is not one of [`Writer::partitions`].
    #[must_use]
    pub fn positions(&self, facts: u16) -> &Positions {
        &self.chains[&facts].positions
    }

    /// Adds the record at an offset of a facts partition.
    ///
    /// # Errors
    /// The record is not the next one, or is no frame of facts, or is another than the one that was added at its offset. The caller must then drop the writer.
    ///
    /// # Panics
    /// If the partition is not one of [`Writer::partitions`].
    pub fn apply(&mut self, facts: u16, offset: u64, record: &[u8]) -> Result<Admission, LedgerError> {
        let keeps_answers = self.keeps_answers;
        let chain = self.chains.get_mut(&facts).expect("one of the writer's partitions");
        chain.apply(facts, offset, record, keeps_answers)
    }

    /// Writes the records that were added since the last commit.
    ///
    /// # Errors
    /// [`LedgerError::Moved`] if another writer has committed to a partition since this batch began. Nothing is changed then, and
    /// the caller must [release](Writer::release) or [adopt](Writer::adopt) that partition before the next commit. If the database
    /// fails or is out of reach, the caller may try the same commit again, and may add records meanwhile; the writer connects again
    /// if it must. A batch whose COMMIT had no answer counts as written if its positions are found.
    pub fn commit(&mut self) -> Result<(), LedgerError> {
        let committed = self.pending() as u64;
        while self.is_dirty() {
            // The batch of a failed commit goes first, unchanged; later records go in a transaction of their own.
            self.chains.values_mut().for_each(Chain::seal);
            self.write_sealed()?;
        }
        self.merge(committed)
    }

    fn write_sealed(&mut self) -> Result<(), LedgerError> {
        let store = self.store.as_mut();
        store.begin(TransactionKind::Write)?;
        if let Err(error) = write(store, &self.chains, &self.at) {
            store.rollback();
            return Err(error);
        }
        // From here on only the answer shows whether the batch is committed.
        for sealed in self.chains.values_mut().filter_map(|chain| chain.sealed.as_mut()) {
            sealed.is_sent = true;
        }
        if let Err(error) = store.commit() {
            store.rollback();
            return Err(error);
        }
        self.duplicates += self.chains.values_mut().map(Chain::settle).sum::<i64>();
        Ok(())
    }

    /// Merges segments after a commit, if that is due. What fails and may pass is tried again after a later commit.
    fn merge(&mut self, committed: u64) -> Result<(), LedgerError> {
        if !self.merges.is_due() {
            return Ok(());
        }
        match self.merge_step(committed) {
            Err(error) if error.is_passing() => Ok(()),
            done => done,
        }
    }

    /// Merges segments of the writer's partitions, and removes old answers among them: one step for each, in a transaction of its
    /// own.
    fn merge_step(&mut self, committed: u64) -> Result<(), LedgerError> {
        self.merges.note(true);
        let mut is_busy = false;
        for owner in merge::owners(self.store.as_mut())? {
            if self.chains.contains_key(&owner) {
                let at = &self.at;
                is_busy |= transaction(self.store.as_mut(), TransactionKind::Write, |store| {
                    check_unchanged(store, at)?;
                    merge::step(store, Step::after(owner, committed))
                })?;
            }
        }
        self.merges.note(is_busy);
        Ok(())
    }

    /// The sum of a metric over all merchants and days, as of the last commit.
    ///
    /// # Errors
    /// The database fails.
    pub fn sum(&mut self, metric: Metric) -> Result<i128, LedgerError> {
        let sql = format!("SELECT {SUM} FROM counters WHERE scope = 'merchant' AND metric = $1");
        let sum = first(self.store.as_mut(), &sql, &[metric.as_str().into()], |row| total(row, 0))?;
        Ok(sum.unwrap_or_default())
    }

    /// Commits a last time and closes the database; of a `run`, merges that have begun are finished first. SQLite then has all of it in
    /// one file, unless another connection still reads an older state.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn close(mut self) -> Result<(), LedgerError> {
        self.commit()?;
        while !self.keeps_answers && self.merges.is_busy() {
            self.merge_step(0)?;
        }
        self.store.close()
    }
}

/// Within a transaction, compares positions and writes the batches that the database does not hold yet.
fn write(store: &mut dyn Store, chains: &BTreeMap<u16, Chain>, at: &str) -> Result<(), LedgerError> {
    let sealed: Vec<(u16, &Chain, &Sealed)> =
        chains.iter().filter_map(|(&facts, chain)| Some((facts, chain, chain.sealed.as_ref()?))).collect();
    // The first partition of the writer owns its segments, so that all of them are merged together; its row is locked too.
    let owner = *chains.keys().next().expect("a writer that commits has partitions");
    let facts: BTreeSet<u16> = sealed.iter().map(|(facts, ..)| *facts).chain([owner]).collect();
    let stored = Stored::read(store, &Vec::from_iter(facts), true)?;
    check_unchanged(store, at)?;
    let mut batches: Vec<(u16, &Batch)> = Vec::new();
    let mut positions: Vec<(u16, &Stored)> = Vec::new();
    for (facts, chain, sealed) in sealed {
        let found = &stored[&facts];
        if *found != chain.began {
            // An earlier COMMIT succeeded but its answer was lost: only this batch leads to these positions.
            if sealed.is_sent && *found == sealed.now {
                continue;
            }
            return Err(LedgerError::Moved { facts });
        }
        batches.push((facts, &sealed.batch));
        positions.push((facts, &sealed.now));
    }
    tables::write(&batches, owner, store)?;
    Stored::write(store, &positions)
}
