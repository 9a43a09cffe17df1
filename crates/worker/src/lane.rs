//! A lane: one thread that works for some stations. It reads, answers, appends the answers, and takes snapshots.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use domain::model::address::Topic;
use domain::model::rulebook::Library;
use domain::protocol::stage::RecordMark;
use eventlog::api::{AppendError, OnFull, now_ms};
use eventlog::api::{Appender, Consumer};
use eventlog::error::LogError;
use tracing::{debug, error, info, warn};

use crate::any_task::AnyTask;
use crate::context::{Heartbeat, Progress, RunMode, WorkerContext};
use crate::running_task::RunningTask;
use crate::snapshot::Snapshot;
use crate::task::{RETIRED, TaskError};

/// The lane reads no further than so many bytes of answers before it appends them.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A lane waits while so many of a station's answers are not durable.
const OUTSTANDING_MAX: u64 = 1024;
/// How long a lane sleeps if nobody wakes it.
const IDLE: Duration = Duration::from_millis(200);
/// Acknowledgements are taken at least so often.
const ACKS_WITHIN: Duration = Duration::from_millis(20);
/// How long an end waits for what was answered to be durable.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How often a lane of a fleet that reads nothing asks whether there is something.
const SILENCE_ASKED: Duration = Duration::from_secs(10);
/// So often in a row there was something, and it did not come: the feed is broken.
const SILENCE_MAX: u32 = 3;

/// What a lane is told.
#[derive(Debug)]
pub enum Order {
    /// The partition is this lane's from now on.
    Own(Topic, u16),
    /// It is another one's.
    Leave(Topic, u16),
    /// Its state is restored, for the incarnation of the lane that asked for it.
    Restored(u64, AnyTask),
    /// Its state cannot be restored.
    Broken(u64, Topic, u16, TaskError),
}

/// The partitions of a lane, and the last record that any of its incarnations took of each: the next one must find it again.
pub type Owned = BTreeMap<(Topic, u16), Option<RecordMark>>;

/// Asks for a station to be restored: a partition, and the incarnation that asks.
pub type Ask<'a> = dyn Fn(Topic, u16, u64) + 'a;

/// Why a lane ends before it is asked to. Begun again, it goes on from its snapshots.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    #[error(transparent)]
    DeskTask(#[from] TaskError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("answers were not taken by the log: {0}")]
    AppendError(#[from] AppendError),
    #[error("rules that a marker names cannot be read: {0}")]
    Rules(String),
    #[error("{0} has records that do not come, for {secs} s", secs = (SILENCE_ASKED * SILENCE_MAX).as_secs())]
    Silent(String),
}

/// What an incarnation of a lane works with.
pub struct Tools {
    pub feed: Box<dyn Consumer>,
    pub appender: Arc<dyn Appender>,
    pub pulse: Arc<Heartbeat>,
}

/// A lane while it runs.
pub struct Lane<'a> {
    works: Arc<WorkerContext>,
    incarnation: u64,
    feed: Box<dyn Consumer>,
    appender: Arc<dyn Appender>,
    owned: &'a mut Owned,
    orders: &'a Receiver<Order>,
    ask: &'a Ask<'a>,
    seats: BTreeMap<(Topic, u16), RunningTask>,
    seated: u64,
    library: Arc<Library>,
    acks: Receiver<Ack>,
    acked: Sender<Ack>,
    silence: (Instant, u32),
    pulse: Arc<Heartbeat>,
}

struct Ack {
    at: (Topic, u16),
    seat: u64,
    answers: Range<u64>,
    result: Result<(), AppendError>,
}

impl<'a> Lane<'a> {
    /// A lane that works for the partitions in `owned`, and for those that it is told of.
    #[must_use]
    pub fn new(
        works: &Arc<WorkerContext>,
        incarnation: u64,
        Tools { feed, appender, pulse }: Tools,
        owned: &'a mut Owned,
        orders: &'a Receiver<Order>,
        ask: &'a Ask<'a>,
    ) -> Self {
        let (acked, acks) = channel();
        Self {
            works: Arc::clone(works),
            incarnation,
            feed,
            appender,
            owned,
            orders,
            ask,
            seats: BTreeMap::new(),
            seated: 0,
            library: works.books.now(),
            acks,
            acked,
            silence: (Instant::now(), 0),
            pulse,
        }
    }

    /// Works until it is asked to stop: in an embedded log, until nothing is left to do.
    ///
    /// # Errors
    /// Why it ends before.
    pub fn run(mut self) -> Result<(), LaneError> {
        std::thread::scope(|scope| {
            let (to_writer, snapshots) = channel();
            let works = Arc::clone(&self.works);
            scope.spawn(move || write_snapshots(&works, &snapshots));
            for &(topic, partition) in self.owned.keys() {
                (self.ask)(topic, partition, self.incarnation);
            }
            let result = self.work(&to_writer);
            drop(to_writer);
            for (at, seat) in std::mem::take(&mut self.seats) {
                self.remember(at, &seat);
            }
            result
        })
    }

