//! A lane: one thread that runs some tasks. It reads records, appends the answers, and takes snapshots.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use domain::model::address::Topic;
use domain::model::rules::rulebook::Library;
use domain::protocol::stage::RecordMark;
use eventlog::api::{AppendError, OnFull, now_ms};
use eventlog::api::{Appender, Consumer};
use eventlog::error::LogError;
use tracing::{debug, error, info, warn};

use crate::context::{Heartbeat, Progress, RunMode, WorkerContext};
use crate::running_task::RunningTask;
use crate::snapshot::Snapshot;
use crate::task::{RETIRED, Task, TaskError};

/// Maximum bytes of answers before the lane appends them; it reads no further until then.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Maximum number of a task's answers that are not durable; the lane does not read until there are fewer.
const OUTSTANDING_MAX: u64 = 1024;
/// Maximum sleep of a lane that no new record wakes.
const IDLE: Duration = Duration::from_millis(200);
/// Maximum time between two looks at acknowledgements, while answers are outstanding.
const ACKS_WITHIN: Duration = Duration::from_millis(20);
/// Timeout for outstanding answers at the end of a lane; tasks that still have some take no last snapshot.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Time without a record after which a fleet's lane checks whether the log has more.
const SILENCE_CHECKED: Duration = Duration::from_secs(10);
/// Maximum number of checks in a row that find unread records; then the consumer is broken and the lane ends.
const SILENCE_MAX: u32 = 3;

/// A command to a lane.
#[derive(Debug)]
pub enum LaneCommand {
    /// The partition is this lane's from now on.
    Own(Topic, u16),
    /// The partition is another lane's or process's.
    Leave(Topic, u16),
    /// A task is restored, for the incarnation of the lane that requested it.
    Restored(u64, Box<dyn Task>),
    /// A task cannot be restored.
    Broken(u64, Topic, u16, TaskError),
}

/// The partitions of a lane, and the last record that its incarnations took of each. The next incarnation must read the
/// same record there.
pub type Owned = BTreeMap<(Topic, u16), Option<RecordMark>>;

/// Requests that a task is restored: its partition, and the incarnation that requests it.
pub type RequestRestore<'a> = dyn Fn(Topic, u16, u64) + 'a;

/// Why a lane ends before it is asked to. A restarted lane continues from its snapshots.
#[derive(Debug, thiserror::Error)]
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

/// The log and the heartbeat of one incarnation of a lane.
pub struct Tools {
    pub consumer: Box<dyn Consumer>,
    pub appender: Arc<dyn Appender>,
    pub heartbeat: Arc<Heartbeat>,
}

/// A lane while it runs.
pub struct Lane<'a> {
    context: Arc<WorkerContext>,
    incarnation: u64,
    consumer: Box<dyn Consumer>,
    appender: Arc<dyn Appender>,
    owned: &'a mut Owned,
    commands: &'a Receiver<LaneCommand>,
    request_restore: &'a RequestRestore<'a>,
    tasks: BTreeMap<(Topic, u16), RunningTask>,
    started: u64,
    library: Arc<Library>,
    ack_rx: Receiver<Ack>,
    ack_tx: Sender<Ack>,
    silence: (Instant, u32),
    heartbeat: Arc<Heartbeat>,
}

