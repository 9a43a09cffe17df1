//! A lane: one thread that runs some tasks. It reads records, appends the answers, and takes snapshots.
//!
//! - `outgoing`: the answers of a lane on their way to the log
//! - `running_task`: a task in a lane
//! - `snapshot_pace`: how often a lane takes snapshots
//! - `snapshot_writer`: the thread that writes the snapshots of a lane, and its queue

mod outgoing;
mod running_task;
mod snapshot_pace;
mod snapshot_writer;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use domain::model::address::TopicPartition;
use domain::model::rules::rulebook::Library;
use domain::protocol::stage::RecordMark;
use eventlog::api::{AppendError, Appender, Consumer, Record, try_poll};
use eventlog::error::LogError;
use tracing::{debug, error};

use crate::context::{Heartbeat, Progress, RunMode, WorkerContext};
use crate::desks::open_task;
use crate::lane::outgoing::{Ack, AnswersOfTask, Outgoing};
use crate::lane::running_task::RunningTask;
use crate::lane::snapshot_writer::{SnapshotQueue, snapshot_queue, write_snapshots};
use crate::task::{RETIRED, Task, TaskError};

/// Maximum bytes of answers before the lane appends them; it reads no further until then.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Maximum number of a task's answers that are not durable; the lane does not read until there are fewer.
const OUTSTANDING_MAX: u64 = 1024;
/// The longest time between two appends of a fleet's lane; what an embedded log takes gathers there.
const GATHER: Duration = Duration::from_millis(20);
/// Part of a lane's pause for which it waits, after it, for what the client fetches then.
const FETCH_PART: u32 = 2;
/// Maximum sleep of a lane that no new record wakes.
const IDLE: Duration = Duration::from_millis(200);
/// Maximum time between two looks at acknowledgements, while answers are outstanding.
const ACKS_WITHIN: Duration = Duration::from_millis(20);
/// Maximum time to wait for records while a snapshot is being taken.
const SAVING: Duration = Duration::from_millis(1);
/// Timeout for outstanding answers at the end of a lane; tasks that still have some take no last snapshot.
const END_WITHIN: Duration = Duration::from_secs(2);
/// Time without a record after which a fleet's lane checks whether the log has more.
const SILENCE_CHECKED: Duration = Duration::from_secs(10);
/// Maximum number of checks in a row that find unread records; then the consumer is broken and the lane ends.
const SILENCE_MAX: u32 = 3;

/// A command to a lane.
#[derive(Debug)]
pub enum LaneCommand {
    /// The partition is this lane's from now on.
    Own(TopicPartition),
    /// The partition is another lane's or process's.
    Leave(TopicPartition),
    /// A task is restored, for the incarnation of the lane that requested it.
    Restored(u64, Box<dyn Task>),
    /// A task cannot be restored.
    Broken(u64, TopicPartition, TaskError),
}

/// The partitions of a lane, and the last record that its incarnations took of each. The next incarnation must read the
/// same record there.
pub type Owned = BTreeMap<TopicPartition, Option<RecordMark>>;

/// Requests that a task is restored: its partition, the incarnation that requests it, and a token that is dropped when the task is
/// not wanted any more. Returns whether the request is accepted; otherwise the lane repeats it in its next turn. It must not
/// block.
pub type RequestRestore<'a> = dyn Fn(TopicPartition, u64, Weak<()>) -> bool + 'a;

/// Why a lane ends before it is asked to. A restarted lane continues from its snapshots.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum LaneError {
    #[error(transparent)]
    Task(#[from] TaskError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the log refused answers: {0}")]
    AppendError(#[from] AppendError),
    #[error("the rules that a marker names cannot be read: {0}")]
    Rules(String),
    #[error("{0} has records that the consumer has not returned for {secs} s", secs = (SILENCE_CHECKED * SILENCE_MAX).as_secs())]
    Silent(String),
}

/// What a turn of a lane did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It read records.
    Read,
    /// There were none.
    Idle,
    /// It did not read: too many answers wait for the log.
    Throttled,
}

