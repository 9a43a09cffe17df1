//! The lanes of a process that has its partitions from a fleet: each is begun again when it ends, from its snapshots; states are
//! restored one by one beside them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::model::address::Topic;
use eventlog::api::{Appender, Consumer};
use eventlog::error::LogError;
use tracing::warn;

use crate::any_task::AnyTask;
use crate::context::{Heartbeat, WorkerContext};
use crate::lane::{Lane, LaneError, Order, Owned, Tools};
use crate::snapshot::SnapshotError;
use crate::task::TaskError;

/// How soon a lane that ended is begun again, and a store that refuses is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Gives every incarnation of a lane a feed and an appender of its own.
pub trait Connect: Send + Sync {
    /// # Errors
    /// The log is not there.
    fn feed(&self) -> Result<Box<dyn Consumer>, LogError>;

    /// # Errors
    /// The log is not there.
    fn appender(&self) -> Result<Arc<dyn Appender>, LogError>;
}

/// The lanes.
#[derive(Debug)]
pub struct LaneSupervisor {
    works: Arc<WorkerContext>,
    lanes: Vec<Sender<Order>>,
    threads: Vec<JoinHandle<()>>,
}

/// A state that is to be restored, and who waits for it.
struct Request {
    topic: Topic,
    partition: u16,
    incarnation: u64,
    to: Sender<Order>,
}

impl LaneSupervisor {
    /// Starts so many lanes; they own nothing yet.
    ///
    /// # Panics
    /// If the system has no room for a thread.
    #[must_use]
    pub fn start(works: &Arc<WorkerContext>, connect: &Arc<dyn Connect>, lanes: usize) -> Self {
        let (to_restorer, requests) = channel();
        let own = Arc::clone(works);
        let mut threads = vec![spawn("restorer", move || restore(&own, &requests))];
        let lanes = (0..lanes.max(1)).map(|number| {
            let (orders, ordered) = channel();
            let (works, connect, own) = (Arc::clone(works), Arc::clone(connect), orders.clone());
            let requests = to_restorer.clone();
            let pulse = works.pulse();
            threads.push(spawn(&format!("lane-{number}"), move || {
                let mut post = SupervisedLane { number, own, requests, incarnation: 0 };
                post.run(&works, &*connect, &ordered, &pulse);
            }));
            orders
        });
        Self { works: Arc::clone(works), lanes: lanes.collect(), threads }
    }

    /// A partition is this process's from now on. All desks' partitions of one number share a lane.
    pub fn own(&self, topic: Topic, partition: u16) {
        let _ = self.lane(partition).send(Order::Own(topic, partition));
    }

    /// A partition is another process's from now on.
    pub fn leave(&self, topic: Topic, partition: u16) {
        let _ = self.lane(partition).send(Order::Leave(topic, partition));
    }

    fn lane(&self, partition: u16) -> &Sender<Order> {
        &self.lanes[usize::from(partition) % self.lanes.len()]
    }

    /// Ends with last snapshots.
    pub fn stop(self) {
        self.works.stop();
        drop(self.lanes);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// A lane's post: whoever works there is replaced.
struct SupervisedLane {
    number: usize,
    own: Sender<Order>,
    requests: Sender<Request>,
    incarnation: u64,
}

impl SupervisedLane {
    fn run(
        &mut self,
        works: &Arc<WorkerContext>,
        connect: &dyn Connect,
        orders: &Receiver<Order>,
        pulse: &Arc<Heartbeat>,
    ) {
        let mut owned = Owned::new();
        while !works.is_stopping() {
            self.incarnation += 1;
            let lane = std::panic::AssertUnwindSafe(|| self.work(works, connect, orders, pulse, &mut owned));
            match std::panic::catch_unwind(lane) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    warn!(lane = self.number, %error, "a lane begins again from its snapshots");
                }
                Err(_) => warn!(
                    lane = self.number,
                    "a lane stopped at a broken invariant; it begins again from its snapshots"
                ),
            }
            works.metrics.restarts.inc();
            std::thread::sleep(AGAIN);
        }
    }

    fn work(
        &self,
        works: &Arc<WorkerContext>,
        connect: &dyn Connect,
        orders: &Receiver<Order>,
        pulse: &Arc<Heartbeat>,
        owned: &mut Owned,
    ) -> Result<(), LaneError> {
        let tools = Tools { feed: connect.feed()?, appender: connect.appender()?, pulse: Arc::clone(pulse) };
        let ask = |topic, partition, incarnation| {
            let _ = self.requests.send(Request { topic, partition, incarnation, to: self.own.clone() });
        };
        Lane::new(works, self.incarnation, tools, owned, orders, &ask).run()
    }
}

/// Restores states one by one. A store or a log that does not answer is asked again for as long as it takes.
fn restore(works: &WorkerContext, requests: &Receiver<Request>) {
    while let Ok(Request { topic, partition, incarnation, to }) = requests.recv() {
        let (mut is_told, mut is_second) = (false, false);
        let order = loop {
            if works.is_stopping() {
                return;
            }
            let timer = works.metrics.restore_seconds.start_timer();
            let opened = works
                .books
                .refreshed()
                .map(|library| AnyTask::open(&works.meta, (topic, partition), &works.snapshots, &library));
            let why = match opened {
                Ok(Ok(station)) => break Order::Restored(incarnation, station),
                Ok(Err(TaskError::Snapshot(error @ SnapshotError::Io { .. }))) => error.to_string(),
                // Its rules may have been published between the two looks.
                Ok(Err(TaskError::State { .. })) if !std::mem::replace(&mut is_second, true) => continue,
                Ok(Err(error)) => break Order::Broken(incarnation, topic, partition, error),
                Err(why) => format!("the rules cannot be read: {why}"),
            };
            timer.stop_and_discard();
            if !std::mem::replace(&mut is_told, true) {
                warn!(%topic, partition, why, "a state cannot be restored now; it is tried again");
            }
            std::thread::sleep(AGAIN);
        };
        let _ = to.send(order);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system has room for a thread")
}
