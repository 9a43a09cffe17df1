//! A worker process: the real tasks of the partitions that its group gave it, and of some that it has lost without
//! knowing it yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::model::rulebook::Library;
use domain::protocol::behaviour::Build;
use domain::protocol::positions::FaultInjection;
use domain::protocol::stage::{Output, RecordMark, StageOptions};
use eventlog::api::Record;
use eventlog::local::meta::Meta;
use worker::desks::open_task_under;
use worker::rules_cache::RulesCache;
use worker::snapshot::{Snapshot, Snapshots};
use worker::task::{Task, TaskError};

use super::log::{Place, SharedLog};

/// A task at work.
#[derive(Debug)]
pub struct SimTask {
    pub place: Place,
    /// Another one for the same partition has another number.
    pub number: u64,
    station: Box<dyn Task>,
    /// The offset that it is handed next.
    next: u64,
    /// Number of records for which it goes on without knowing that the partition is another worker's. `None`: it is its own.
    pub left: Option<usize>,
}

/// A worker while it lives.
#[derive(Debug)]
pub struct Worker {
    pub producer: u64,
    pub build: Build,
    /// What it read of the log when it began.
    pub meta: Meta,
    pub books: RulesCache,
    pub library: Arc<Library>,
    pub seats: Vec<SimTask>,
    /// The last record that it took of each of its partitions, as far as it went when a task was thrown away.
    pub taken: BTreeMap<Place, RecordMark>,
    /// Number of turns in which it still does nothing.
    pub frozen: usize,
    /// Offsets of snapshots that it will commit to its group.
    pub to_commit: Vec<(Place, u64)>,
}

/// What a task is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    pub log: &'a SharedLog,
    pub snapshots: &'a Snapshots,
    pub guards: FaultInjection,
    pub committed: Option<u64>,
}

impl Worker {
    /// Opens the task of a partition from its latest snapshot.
    ///
    /// # Errors
    /// The snapshot cannot be taken up, or the log does not reach back to it.
    pub fn open(&mut self, place: Place, number: u64, opening: Opening<'_>) -> Result<(), TaskError> {
        let Opening { log, snapshots, guards, committed } = opening;
        self.library = self.books.refreshed().expect("the shelf is there");
        let terms = StageOptions { build: self.build, guards, ..StageOptions::default() };
        let mut station = open_task_under(terms, &self.meta, place, snapshots, &self.library)?;
        self.taken.get(&place).into_iter().for_each(|&taken| station.expect(taken));
        let bounds = log.bounds(place);
        let is_at_manifest = snapshots.safeguards.start_at_manifest;
        let next = if is_at_manifest { station.start_offset(&bounds)? } else { committed.unwrap_or(bounds.start) };
        log.check(place, next)?;
        self.seats.push(SimTask { place, number, station, next, left: None });
        Ok(())
    }

    /// A task takes at most `most` records; returns their number, and the answers.
    ///
    /// # Errors
    /// Why it stops.
    pub fn step(&mut self, at: usize, log: &SharedLog, most: usize) -> Result<(usize, Vec<Output>), TaskError> {
        let Self { seats, books, library, .. } = self;
        let SimTask { place, station, next, .. } = &mut seats[at];
        let mut answers = Vec::new();
        let mut taken = 0;
        while taken < most
            && let Some(stored) = log.read(*place, *next)?
        {
            if let Some(more) = books.for_record(&stored.bytes, library).expect("the shelf is there") {
                *library = more;
            }
            let record = Record { offset: *next, append: stored.append, bytes: &stored.bytes };
            station.take(record, library, &mut answers)?;
            *next += 1;
            taken += 1;
        }
        Ok((taken, answers))
    }

    /// Throws a task away and remembers how far it came; forgets one that it does not own any more.
    pub fn throw_away(&mut self, at: usize) {
        let seat = self.seats.remove(at);
        if let (None, Some(last)) = (seat.left, seat.station.last_taken()) {
            let taken = self.taken.entry(seat.place).or_insert(last);
            *taken = last.max(*taken);
        }
    }

    /// An answer of a task is in the log.
    pub fn durable(&mut self, number: u64, answer: u64) {
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.number == number) {
            seat.station.made_durable(answer..answer + 1);
        }
    }

    #[must_use]
    pub fn owns(&self, place: Place) -> bool {
        self.seats.iter().any(|seat| seat.place == place && seat.left.is_none())
    }
}

impl SimTask {
    /// The number of its next answer.
    #[must_use]
    pub fn handed_out(&self) -> u64 {
        self.station.handed_out()
    }

    /// The next offset as far as all answers are in the log.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.station.settled()
    }

    /// The offset that it is handed next: at first one before its place.
    #[must_use]
    pub fn reads_at(&self) -> u64 {
        self.next
    }

    pub fn take_snapshot(&mut self) {
        self.station.take_snapshot();
    }

    /// A snapshot that may be written.
    pub fn snapshot(&mut self, snapshots: &Snapshots) -> Option<Snapshot> {
        self.station.snapshot(snapshots)
    }

    /// # Errors
    /// A frame is missing.
    pub fn check_nothing_is_missing(&self) -> Result<(), TaskError> {
        self.station.check_nothing_is_missing()
    }
}