/// The log and the heartbeat of one incarnation of a lane.
pub struct Tools {
    /// Reads the records.
    pub consumer: Box<dyn Consumer>,
    /// Appends the answers.
    pub appender: Arc<dyn Appender>,
    /// Reports the lane's progress.
    pub heartbeat: Arc<Heartbeat>,
}

/// A lane while it runs.
pub struct Lane<'a> {
    context: Arc<WorkerContext>,
    incarnation: u64,
    consumer: Box<dyn Consumer>,
    outgoing: Outgoing,
    owned: &'a mut Owned,
    commands: &'a Receiver<LaneCommand>,
    request_restore: &'a RequestRestore<'a>,
    /// Owned partitions whose restore is not requested yet.
    to_restore: BTreeSet<TopicPartition>,
    /// Owned partitions whose restore was requested, with the token that says so.
    restoring: BTreeMap<TopicPartition, Arc<()>>,
    tasks: BTreeMap<TopicPartition, RunningTask>,
    started: u64,
    library: Arc<Library>,
    silence: (Instant, u32),
    pace: snapshot_pace::SnapshotPace,
    heartbeat: Arc<Heartbeat>,
}

/// Why a lane stops reading: one partition fails, its desk panics at an offset, or the rules cannot be read.
enum Stop {
    Partition(TopicPartition, TaskError),
    Panic(TopicPartition, u64),
    Lane(String),
}

impl<'a> Lane<'a> {
    /// A lane that runs the tasks of the partitions in `owned`, and of those that commands add.
    #[must_use]
    pub fn new(
        context: &Arc<WorkerContext>,
        incarnation: u64,
        Tools { consumer, appender, heartbeat }: Tools,
        owned: &'a mut Owned,
        commands: &'a Receiver<LaneCommand>,
        request_restore: &'a RequestRestore<'a>,
    ) -> Self {
        let gather = if context.run_mode == RunMode::Fleet { GATHER } else { Duration::ZERO };
        Self {
            context: Arc::clone(context),
            incarnation,
            consumer,
            outgoing: Outgoing::new(appender, gather),
            to_restore: owned.keys().copied().collect(),
            owned,
            commands,
            request_restore,
            restoring: BTreeMap::new(),
            tasks: BTreeMap::new(),
            started: 0,
            library: context.rules_cache.now(),
            silence: (Instant::now(), 0),
            pace: snapshot_pace::SnapshotPace::default(),
            heartbeat,
        }
    }

    /// Runs until it is asked to stop. With an embedded log, it first reads and answers everything.
    ///
    /// # Errors
    /// Why the lane ends early.
    pub fn run(mut self) -> Result<(), LaneError> {
        std::thread::scope(|scope| {
            let (snapshots, unwritten) = snapshot_queue();
            let context = Arc::clone(&self.context);
            scope.spawn(move || write_snapshots(&context, &unwritten));
            let result = self.work(&snapshots);
            drop(snapshots);
            for (partition, running) in std::mem::take(&mut self.tasks) {
                self.remember(partition, &running);
            }
            result
        })
    }

    fn work(&mut self, snapshots: &SnapshotQueue) -> Result<(), LaneError> {
        loop {
            // Read before the work: a lane that then finds nothing to do was idle after the request to stop.
            let stopping = self.context.is_stopping();
            self.take_commands()?;
            if stopping && self.context.run_mode == RunMode::Fleet {
                return self.end(snapshots);
            }
            let turn = self.read()?;
            self.take_acks()?;
            self.take_snapshots(snapshots);
            // A lane that waits for acknowledgements is not idle.
            if turn != Turn::Idle {
                self.silence = (Instant::now(), 0);
                continue;
            }
            match self.context.run_mode {
                RunMode::Embedded => {
                    self.stop_what_misses_a_frame();
                    if stopping && self.is_settled()? {
                        return self.end(snapshots);
                    }
                }
                RunMode::Fleet => self.check_silence()?,
            }
        }
    }

