//! Events of many requests become one frame per partition, and the frames one round of the log.
//!
//! Whoever brings events adds them to the round that is open and waits for it. A thread closes the open round as soon as
//! fewer than so many are under way: alone, an event waits for nobody; in a crowd, what comes while the disk is busy
//! travels together. Under the event clock one round is under way at a time, and if it is refused, so is all that was stamped
//! after it: the clock is the maximum of what was accepted.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::frame::{Body, Kind, seal};
use domain::model::event::Event;
use domain::model::ids;
use domain::model::place::Topic;
use domain::model::time::Millis;
use log::local::Refused;
use log::store::Append;
use tokio::sync::watch;

use crate::clock::{Epoch, Stamps};
use crate::metrics::{Metrics, Transport};
use crate::road::Road;
use crate::spool::{Done, Durable};

/// So many rounds may be under way under the event clock.
const ROUNDS_MAX_EVENT: usize = 1;
/// Whoever closes an intake waits so long at most.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// Events of one request, encoded and by partition.
#[derive(Debug)]
pub struct Parcel {
    bodies: Vec<(Body, Millis)>,
    epoch: Epoch,
    events: Counts,
}

/// Numbers of events by transport, in the order of [`Transport::ALL`].
type Counts = [u64; Transport::ALL.len()];

impl Parcel {
    /// An empty one, for a log with so many partitions of `scans`, for events that are stamped in one epoch.
    fn new(partitions: u16, epoch: Epoch) -> Self {
        Self {
            bodies: (0..partitions).map(|_| (Body::default(), Millis::MIN)).collect(),
            epoch,
            events: Counts::default(),
        }
    }

    /// The epoch in which its events must be stamped.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.iter().sum()
    }

    /// Adds an event that has its stamp.
    pub fn push(&mut self, event: &Event<'_>, transport: Transport) {
        self.events[transport as usize] += 1;
        let partitions = u16::try_from(self.bodies.len()).expect("as many as the log has");
        let partition = ids::partition(ids::shard(event.shopper_key), partitions);
        let (body, received) = &mut self.bodies[usize::from(partition)];
        body.push(event);
        *received = event.stamp.max(*received);
    }
}

/// The end of a round.
type Outcome = Option<Result<Durable, Refused>>;

/// What is being gathered.
struct Open {
    parcel: Parcel,
    is_empty: bool,
    outcome: watch::Sender<Outcome>,
    /// Those who do not wait, but are called.
    told: Vec<Done>,
    under_way: usize,
    is_closed: bool,
    is_over: bool,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("parcel", &self.parcel).field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

/// Where requests bring their events.
#[derive(Debug)]
pub struct Intake {
    open: Mutex<Open>,
    wake: Condvar,
    /// The thread that closes rounds has ended.
    over: Condvar,
    road: Road,
    pub stamps: Stamps,
    metrics: Metrics,
    partitions: u16,
    rounds_max: usize,
}

impl Intake {
    /// Starts the thread that closes rounds, of which so many may be under way; it ends with [`Intake::close`].
    ///
    /// # Panics
    /// If the system has no room for a thread.
    #[must_use]
    pub fn start(road: Road, partitions: u16, stamps: Stamps, rounds_max: usize, metrics: Metrics) -> Arc<Self> {
        let open = Open {
            parcel: Parcel::new(partitions, stamps.epoch()),
            is_empty: true,
            outcome: watch::Sender::new(None),
            told: Vec::new(),
            under_way: 0,
            is_closed: false,
            is_over: false,
        };
        let rounds_max = if matches!(stamps, Stamps::Wall) { rounds_max } else { ROUNDS_MAX_EVENT };
        let intake = Self {
            open: Mutex::new(open),
            wake: Condvar::new(),
            over: Condvar::new(),
            road,
            stamps,
            metrics,
            partitions,
            rounds_max,
        };
        let intake = Arc::new(intake);
        let own = Arc::clone(&intake);
        std::thread::Builder::new()
            .name("intake".to_owned())
            .spawn(move || own.run())
            .expect("the system has room for a thread");
        intake
    }

    /// An empty parcel.
    #[must_use]
    pub fn parcel(&self) -> Parcel {
        Parcel::new(self.partitions, self.stamps.epoch())
    }

    /// Makes events durable, and counts them, also if whoever sent them does not wait for the answer. Says where they are.
    ///
    /// # Errors
    /// None of them is accepted.
    pub async fn take(&self, parcel: Parcel) -> Result<Durable, Refused> {
        let (mut outcome, wakes) = {
            let mut open = self.open();
            let wakes = self.add(&mut open, parcel)?;
            (open.outcome.subscribe(), wakes)
        };
        if wakes {
            self.wake.notify_one();
        }
        let ended = outcome.wait_for(Option::is_some).await;
        ended.map_or(Err(Refused::Closed), |outcome| outcome.unwrap_or(Err(Refused::Closed)))
    }

