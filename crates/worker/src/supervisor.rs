//! The lanes of a process whose partitions a fleet assigns. A lane that ends is restarted from its snapshots, and a thread
//! restores tasks one by one.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::model::address::Topic;
use eventlog::api::{Appender, Consumer};
use eventlog::error::LogError;
use tracing::warn;

use crate::context::{Heartbeat, WorkerContext};
use crate::desks::open_task;
use crate::lane::{Lane, LaneCommand, LaneError, Owned, Tools};
use crate::snapshot::SnapshotError;
use crate::task::TaskError;

/// Delay before a lane restarts, and before a failed restore is retried.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Opens a consumer and an appender for each incarnation of a lane.
pub trait Connect: Send + Sync {
    /// # Errors
    /// The log cannot be opened.
    fn consumer(&self) -> Result<Box<dyn Consumer>, LogError>;

    /// # Errors
    /// The log cannot be opened.
    fn appender(&self) -> Result<Arc<dyn Appender>, LogError>;
}

/// The lanes.
#[derive(Debug)]
pub struct LaneSupervisor {
    context: Arc<WorkerContext>,
    lanes: Vec<Sender<LaneCommand>>,
    threads: Vec<JoinHandle<()>>,
}

/// A task to restore, and the lane that waits for it.
struct Request {
    topic: Topic,
    partition: u16,
    incarnation: u64,
    to: Sender<LaneCommand>,
}

impl LaneSupervisor {
    /// Starts lanes without partitions.
    ///
    /// # Panics
    /// If the system cannot start a thread.
    #[must_use]
    pub fn start(context: &Arc<WorkerContext>, connect: &Arc<dyn Connect>, lanes: usize) -> Self {
        let (request_tx, request_rx) = channel();
        let own = Arc::clone(context);
        let mut threads = vec![spawn("restorer", move || restore(&own, &request_rx))];
        let lanes = (0..lanes.max(1)).map(|number| {
            let (command_tx, command_rx) = channel();
            let (context, connect, own) = (Arc::clone(context), Arc::clone(connect), command_tx.clone());
            let requests = request_tx.clone();
            let heartbeat = context.heartbeat();
            threads.push(spawn(&format!("lane-{number}"), move || {
                let mut lane = SupervisedLane { number, own, requests, incarnation: 0 };
                lane.run(&context, &*connect, &command_rx, &heartbeat);
            }));
            command_tx
        });
        Self { context: Arc::clone(context), lanes: lanes.collect(), threads }
    }

    /// Assigns a partition to this process. The partitions of all desks with the same number share a lane.
    pub fn own(&self, topic: Topic, partition: u16) {
        let _ = self.lane(partition).send(LaneCommand::Own(topic, partition));
    }

    /// Revokes a partition: it is another process's.
    pub fn leave(&self, topic: Topic, partition: u16) {
        let _ = self.lane(partition).send(LaneCommand::Leave(topic, partition));
    }

    fn lane(&self, partition: u16) -> &Sender<LaneCommand> {
        &self.lanes[usize::from(partition) % self.lanes.len()]
    }

    /// Stops the lanes; each takes its last snapshots.
    pub fn stop(self) {
        self.context.stop();
        drop(self.lanes);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// A lane that is restarted when it ends.
struct SupervisedLane {
    number: usize,
    own: Sender<LaneCommand>,
    requests: Sender<Request>,
    incarnation: u64,
}

impl SupervisedLane {
    fn run(
        &mut self,
        context: &Arc<WorkerContext>,
        connect: &dyn Connect,
        commands: &Receiver<LaneCommand>,
        heartbeat: &Arc<Heartbeat>,
    ) {
        let mut owned = Owned::new();
        while !context.is_stopping() {
            self.incarnation += 1;
            let lane = std::panic::AssertUnwindSafe(|| self.work(context, connect, commands, heartbeat, &mut owned));
            match std::panic::catch_unwind(lane) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    warn!(lane = self.number, %error, "a lane failed; it restarts from its snapshots");
                }
                Err(_) => {
                    warn!(lane = self.number, "a lane stopped at a broken invariant; it restarts from its snapshots");
                }
            }
            context.metrics.restarts.inc();
            std::thread::sleep(RETRY_AFTER);
        }
    }

    fn work(
        &self,
        context: &Arc<WorkerContext>,
        connect: &dyn Connect,
        commands: &Receiver<LaneCommand>,
        heartbeat: &Arc<Heartbeat>,
        owned: &mut Owned,
    ) -> Result<(), LaneError> {
        let tools =
            Tools { consumer: connect.consumer()?, appender: connect.appender()?, heartbeat: Arc::clone(heartbeat) };
        let request_restore = |topic, partition, incarnation| {
            let _ = self.requests.send(Request { topic, partition, incarnation, to: self.own.clone() });
        };
        Lane::new(context, self.incarnation, tools, owned, commands, &request_restore).run()
    }
}

/// Restores tasks one by one. A store or a log that does not answer is retried until it does.
fn restore(context: &WorkerContext, requests: &Receiver<Request>) {
    while let Ok(Request { topic, partition, incarnation, to }) = requests.recv() {
        let (mut is_logged, mut is_second) = (false, false);
        let command = loop {
            if context.is_stopping() {
                return;
            }
            let timer = context.metrics.restore_seconds.start_timer();
            let opened = context
                .rules_cache
                .refreshed()
                .map(|library| open_task(&context.meta, (topic, partition), &context.snapshots, &library));
            let why = match opened {
                Ok(Ok(task)) => break LaneCommand::Restored(incarnation, task),
                Ok(Err(TaskError::Snapshot(error @ SnapshotError::Io { .. }))) => error.to_string(),
                // Another process may have published its rules after this one read them: read them once more.
                Ok(Err(TaskError::State { .. })) if !std::mem::replace(&mut is_second, true) => continue,
                Ok(Err(error)) => break LaneCommand::Broken(incarnation, topic, partition, error),
                Err(why) => format!("the rules cannot be read: {why}"),
            };
            timer.stop_and_discard();
            if !std::mem::replace(&mut is_logged, true) {
                warn!(%topic, partition, why, "a task cannot be restored; it is retried");
            }
            std::thread::sleep(RETRY_AFTER);
        };
        let _ = to.send(command);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system can start a thread")
}