    /// Takes snapshots that are due, beginning after the task that handed one over last: while the store is slow, each task has its
    /// turn.
    fn take_snapshots(&mut self, queue: &SnapshotQueue) {
        let last = self.pace.last;
        let after = (last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let before = last.map(|last| (Bound::Unbounded, Bound::Included(last)));
        for range in std::iter::once(after).chain(before) {
            for (&partition, running) in self.tasks.range_mut(range) {
                if running.snapshots(&self.context, queue, &mut self.pace, false) {
                    self.pace.last = Some(partition);
                }
            }
        }
    }

    fn take_commands(&mut self) -> Result<(), LaneError> {
        loop {
            match self.commands.try_recv() {
                Ok(LaneCommand::Own(partition)) => {
                    self.owned.entry(partition).or_default();
                    self.to_restore.insert(partition);
                }
                Ok(LaneCommand::Leave(partition)) => self.leave(partition),
                Ok(LaneCommand::Restored(incarnation, task)) => self.start_task(incarnation, task)?,
                Ok(LaneCommand::Broken(incarnation, partition, error)) => {
                    if incarnation == self.incarnation && self.owned.contains_key(&partition) {
                        self.restoring.remove(&partition);
                        let progress = Progress::new(partition, 0);
                        self.context.progress_map().insert(partition, progress);
                        self.stop_partition(partition, &error);
                    }
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        while let Some(&partition) = self.to_restore.first() {
            let token = Arc::new(());
            if !(self.request_restore)(partition, self.incarnation, Arc::downgrade(&token)) {
                break;
            }
            self.to_restore.remove(&partition);
            self.restoring.insert(partition, token);
        }
        Ok(())
    }

    /// Starts a task that is restored.
    fn start_task(&mut self, incarnation: u64, mut task: Box<dyn Task>) -> Result<(), LaneError> {
        let source = task.source();
        let partition = source.topic_partition();
        let Some(last_read) = self.owned.get(&partition) else { return Ok(()) };
        if incarnation != self.incarnation || self.tasks.contains_key(&partition) {
            return Ok(());
        }
        self.restoring.remove(&partition);
        last_read.iter().for_each(|&mark| task.expect(mark));
        // The state may come from another process, which knew rules that no marker has named in this one.
        self.library = self.context.rules_cache.now();
        let bounds = self.consumer.bounds(partition)?;
        let from = task.start_offset(&bounds);
        self.started += 1;
        let running = RunningTask::new(&self.context, task, self.started);
        debug!(%source, ?from, end = bounds.end, "restored");
        self.context.progress_map().insert(partition, running.progress.clone());
        match from.and_then(|from| self.consumer.assign(partition, from, RETIRED)) {
            Ok(()) => drop(self.tasks.insert(partition, running)),
            // Only this partition is affected.
            Err(error) if error.is_out_of_bounds() => self.stop_partition(partition, &error.into()),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Keeps the last record that a task took before it is dropped.
    fn remember(&mut self, partition: TopicPartition, running: &RunningTask) {
        if let Some(last_read) = self.owned.get_mut(&partition) {
            *last_read = (*last_read).max(running.task.last_taken());
        }
    }

    fn leave(&mut self, partition: TopicPartition) {
        self.owned.remove(&partition);
        self.to_restore.remove(&partition);
        self.restoring.remove(&partition);
        self.pace.set_saving(partition, false);
        if self.tasks.remove(&partition).is_some() {
            self.consumer.revoke(partition);
        }
        self.context.progress_map().remove(&partition);
    }

    /// Drops the task of a partition. The other tasks continue.
    fn stop_partition(&mut self, partition: TopicPartition, error: &TaskError) {
        error!(topic = %partition.topic, partition = partition.partition, %error, "a partition stops; it loses nothing, and continues from its snapshot after the cause is fixed");
        self.pace.set_saving(partition, false);
        if let Some(running) = self.tasks.remove(&partition) {
            self.remember(partition, &running);
            self.consumer.revoke(partition);
        }
        if let Some(progress) = self.context.progress_map().get(&partition) {
            *progress.stopped.lock() = Some(error.to_string());
        }
    }

    /// Stops tasks of which a frame is missing after everything was read: in the log of this process it never comes.
    fn stop_what_misses_a_frame(&mut self) {
        let check = |(&partition, running): (&TopicPartition, &RunningTask)| {
            running.task.check_nothing_is_missing().err().map(|error| (partition, error))
        };
        let missing: Vec<_> = self.tasks.iter().filter_map(check).collect();
        for (partition, error) in missing {
            self.stop_partition(partition, &error);
        }
    }

    /// Restores a task whose desk panicked, because its state may be half changed. A record of `scans` at which it panics again is
    /// set aside then.
    fn restart_task(&mut self, partition: TopicPartition, offset: u64) -> Result<(), LaneError> {
        let times = self.context.panicked(partition, offset);
        let Some(times) = times else {
            let running = self.tasks.get(&partition);
            let source = running.map_or_else(|| partition.to_string(), |running| running.task.source().to_string());
            self.stop_partition(partition, &TaskError::Panicked { partition: source, offset });
            return Ok(());
        };
        error!(topic = %partition.topic, partition = partition.partition, offset, times, "a desk stopped because of an internal error; it restarts from its snapshot");
        self.pace.set_saving(partition, false);
        if let Some(running) = self.tasks.remove(&partition) {
            self.remember(partition, &running);
            self.consumer.revoke(partition);
        }
        match self.context.run_mode {
            RunMode::Fleet => {
                self.to_restore.insert(partition);
                Ok(())
            }
            RunMode::Embedded => {
                match open_task(&self.context.meta, partition, &self.context.snapshots, &self.library) {
                    Ok(task) => self.start_task(self.incarnation, task)?,
                    Err(error) => self.stop_partition(partition, &error),
                }
                Ok(())
            }
        }
    }

    /// Reads records and appends the answers.
    fn read(&mut self) -> Result<Turn, LaneError> {
        if self.outgoing.is_due() {
            self.outgoing.append(&mut self.tasks);
        }
        let outstanding = self.tasks.values().map(|running| running.task.outstanding()).max().unwrap_or(0);
        if outstanding >= OUTSTANDING_MAX || self.outgoing.is_full() {
            std::thread::sleep(Duration::from_millis(1));
            return Ok(Turn::Throttled);
        }
        // Acknowledgements do not wake the lane: it looks for them after the wait.
        let wait = match outstanding {
            _ if self.pace.is_saving() => SAVING,
            0 => IDLE,
            _ => ACKS_WITHIN,
        };
        // Sleeping, and not reading: each record would wake the lane.
        let pause = self.outgoing.pause();
        std::thread::sleep(pause);
        let Self { context, consumer, tasks, library, outgoing, .. } = self;
        let bytes = Cell::new(0);
        let mut take = |partition, record: Record<'_>| {
            let Some(running) = tasks.get_mut(&partition) else { return Ok(ControlFlow::Continue(())) };
            if let Some(more) = context.rules_cache.for_record(record.bytes, library).map_err(Stop::Lane)? {
                *library = more;
            }
            let offset = record.offset;
            let taken = catch_unwind(AssertUnwindSafe(|| running.take(context, library, record)));
            let taken = taken.map_err(|_| Stop::Panic(partition, offset))?;
            bytes.set(bytes.get() + taken.map_err(|error| Stop::Partition(partition, error))?);
            let is_enough = bytes.get() >= ANSWER_BYTES_MAX || running.task.outstanding() >= OUTSTANDING_MAX;
            Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        let mut polled = try_poll(&mut **consumer, wait, &mut take);
        if !pause.is_zero()
            && let Ok((first @ 1.., Ok(()))) = polled
            && bytes.get() < ANSWER_BYTES_MAX
        {
            // During the pause the client fetched once; it fetches the rest as soon as that is taken.
            let more = try_poll(&mut **consumer, pause / FETCH_PART, &mut take);
            polled = more.map(|(count, result)| (first + count, result));
        }
        let (count, result) = match polled {
            Err(LogError::Partition { partition, cause }) => {
                (1, Err(Stop::Partition(partition, TaskError::Log(*cause))))
            }
            polled => polled?,
        };
        outgoing.add(bytes.get());
        if count > 0 {
            tasks.values().filter(|running| running.answers.is_empty()).for_each(RunningTask::publish);
        }
        // What was answered before a failure does not wait for its mending.
        if outgoing.is_due() || result.is_err() {
            outgoing.append(tasks);
        }
        match result {
            Ok(()) => {}
            Err(Stop::Partition(partition, error)) => self.stop_partition(partition, &error),
            Err(Stop::Panic(partition, offset)) => self.restart_task(partition, offset)?,
            Err(Stop::Lane(why)) => return Err(LaneError::Rules(why)),
        }
        Ok(if count > 0 { Turn::Read } else { Turn::Idle })
    }

    /// Handles acknowledgements.
    fn take_acks(&mut self) -> Result<(), LaneError> {
        let mut is_moving = false;
        while let Some(Ack { answers, result }) = self.outgoing.ack() {
            // Answers that were not written are computed again after the restart.
            result?;
            is_moving = true;
            for AnswersOfTask { partition, task, numbers } in answers {
                if let Some(running) = self.tasks.get_mut(&partition).filter(|running| running.number == task) {
                    running.task.made_durable(numbers);
                    running.publish();
                }
            }
        }
        if is_moving || self.tasks.values().all(|running| running.task.outstanding() == 0) {
            self.heartbeat.beat();
        }
        Ok(())
    }

    /// Whether all records of these tasks are answered, and the answers are durable.
    fn is_settled(&mut self) -> Result<bool, LogError> {
        for (&partition, running) in &self.tasks {
            if running.progress.settled.load(Ordering::Acquire) != self.consumer.bounds(partition)?.end {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Checks for unread records where the consumer returns none: a consumer that lost its position never returns any.
    fn check_silence(&mut self) -> Result<(), LaneError> {
        let (checked, times) = self.silence;
        if checked.elapsed() < SILENCE_CHECKED {
            return Ok(());
        }
        let mut behind = None;
        for (&partition, running) in &self.tasks {
            // A failed request is repeated at the next check: the consumer reports lost connections itself.
            let Ok(bounds) = self.consumer.bounds(partition) else { continue };
            if running.task.outstanding() == 0 && bounds.end > running.task.next_offset() {
                behind = Some(running.task.source().to_string());
            }
        }
        self.silence = (Instant::now(), if behind.is_some() { times + 1 } else { 0 });
        match behind {
            Some(partition) if times + 1 >= SILENCE_MAX => Err(LaneError::Silent(partition)),
            _ => Ok(()),
        }
    }

    /// Waits until the answers are durable, and takes the last snapshots. Tasks whose answers take too long get none.
    fn end(&mut self, snapshots: &SnapshotQueue) -> Result<(), LaneError> {
        let began = Instant::now();
        while self.tasks.values().any(|running| running.task.outstanding() > 0) && began.elapsed() < END_WITHIN {
            std::thread::sleep(Duration::from_millis(2));
            self.take_acks()?;
            self.outgoing.append(&mut self.tasks);
        }
        for running in self.tasks.values_mut() {
            running.snapshots(&self.context, snapshots, &mut self.pace, true);
        }
        Ok(())
    }
}