    /// The same for whoever has no task that could wait: `told` is called once.
    pub fn give(&self, parcel: Parcel, told: Done) {
        let mut open = self.open();
        match self.add(&mut open, parcel) {
            Ok(wakes) => {
                open.told.push(told);
                drop(open);
                if wakes {
                    self.wake.notify_one();
                }
            }
            Err(refused) => {
                drop(open);
                told(Err(refused));
            }
        }
    }

    /// Adds a parcel to what is open, or counts it as shed. Says whether the thread that closes rounds waits for it: who comes
    /// later to the same round need not wake it, and while rounds are under way it is the end of one that does.
    fn add(&self, open: &mut Open, parcel: Parcel) -> Result<bool, Refused> {
        let refused = if open.is_closed {
            Some(Refused::Closed)
        } else {
            (open.parcel.epoch != parcel.epoch).then_some(Refused::Full)
        };
        if let Some(refused) = refused {
            self.metrics.shed(refused.into(), parcel.events());
            return Err(refused);
        }
        for (sum, more) in open.parcel.events.iter_mut().zip(parcel.events) {
            *sum += more;
        }
        for ((body, received), (more, at)) in open.parcel.bodies.iter_mut().zip(parcel.bodies) {
            let mut more = more;
            if !more.is_empty() {
                body.append(&mut more);
                *received = at.max(*received);
            }
        }
        let was_empty = std::mem::replace(&mut open.is_empty, false);
        Ok(was_empty && open.under_way < self.rounds_max)
    }

    /// Takes no more, and waits until what is open was given to the road, which may be closed then; not for ever, if rounds before it
    /// do not end.
    pub fn close(&self) {
        let mut open = self.open();
        open.is_closed = true;
        self.wake.notify_one();
        let ended = self.over.wait_timeout_while(open, CLOSE_PATIENCE, |open| !open.is_over);
        drop(ended.unwrap_or_else(PoisonError::into_inner));
    }

    fn run(self: Arc<Self>) {
        loop {
            let mut open = self.open();
            while open.is_empty || open.under_way >= self.rounds_max {
                if open.is_closed && open.is_empty {
                    open.is_over = true;
                    self.over.notify_all();
                    return;
                }
                open = self.wake.wait(open).unwrap_or_else(PoisonError::into_inner);
            }
            open.is_empty = true;
            open.under_way += 1;
            let parcel = std::mem::replace(&mut open.parcel, self.parcel());
            let outcome = std::mem::replace(&mut open.outcome, watch::Sender::new(None));
            let told = std::mem::take(&mut open.told);
            drop(open);
            let own = Arc::clone(&self);
            let events = parcel.events;
            let last = parcel.bodies.iter().map(|(_, received)| *received).max().unwrap_or(Millis::MIN);
            let done = move |result| {
                own.ended(result, last, events);
                outcome.send_replace(Some(result));
                told.into_iter().for_each(|told| told(result));
            };
            self.road.append(frames(parcel), Box::new(done));
        }
    }

    /// A round is durable or refused.
    fn ended(&self, result: Result<Durable, Refused>, last: Millis, events: Counts) {
        let mut told = Vec::new();
        let mut open = self.open();
        open.under_way -= 1;
        match result {
            Ok(_) => {
                self.stamps.accepted(last);
                for (transport, events) in Transport::ALL.into_iter().zip(events) {
                    self.metrics.accept(transport, events);
                }
            }
            Err(refused) => {
                self.metrics.shed(refused.into(), events.iter().sum());
                if self.stamps.refused() {
                    self.metrics.shed(refused.into(), open.parcel.events());
                    told = std::mem::take(&mut open.told);
                    open.parcel = self.parcel();
                    open.is_empty = true;
                    std::mem::replace(&mut open.outcome, watch::Sender::new(None)).send_replace(Some(Err(refused)));
                }
            }
        }
        drop(open);
        self.wake.notify_one();
        // Only what was refused together with this round is told here.
        told.into_iter().for_each(|told| told(result));
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn frames(parcel: Parcel) -> Vec<Append> {
    let mut frames = Vec::new();
    for (partition, (mut body, received)) in (0..).zip(parcel.bodies) {
        if body.is_empty() {
            continue;
        }
        body.drain(|bytes, count| {
            let record = seal(Kind::Events, received, None, count, bytes);
            frames.push(Append { topic: Topic::Scans, partition, record });
        });
    }
    frames
}