struct Ack {
    at: (Topic, u16),
    number: u64,
    answers: Range<u64>,
    result: Result<(), AppendError>,
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
        let (ack_tx, ack_rx) = channel();
        Self {
            context: Arc::clone(context),
            incarnation,
            consumer,
            appender,
            owned,
            commands,
            request_restore,
            tasks: BTreeMap::new(),
            started: 0,
            library: context.rules_cache.now(),
            ack_rx,
            ack_tx,
            silence: (Instant::now(), 0),
            heartbeat,
        }
    }

    /// Runs until it is asked to stop. With an embedded log, it first reads and answers everything.
    ///
    /// # Errors
    /// Why the lane ends early.
    pub fn run(mut self) -> Result<(), LaneError> {
        std::thread::scope(|scope| {
            let (to_writer, snapshots) = channel();
            let context = Arc::clone(&self.context);
            scope.spawn(move || write_snapshots(&context, &snapshots));
            for &(topic, partition) in self.owned.keys() {
                (self.request_restore)(topic, partition, self.incarnation);
            }
            let result = self.work(&to_writer);
            drop(to_writer);
            for (at, running) in std::mem::take(&mut self.tasks) {
                self.remember(at, &running);
            }
            result
        })
    }

    fn work(&mut self, snapshots: &Sender<(Snapshot, Progress)>) -> Result<(), LaneError> {
        loop {
            // Read before the work: a lane that then finds nothing to do was idle after the request to stop.
            let stopping = self.context.is_stopping();
            self.take_commands()?;
            if stopping && self.context.run_mode == RunMode::Fleet {
                return self.end(snapshots);
            }
            let taken = self.read()?;
            self.take_acks()?;
            for running in self.tasks.values_mut() {
                running.snapshots(&self.context, snapshots, false);
            }
            if taken > 0 {
                self.silence = (Instant::now(), 0);
                continue;
            }
            match self.context.run_mode {
                RunMode::Embedded => {
                    for running in self.tasks.values() {
                        running.task.check_nothing_is_missing()?;
                    }
                    if stopping && self.is_settled()? {
                        return self.end(snapshots);
                    }
                }
                RunMode::Fleet => self.check_silence()?,
            }
        }
    }

    fn take_commands(&mut self) -> Result<(), LaneError> {
        loop {
            match self.commands.try_recv() {
                Ok(LaneCommand::Own(topic, partition)) => {
                    self.owned.entry((topic, partition)).or_default();
                    (self.request_restore)(topic, partition, self.incarnation);
                }
                Ok(LaneCommand::Leave(topic, partition)) => {
                    self.owned.remove(&(topic, partition));
                    self.leave(topic, partition);
                }
                Ok(LaneCommand::Restored(incarnation, task)) => self.start_task(incarnation, task)?,
                Ok(LaneCommand::Broken(incarnation, topic, partition, error)) => {
                    if incarnation == self.incarnation && self.owned.contains_key(&(topic, partition)) {
                        let progress = Progress::new(topic, partition, 0);
                        self.context.progress_map().insert((topic, partition), progress);
                        self.stop_partition(topic, partition, error)?;
                    }
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Starts a task that is restored.
    fn start_task(&mut self, incarnation: u64, mut task: Box<dyn Task>) -> Result<(), LaneError> {
        let source = task.source();
        let at = (source.topic, source.partition);
        let Some(taken) = self.owned.get(&at) else { return Ok(()) };
        if incarnation != self.incarnation || self.tasks.contains_key(&at) {
            return Ok(());
        }
        taken.iter().for_each(|&taken| task.expect(taken));
        // The state may come from another process, which knew rules that no marker has named in this one.
        self.library = self.context.rules_cache.now();
        let bounds = self.consumer.bounds(at.0, at.1)?;
        let from = task.start_offset(&bounds);
        self.started += 1;
        let running = RunningTask::new(task, self.started);
        debug!(%source, ?from, end = bounds.end, "restored");
        self.context.progress_map().insert(at, running.progress.clone());
        match from.and_then(|from| self.consumer.assign(at.0, at.1, from, RETIRED)) {
            Ok(()) => drop(self.tasks.insert(at, running)),
            // Only this partition is affected.
            Err(error @ (LogError::Retired { .. } | LogError::Short { .. })) => {
                self.stop_partition(at.0, at.1, error.into())?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Keeps the last record that a task took before it is dropped.
    fn remember(&mut self, at: (Topic, u16), running: &RunningTask) {
        if let Some(taken) = self.owned.get_mut(&at) {
            *taken = (*taken).max(running.task.last_taken());
        }
    }

    fn leave(&mut self, topic: Topic, partition: u16) {
        if self.tasks.remove(&(topic, partition)).is_some() {
            self.consumer.revoke(topic, partition);
        }
        self.context.progress_map().remove(&(topic, partition));
    }

    /// Drops the task of a partition. In a fleet, the other tasks continue.
    fn stop_partition(&mut self, topic: Topic, partition: u16, error: TaskError) -> Result<(), LaneError> {
        if self.context.run_mode == RunMode::Embedded {
            return Err(error.into());
        }
        error!(%topic, partition, %error, "a partition stops; it loses nothing, and continues from its snapshot after the cause is fixed");
        if let Some(running) = self.tasks.remove(&(topic, partition)) {
            self.remember((topic, partition), &running);
            self.consumer.revoke(topic, partition);
        }
        if let Some(progress) = self.context.progress_map().get(&(topic, partition)) {
            *progress.stopped.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error.to_string());
        }
        Ok(())
    }

    /// Reads records and appends the answers. Returns the number of records.
    fn read(&mut self) -> Result<usize, LaneError> {
        let outstanding = self.tasks.values().map(|running| running.task.outstanding()).max().unwrap_or(0);
        if outstanding >= OUTSTANDING_MAX {
            std::thread::sleep(Duration::from_millis(1));
            return Ok(0);
        }
        // Acknowledgements do not wake the lane: it looks for them after the wait.
        let wait = if outstanding > 0 { ACKS_WITHIN } else { IDLE };
        let Self { context, consumer, tasks, library, .. } = self;
        let (mut failed, mut no_rules, mut bytes) = (None, None, 0);
        let taken = consumer.poll(wait, &mut |topic, partition, record| {
            let Some(running) = tasks.get_mut(&(topic, partition)) else { return ControlFlow::Continue(()) };
            match context.rules_cache.for_record(record.bytes, library) {
                Ok(None) => {}
                Ok(Some(more)) => *library = more,
                Err(why) => {
                    no_rules = Some(why);
                    return ControlFlow::Break(());
                }
            }
            match running.take(context, library, record) {
                Ok(more) => bytes += more,
                Err(error) => {
                    failed = Some((topic, partition, error));
                    return ControlFlow::Break(());
                }
            }
            if bytes >= ANSWER_BYTES_MAX || running.task.outstanding() >= OUTSTANDING_MAX {
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

    /// Appends the answers to the log.
    fn append(&mut self) {
        for (&at, running) in &mut self.tasks {
            if running.answers.is_empty() {
                running.publish();
                continue;
            }
            let records = running.drain();
            let end = running.task.handed_out();
            let (number, answers) = (running.number, end - records.len() as u64..end);
            let ack_tx = self.ack_tx.clone();
            let done = move |result| {
                let _ = ack_tx.send(Ack { at, number, answers, result });
            };
            self.appender.append(records, OnFull::Wait, Box::new(done));
        }
    }

    /// Handles acknowledgements.
    fn take_acks(&mut self) -> Result<(), LaneError> {
        let mut is_moving = false;
        while let Ok(Ack { at, number, answers, result }) = self.ack_rx.try_recv() {
            // Answers that were not written are computed again after the restart.
            result?;
            is_moving = true;
            if let Some(running) = self.tasks.get_mut(&at).filter(|running| running.number == number) {
                running.task.made_durable(answers);
                running.publish();
            }
        }
        if is_moving || self.tasks.values().all(|running| running.task.outstanding() == 0) {
            self.heartbeat.beat();
        }
        Ok(())
    }

    /// Whether all records of these tasks are answered, and the answers are durable.
    fn is_settled(&mut self) -> Result<bool, LogError> {
        for (&(topic, partition), running) in &self.tasks {
            if running.progress.settled.load(Ordering::Acquire) != self.consumer.bounds(topic, partition)?.end {
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
        for (&(topic, partition), running) in &self.tasks {
            // A failed request is repeated at the next check: the consumer reports lost connections itself.
            let Ok(bounds) = self.consumer.bounds(topic, partition) else { continue };
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
    fn end(&mut self, snapshots: &Sender<(Snapshot, Progress)>) -> Result<(), LaneError> {
        let began = Instant::now();
        while self.tasks.values().any(|running| running.task.outstanding() > 0) && began.elapsed() < END_WITHIN {
            std::thread::sleep(Duration::from_millis(2));
            self.take_acks()?;
        }
        for running in self.tasks.values_mut() {
            running.snapshots(&self.context, snapshots, true);
        }
        Ok(())
    }
}

/// Writes the snapshots of a lane, on a thread of its own.
fn write_snapshots(context: &WorkerContext, snapshots: &Receiver<(Snapshot, Progress)>) {
    for (snapshot, progress) in snapshots {
        let timer = context.metrics.snapshot_seconds.start_timer();
        let (source, offset, bytes) = (snapshot.source, snapshot.offset, snapshot.state.len());
        match context.snapshots.write(&snapshot) {
            Ok(needed) => {
                timer.observe_duration();
                debug!(%source, offset, bytes, "snapshot");
                progress.snapshot_ms.store(now_ms().cast_unsigned(), Ordering::Release);
                progress.snapshot_offset.store(offset, Ordering::Release);
                (context.published)(source, offset, needed);
            }
            Err(error) => {
                timer.stop_and_discard();
                context.metrics.snapshot_failures.inc();
                warn!(%error, "a snapshot was not written; the earlier ones remain");
            }
        }
    }
    info!("snapshots are written");
}