    fn work(&mut self, snapshots: &Sender<(Snapshot, Progress)>) -> Result<(), LaneError> {
        loop {
            // Asked before the work, so that a lane that is idle was idle after it was asked.
            let stopping = self.works.is_stopping();
            self.take_orders()?;
            if stopping && self.works.manner == RunMode::Fleet {
                return self.end(snapshots);
            }
            let taken = self.read()?;
            self.take_acks()?;
            for seat in self.seats.values_mut() {
                seat.snapshots(&self.works, snapshots, false);
            }
            if taken > 0 {
                self.silence = (Instant::now(), 0);
                continue;
            }
            match self.works.manner {
                RunMode::Embedded => {
                    for seat in self.seats.values() {
                        seat.station.check_nothing_is_missing()?;
                    }
                    if stopping && self.is_settled()? {
                        return self.end(snapshots);
                    }
                }
                RunMode::Fleet => self.check_silence()?,
            }
        }
    }

    fn take_orders(&mut self) -> Result<(), LaneError> {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Own(topic, partition)) => {
                    self.owned.entry((topic, partition)).or_default();
                    (self.ask)(topic, partition, self.incarnation);
                }
                Ok(Order::Leave(topic, partition)) => {
                    self.owned.remove(&(topic, partition));
                    self.leave(topic, partition);
                }
                Ok(Order::Restored(incarnation, station)) => self.seat(incarnation, station)?,
                Ok(Order::Broken(incarnation, topic, partition, error)) => {
                    if incarnation == self.incarnation && self.owned.contains_key(&(topic, partition)) {
                        let progress = Progress::new(topic, partition, 0);
                        self.works.board().insert((topic, partition), progress);
                        self.stop_partition(topic, partition, error)?;
                    }
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Begins to work with a station that is restored.
    fn seat(&mut self, incarnation: u64, mut station: AnyTask) -> Result<(), LaneError> {
        let source = station.source();
        let at = (source.topic, source.partition);
        let Some(taken) = self.owned.get(&at) else { return Ok(()) };
        if incarnation != self.incarnation || self.seats.contains_key(&at) {
            return Ok(());
        }
        taken.iter().for_each(|&taken| station.expect(taken));
        // The state may be another process's, which had seen rules that no marker has told this one of.
        self.library = self.works.books.now();
        let bounds = self.feed.bounds(at.0, at.1)?;
        let from = station.from(&bounds);
        self.seated += 1;
        let seat = RunningTask::new(station, self.seated);
        debug!(%source, ?from, end = bounds.end, "restored");
        self.works.board().insert(at, seat.progress.clone());
        match from.and_then(|from| self.feed.assign(at.0, at.1, from, RETIRED)) {
            Ok(()) => drop(self.seats.insert(at, seat)),
            // This partition's own trouble.
            Err(error @ (LogError::Retired { .. } | LogError::Short { .. })) => {
                self.stop_partition(at.0, at.1, error.into())?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Notes how far a seat came that is thrown away.
    fn remember(&mut self, at: (Topic, u16), seat: &RunningTask) {
        if let Some(taken) = self.owned.get_mut(&at) {
            *taken = (*taken).max(seat.station.last_taken());
        }
    }

    fn leave(&mut self, topic: Topic, partition: u16) {
        if self.seats.remove(&(topic, partition)).is_some() {
            self.feed.revoke(topic, partition);
        }
        self.works.board().remove(&(topic, partition));
    }

    /// A partition's station is thrown away; the others go on, where they may.
    fn stop_partition(&mut self, topic: Topic, partition: u16, error: TaskError) -> Result<(), LaneError> {
        if self.works.manner == RunMode::Embedded {
            return Err(error.into());
        }
        error!(%topic, partition, %error, "a partition stops; nothing of it is lost, and it goes on from its snapshot once this is mended");
        if let Some(seat) = self.seats.remove(&(topic, partition)) {
            self.remember((topic, partition), &seat);
            self.feed.revoke(topic, partition);
        }
        if let Some(progress) = self.works.board().get(&(topic, partition)) {
            *progress.stopped.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error.to_string());
        }
        Ok(())
    }

    /// Takes what there is and appends the answers; says how many records it took.
    fn read(&mut self) -> Result<usize, LaneError> {
        let outstanding = self.seats.values().map(|seat| seat.station.outstanding()).max().unwrap_or(0);
        if outstanding >= OUTSTANDING_MAX {
            std::thread::sleep(Duration::from_millis(1));
            return Ok(0);
        }
        // That answers are durable is no reason to be woken; it is noted soon enough.
        let wait = if outstanding > 0 { ACKS_WITHIN } else { IDLE };
        let Self { works, feed, seats, library, .. } = self;
        let (mut failed, mut no_rules, mut bytes) = (None, None, 0);
        let taken = feed.poll(wait, &mut |topic, partition, record| {
            let Some(seat) = seats.get_mut(&(topic, partition)) else { return ControlFlow::Continue(()) };
            match works.books.for_record(record.bytes, library) {
                Ok(None) => {}
                Ok(Some(more)) => *library = more,
                Err(why) => {
                    no_rules = Some(why);
                    return ControlFlow::Break(());
                }
            }
            match seat.take(works, library, record) {
                Ok(more) => bytes += more,
                Err(error) => {
                    failed = Some((topic, partition, error));
                    return ControlFlow::Break(());
                }
            }
            if bytes >= ANSWER_BYTES_MAX || seat.station.outstanding() >= OUTSTANDING_MAX {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if taken > 0 {
            self.append();
        }
        if let Some((topic, partition, error)) = failed {
            self.stop_partition(topic, partition, error)?;
        }
        no_rules.map_or(Ok(taken), |why| Err(LaneError::Rules(why)))
    }

    /// Hands the answers to the log.
    fn append(&mut self) {
        for (&at, seat) in &mut self.seats {
            if seat.answers.is_empty() {
                seat.publish();
                continue;
            }
            let records = seat.drain();
            let end = seat.station.handed_out();
            let (seat, answers) = (seat.number, end - records.len() as u64..end);
            let acked = self.acked.clone();
            let done = move |result| {
                let _ = acked.send(Ack { at, seat, answers, result });
            };
            self.appender.append(records, OnFull::Wait, Box::new(done));
        }
    }

    /// Notes what is durable.
    fn take_acks(&mut self) -> Result<(), LaneError> {
        let mut is_moving = false;
        while let Ok(Ack { at, seat: number, answers, result }) = self.acks.try_recv() {
            // Whatever was not written is answered again after the next start.
            result?;
            is_moving = true;
            if let Some(seat) = self.seats.get_mut(&at).filter(|seat| seat.number == number) {
                seat.station.made_durable(answers);
                seat.publish();
            }
        }
        if is_moving || self.seats.values().all(|seat| seat.station.outstanding() == 0) {
            self.pulse.beat();
        }
        Ok(())
    }

    /// Whether everything that is in the log for these stations is answered, and the answers are durable.
    fn is_settled(&mut self) -> Result<bool, LogError> {
        for (&(topic, partition), seat) in &self.seats {
            if seat.progress.settled.load(Ordering::Acquire) != self.feed.bounds(topic, partition)?.end {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A feed that has lost its place may be silent for good. So whoever reads nothing asks now and then.
    fn check_silence(&mut self) -> Result<(), LaneError> {
        let (asked, times) = self.silence;
        if asked.elapsed() < SILENCE_ASKED {
            return Ok(());
        }
        let mut behind = None;
        for (&(topic, partition), seat) in &self.seats {
            // What cannot be asked now is asked later: the feed tells of lost connections itself.
            let Ok(bounds) = self.feed.bounds(topic, partition) else { continue };
            if seat.station.outstanding() == 0 && bounds.end > seat.station.next_offset() {
                behind = Some(seat.station.source().to_string());
            }
        }
        self.silence = (Instant::now(), if behind.is_some() { times + 1 } else { 0 });
        match behind {
            Some(partition) if times + 1 >= SILENCE_MAX => Err(LaneError::Silent(partition)),
            _ => Ok(()),
        }
    }

    /// Last snapshots, once what was answered is durable; those for which that takes too long are left out.
    fn end(&mut self, snapshots: &Sender<(Snapshot, Progress)>) -> Result<(), LaneError> {
        let began = Instant::now();
        while self.seats.values().any(|seat| seat.station.outstanding() > 0) && began.elapsed() < END_WITHIN {
            std::thread::sleep(Duration::from_millis(2));
            self.take_acks()?;
        }
        for seat in self.seats.values_mut() {
            seat.snapshots(&self.works, snapshots, true);
        }
        Ok(())
    }
}

/// Writes snapshots beside the lane.
fn write_snapshots(works: &WorkerContext, snapshots: &Receiver<(Snapshot, Progress)>) {
    for (snapshot, progress) in snapshots {
        let timer = works.metrics.snapshot_seconds.start_timer();
        let (source, offset, bytes) = (snapshot.source, snapshot.offset, snapshot.state.len());
        match works.snapshots.write(&snapshot) {
            Ok(needed) => {
                timer.observe_duration();
                debug!(%source, offset, bytes, "snapshot");
                progress.snapshot_ms.store(now_ms().cast_unsigned(), Ordering::Release);
                progress.snapshot_offset.store(offset, Ordering::Release);
                (works.published)(source, offset, needed);
            }
            Err(error) => {
                timer.stop_and_discard();
                works.metrics.snapshot_failures.inc();
                warn!(%error, "a snapshot was not written; the ones before it stand");
            }
        }
    }
    info!("snapshots are written");
}
