//! The lanes of a process whose partitions a fleet assigns. A lane that ends is restarted from its snapshots, and a thread
//! restores tasks one by one.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use domain::model::address::TopicPartition;
use eventlog::api::{Appender, Consumer};
use eventlog::error::LogError;
use eventlog::retry::Retry;
use tracing::warn;

use crate::context::{Heartbeat, WorkerContext};
use crate::lane::{Lane, LaneCommand, LaneError, Owned, Tools};
use crate::restorer::{Request, restore};

/// Delay before a lane restarts after it ran for a while; each further delay is twice as long.
const RETRY_MIN: Duration = Duration::from_millis(500);
/// Maximum delay between restarts and between restores, without jitter.
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Time after which a lane that runs counts as recovered: the next delay is the shortest again.
const RECOVERED_AFTER: Duration = Duration::from_secs(10);
/// Number of failures of a lane, one soon after the other, from which on its partitions count as stopped until it goes on.
const FAILURES_MAX: u32 = 3;
/// Maximum number of commands that a lane has not taken; the role or the restorer then waits for it.
const COMMANDS_MAX: usize = 64;
/// Maximum number of restores that wait; the lanes repeat further requests.
const RESTORES_MAX: usize = 64;

/// Opens a consumer and an appender for each incarnation of a lane.
pub trait Connect: Send + Sync {
    /// A consumer without partitions.
    ///
    /// # Errors
    /// The log cannot be opened.
    fn consumer(&self) -> Result<Box<dyn Consumer>, LogError>;

    /// An appender that only this incarnation uses.
    ///
    /// # Errors
    /// The log cannot be opened.
    fn appender(&self) -> Result<Arc<dyn Appender>, LogError>;
}

/// The lanes.
#[derive(Debug)]
pub struct LaneSupervisor {
    context: Arc<WorkerContext>,
    lanes: Vec<SyncSender<LaneCommand>>,
    threads: Vec<JoinHandle<()>>,
}

impl LaneSupervisor {
    /// Starts lanes without partitions.
    ///
    /// # Panics
    /// If the system cannot start a thread.
    #[must_use]
    pub fn start(context: &Arc<WorkerContext>, connect: &Arc<dyn Connect>, lanes: usize) -> Self {
        let mut threads = Vec::new();
        let lanes = (0..lanes.max(1)).map(|number| {
            let (command_tx, command_rx) = sync_channel(COMMANDS_MAX);
            // One for each lane: a restore is decoding, which takes a processor.
            let (requests, request_rx) = sync_channel(RESTORES_MAX);
            let own = Arc::clone(context);
            threads.push(spawn(&format!("restorer-{number}"), move || restore(&own, &request_rx)));
            let (context, connect, own) = (Arc::clone(context), Arc::clone(connect), command_tx.clone());
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
    ///
    /// It waits while the lane has not taken `COMMANDS_MAX` commands. A lane takes them in each turn, and never waits for a sender
    /// of commands.
    pub fn own(&self, partition: TopicPartition) {
        let _ = self.lane(partition).send(LaneCommand::Own(partition));
    }

    /// Revokes a partition: it is another process's. It waits as [`LaneSupervisor::own`] does.
    pub fn leave(&self, partition: TopicPartition) {
        let _ = self.lane(partition).send(LaneCommand::Leave(partition));
    }

    fn lane(&self, partition: TopicPartition) -> &SyncSender<LaneCommand> {
        &self.lanes[usize::from(partition.partition) % self.lanes.len()]
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
    own: SyncSender<LaneCommand>,
    requests: SyncSender<Request>,
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
        let mut retry = Retry::new(RETRY_MIN, RETRY_MAX);
        let mut failures = 0;
        while !context.is_stopping() {
            self.incarnation += 1;
            let began = Instant::now();
            let lane = std::panic::AssertUnwindSafe(|| self.work(context, connect, commands, heartbeat, &mut owned));
            let why = match std::panic::catch_unwind(lane) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "an internal error".to_owned(),
            };
            warn!(lane = self.number, why, "a lane failed; it restarts from its snapshots");
            context.metrics.restarts.inc();
            if began.elapsed() >= RECOVERED_AFTER {
                retry.reset();
                failures = 0;
            }
            failures += 1;
            if failures >= FAILURES_MAX {
                for (_, progress) in context.progress_map().iter().filter(|(of, _)| owned.contains_key(of)) {
                    *progress.stopped.lock() = Some(format!("{why}; its lane is restarted"));
                }
            }
            retry.sleep_unless(|| context.is_stopping());
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
        let request_restore = |partition, incarnation, wanted| {
            self.requests.try_send(Request { partition, incarnation, wanted, to: self.own.clone() }).is_ok()
        };
        Lane::new(context, self.incarnation, tools, owned, commands, &request_restore).run()
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system can start a thread")
}
