//! Ledger processes: real writers over one database, each of some facts partitions; some learn late that they lost one.

use std::collections::{BTreeMap, BTreeSet};

use domain::model::address::{Topic, TopicPartition};
use domain::protocol::positions::Missing;
use eventlog::local::meta::Meta;
use ledger::error::LedgerError;

use super::log::SharedLog;
use crate::alarm::Alarm;
use crate::database::Database;
use crate::safeguards::Without;
use crate::safeguards::writer::WriterWithout;

#[derive(Debug)]
struct Process {
    writer: WriterWithout,
    /// Partitions that it has lost, with the number of turns until it learns it.
    late: BTreeMap<u16, usize>,
    /// Number of turns in which it does nothing.
    frozen: usize,
}

#[derive(Debug)]
pub(crate) struct Ledgers {
    pub db: Database,
    without: Without,
    processes: Vec<Process>,
    owner: BTreeMap<u16, usize>,
    /// Partitions that are stopped by an alarm.
    pub stopped: BTreeSet<u16>,
}

/// A facts partition that stops, and why.
pub(crate) type Stopped = (u16, Box<Alarm>);

impl Ledgers {
    /// A new ledger with `facts` partitions, shared by `processes` processes.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn new(processes: usize, facts: u16, without: Without) -> Result<Self, Alarm> {
        let db = Database::new()?;
        let owner: BTreeMap<u16, usize> = (0..facts).map(|f| (f, usize::from(f) % processes)).collect();
        let mut ledgers = Self { db, without, processes: Vec::new(), owner, stopped: BTreeSet::new() };
        for at in 0..processes {
            let process = ledgers.process(at)?;
            ledgers.processes.push(process);
        }
        Ok(ledgers)
    }

    fn process(&self, at: usize) -> Result<Process, Alarm> {
        let own = self.owner.iter().filter(|(f, owner)| **owner == at && !self.stopped.contains(f));
        let writer = self.db.writer(own.map(|(f, _)| *f), self.without)?;
        Ok(Process { writer, late: BTreeMap::new(), frozen: 0 })
    }

    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.processes.len()
    }

    /// The process that has a partition, and the next offset that it reads of it.
    #[must_use]
    pub(crate) fn reader(&self, facts: u16) -> (usize, u64) {
        let at = self.owner[&facts];
        (at, self.processes[at].writer.inner.next_offset(facts))
    }

    /// A process crashes and loses what it had not committed; another one replaces it.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn crash(&mut self, at: usize) -> Result<(), Alarm> {
        self.processes[at] = self.process(at)?;
        Ok(())
    }

    /// A process freezes for `turns` turns, and another one gets its partitions.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn freeze(&mut self, at: usize, turns: usize, late: usize) -> Result<(), Alarm> {
        self.processes[at].frozen = turns;
        let to = (at + 1) % self.processes.len();
        let own: Vec<u16> = self.owner.iter().filter(|(_, owner)| **owner == at).map(|(f, _)| *f).collect();
        own.into_iter().try_for_each(|facts| self.hand_over(facts, to, late))
    }

    /// Another process gets a partition; the previous owner continues for `late` turns.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn hand_over(&mut self, facts: u16, to: usize, late: usize) -> Result<(), Alarm> {
        let from = self.owner.insert(facts, to);
        if from == Some(to) || self.stopped.contains(&facts) {
            return Ok(());
        }
        if let Some(from) = from {
            self.processes[from].late.insert(facts, late);
        }
        self.processes[to].late.remove(&facts);
        Ok(self.processes[to].writer.adopt(facts)?)
    }

    /// Counts a turn of a process; returns whether it may act. At the end of its time a late process learns what it has lost.
    pub(crate) fn turn(&mut self, at: usize) -> bool {
        let Process { writer, late, frozen } = &mut self.processes[at];
        if *frozen > 0 {
            *frozen -= 1;
            return false;
        }
        late.retain(|&facts, left| {
            *left = left.saturating_sub(1);
            if *left == 0 {
                writer.inner.release(facts);
            }
            *left > 0
        });
        true
    }

    /// A process reads at most `most` records of each of its partitions; returns how many it read.
    ///
    /// # Errors
    /// A partition stops. The caller must then drop the writer.
    pub(crate) fn read(&mut self, at: usize, log: &SharedLog, most: usize) -> Result<usize, Stopped> {
        let writer = &mut self.processes[at].writer;
        let facts: Vec<u16> = writer.inner.partitions().collect();
        let mut taken = 0;
        for facts in facts {
            for _ in 0..most {
                let of = TopicPartition::new(Topic::Facts, facts);
                let first = writer.first_wanted(facts);
                let next = if first < log.bounds(of).start { writer.inner.next_offset(facts) } else { first };
                let stored = log.read(of, next).map_err(|e| (facts, Box::new(e.into())))?;
                let Some(stored) = stored else { break };
                writer.apply(facts, next, &stored.bytes).map_err(|e| (facts, Box::new(e.into())))?;
                taken += 1;
            }
        }
        Ok(taken)
    }

    /// A process commits what it has read. If another one has moved on meanwhile, it releases that partition, or reads again
    /// from there if it is the owner.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn commit(&mut self, at: usize) -> Result<&'static str, Alarm> {
        let Process { writer, late, .. } = &mut self.processes[at];
        match writer.commit() {
            Ok(()) => Ok("ledger commit"),
            Err(LedgerError::Moved { facts }) => {
                if late.remove(&facts).is_some() {
                    writer.inner.release(facts);
                } else {
                    writer.adopt(facts)?;
                }
                Ok("ledger moved")
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Stops a partition; its process continues with the others.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn stop(&mut self, facts: u16) -> Result<(), Alarm> {
        self.stopped.insert(facts);
        (0..self.processes.len()).try_for_each(|at| self.crash(at))
    }

    /// # Errors
    /// A frame is missing.
    pub(crate) fn check_nothing_is_missing(&self) -> Result<(), Missing> {
        let mut missing = self.processes.iter().flat_map(|process| process.writer.inner.missing());
        missing.next().map_or(Ok(()), Err)
    }

    /// Checks that the ledger belongs to a log, as a process does when it starts.
    ///
    /// # Errors
    /// It belongs to another log.
    pub(crate) fn check_log(&self, meta: &Meta) -> Result<(), Alarm> {
        let all = self.db.writer(self.owner.keys().copied(), self.without)?;
        let is_other = all.inner.logs().any(|(topic, id)| id != meta.topic_id(topic));
        if is_other { Err(LedgerError::OtherLog("the ledger".to_owned()).into()) } else { Ok(()) }
    }

    /// Ends all freezes and delays.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn heal(&mut self) -> Result<(), Alarm> {
        (0..self.processes.len()).try_for_each(|at| self.crash(at))
    }
}
