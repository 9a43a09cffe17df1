//! The threads that restore tasks, one for each lane. A task whose snapshot or rules cannot be read is tried again later, and holds up
//! no other.

use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use domain::model::address::TopicPartition;
use eventlog::retry::Retry;
use tracing::{info, warn};

use crate::context::WorkerContext;
use crate::desks::open_task;
use crate::lane::LaneCommand;
use crate::task::TaskError;

/// Delay before a failed restore is tried again; each further delay is twice as long.
const RETRY_MIN: Duration = Duration::from_millis(500);
/// Maximum of that delay, without jitter.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Maximum time between two looks at whether the worker stops.
const STOP_CHECKED: Duration = Duration::from_millis(200);

/// A task to restore, and the lane that waits for it.
pub(crate) struct Request {
    pub(crate) partition: TopicPartition,
    pub(crate) incarnation: u64,
    /// The lane has dropped its side once it does not wait any more: the partition was revoked, or the lane has ended.
    pub(crate) wanted: Weak<()>,
    pub(crate) to: SyncSender<LaneCommand>,
}

/// A request that is tried until it succeeds, or is not wanted any more.
struct Attempt {
    request: Request,
    due: Instant,
    retry: Retry,
    /// Whether a failure was logged.
    is_logged: bool,
    /// Whether the rules were read once more.
    is_second: bool,
    /// The result, while the lane has no room for it.
    result: Option<LaneCommand>,
}

/// Restores the tasks of a lane one by one until the worker stops.
pub(crate) fn restore(context: &WorkerContext, requests: &Receiver<Request>) {
    // At most one for each partition that the lanes own.
    let mut attempts: Vec<Attempt> = Vec::new();
    loop {
        let next = attempts.iter().map(|attempt| attempt.due).min();
        let wait = next.map_or(STOP_CHECKED, |due| due.saturating_duration_since(Instant::now()).min(STOP_CHECKED));
        match requests.recv_timeout(wait) {
            Ok(request) => attempts.push(Attempt::new(request)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if attempts.is_empty() => return,
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(wait),
        }
        attempts.extend(requests.try_iter().map(Attempt::new));
        if context.is_stopping() {
            return;
        }
        attempts.retain(|attempt| attempt.request.wanted.strong_count() > 0);
        let now = Instant::now();
        let first = attempts.iter().enumerate().filter(|(_, a)| a.due <= now).min_by_key(|(_, a)| a.due);
        let Some((at, _)) = first else { continue };
        if attempts[at].is_done(context) {
            attempts.swap_remove(at);
        }
    }
}

impl Attempt {
    fn new(request: Request) -> Self {
        let retry = Retry::new(RETRY_MIN, RETRY_MAX);
        Self { request, due: Instant::now(), retry, is_logged: false, is_second: false, result: None }
    }

    /// Tries to restore the task, and to give it to its lane. Returns whether the request is done with.
    fn is_done(&mut self, context: &WorkerContext) -> bool {
        let result = self.result.take().or_else(|| self.restored(context));
        let Some(result) = result else {
            self.due = Instant::now() + self.retry.delay();
            return false;
        };
        match self.request.to.try_send(result) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => true,
            // The lane takes its commands in its next turn.
            Err(TrySendError::Full(result)) => {
                self.result = Some(result);
                self.due = Instant::now() + Duration::from_millis(1);
                false
            }
        }
    }

    /// The task, or why there will be none; `None` if another attempt may succeed.
    fn restored(&mut self, context: &WorkerContext) -> Option<LaneCommand> {
        let Request { partition, incarnation, .. } = self.request;
        let timer = context.metrics.restore_seconds.start_timer();
        if let Err(why) = context.check_memory(partition) {
            timer.stop_and_discard();
            self.report(context, &why);
            return None;
        }
        let opened = context.rules_cache.refreshed();
        let opened = opened.map(|library| open_task(&context.meta, partition, &context.snapshots, &library));
        let why = match opened {
            Ok(Ok(task)) => {
                if self.is_logged {
                    info!(topic = %partition.topic, partition = partition.partition, "a task is restored after all");
                }
                return Some(LaneCommand::Restored(incarnation, task));
            }
            Ok(Err(TaskError::Snapshot(error))) if error.may_pass() => error.to_string(),
            // Another process may have published its rules after this one read them: read them once more.
            Ok(Err(TaskError::State { .. })) if !std::mem::replace(&mut self.is_second, true) => {
                timer.stop_and_discard();
                return self.restored(context);
            }
            Ok(Err(error)) => return Some(LaneCommand::Broken(incarnation, partition, error)),
            Err(why) => format!("the rules cannot be read: {why}"),
        };
        timer.stop_and_discard();
        self.report(context, &why);
        None
    }

    /// Reports why the task is not restored yet.
    fn report(&mut self, context: &WorkerContext, why: &str) {
        let partition = self.request.partition;
        context.report_waiting(partition, &format!("{why}; it is tried again"), &self.request.wanted);
        if !std::mem::replace(&mut self.is_logged, true) {
            warn!(topic = %partition.topic, partition = partition.partition, why, "a task cannot be restored; it is tried again, others go on");
        }
    }
}
