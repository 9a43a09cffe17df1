//! Appends to Kafka. What is acknowledged is in the log; what is refused may be there all the same.
//!
//! - `pump`: what is sent when, and what is under way
//! - `producer`: a producer and its thread
//! - `room`: bytes held, metrics
//!
//! A thread takes what is given and what the producer reports from one channel, so that neither waits for the other.

mod producer;
mod pump;
mod room;

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::error::LogError;
use crate::feed::Appender;
use crate::kafka::settings::Settings;
use crate::local::{Done, Health, OnFull, Refused};
use crate::store::Append;
use producer::{Fault, Producer};
use pump::{Failure, Pump};
use room::Room;

pub use room::Metrics;

/// How often it looks at the time, at least.
const TICK: Duration = Duration::from_millis(100);
/// What waits is taken in turns of so many.
const EVENTS_MAX: usize = 1024;
/// How long `close` waits for what is under way.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// A producer takes the place of one that failed after so long, and each time after twice as long.
const REBUILD_FIRST: Duration = Duration::from_millis(50);
const REBUILD_LAST: Duration = Duration::from_secs(5);

/// What happens once a producer fails. It is thrown away in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Everything is refused from then on: a lane begins again from its snapshot, with another appender.
    End,
    /// What is not acknowledged is sent again, by another producer: what was there already is there twice.
    Resend,
}

/// How an appender behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub on_failure: OnFailure,
    /// Appends that may be refused are, while so many bytes are not acknowledged.
    pub queue_bytes_max: usize,
    /// Appends that may be refused are, if they are not acknowledged for so long; and new ones, while there is such a one.
    pub ack_timeout: Duration,
}

impl Options {
    /// For a lane: its answers wait, and a failure ends it.
    #[must_use]
    pub fn lane() -> Self {
        Self { on_failure: OnFailure::End, ..Self::edge() }
    }

    /// For an edge: whoever sends events is told if they are not taken soon.
    #[must_use]
    pub fn edge() -> Self {
        let (queue_bytes_max, ack_timeout) = (64 * 1024 * 1024, Duration::from_secs(10));
        Self { on_failure: OnFailure::Resend, queue_bytes_max, ack_timeout }
    }
}

/// Appends to Kafka.
#[derive(Debug)]
pub struct KafkaAppender {
    shared: Arc<Shared>,
    events: Sender<Event>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    room: Arc<Room>,
    health: AtomicU8,
    is_closed: AtomicBool,
}

impl Shared {
    fn health(&self) -> Health {
        match self.health.load(Ordering::Acquire) {
            0 => Health::Good,
            1 => Health::Full,
            _ => Health::Failed,
        }
    }

    fn refusal(&self, on_full: OnFull) -> Option<Refused> {
        match self.health() {
            Health::Failed => Some(Refused::Failed),
            _ if self.is_closed.load(Ordering::Acquire) => Some(Refused::Closed),
            Health::Full if on_full == OnFull::Refuse => Some(Refused::Full),
            _ => None,
        }
    }
}

/// What the thread is told.
enum Event {
    Append { records: Vec<Append>, on_full: OnFull, since: Instant, done: Done },
    Report { generation: u64, number: usize, result: Result<(), Fault> },
    Wake,
}

impl KafkaAppender {
    /// Starts an appender. `client_id` names it in the brokers' logs and in ours.
    ///
    /// # Errors
    /// The settings are refused.
    ///
    /// # Panics
    /// If the system has no room for a thread.
    pub fn start(settings: &Settings, client_id: &str, options: Options, metrics: &Metrics) -> Result<Self, LogError> {
        let room = Arc::new(Room::new(options.queue_bytes_max, metrics.queue_bytes.clone()));
        let shared = Arc::new(Shared {
            room: Arc::clone(&room),
            health: AtomicU8::new(Health::Good as u8),
            is_closed: AtomicBool::new(false),
        });
        let (events, received) = channel();
        let producer = Producer::new(settings, client_id, 0, events.clone())?;
        let writer = Writer {
            settings: settings.clone(),
            client_id: client_id.to_owned(),
            pump: Pump::new(options.on_failure == OnFailure::Resend, room),
            options,
            shared: Arc::clone(&shared),
            metrics: metrics.clone(),
            events: events.clone(),
            received,
            producer: Some(producer),
            generation: 0,
            rebuild: (Instant::now(), REBUILD_FIRST),
        };
        let thread = std::thread::Builder::new().name("kafka-appender".to_owned()).spawn(move || writer.run_guarded());
        let thread = Mutex::new(Some(thread.expect("the system has room for a thread")));
        Ok(Self { shared, events, thread })
    }

    /// Appends records and waits.
    ///
    /// # Errors
    /// They are refused; they may be in the log all the same.
    pub fn append_and_wait(&self, records: Vec<Append>, on_full: OnFull) -> Result<(), Refused> {
        let (tell, told) = channel();
        let done = move |result| {
            let _ = tell.send(result);
        };
        self.append(records, on_full, Box::new(done));
        told.recv().unwrap_or(Err(Refused::Closed))
    }
}

impl Appender for KafkaAppender {
    fn append(&self, records: Vec<Append>, on_full: OnFull, done: Done) {
        let Shared { room, .. } = &*self.shared;
        if let Some(refused) = self.shared.refusal(on_full) {
            return done(Err(refused));
        }
        let bytes = records.iter().map(|r| r.record.len()).sum();
        match on_full {
            OnFull::Wait => room.take(bytes),
            OnFull::Refuse if room.try_take(bytes) => {}
            OnFull::Refuse => return done(Err(Refused::Full)),
        }
        let since = Instant::now();
        if let Err(unsent) = self.events.send(Event::Append { records, on_full, since, done }) {
            room.give_back(bytes);
            if let Event::Append { done, .. } = unsent.0 {
                done(Err(self.shared.refusal(on_full).unwrap_or(Refused::Closed)));
            }
        }
    }

    fn health(&self) -> Health {
        self.shared.health()
    }

    fn close(&self) {
        self.shared.is_closed.store(true, Ordering::Release);
        let _ = self.events.send(Event::Wake);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for KafkaAppender {
    fn drop(&mut self) {
        self.close();
    }
}

struct Writer {
    settings: Settings,
    client_id: String,
    options: Options,
    pump: Pump,
    shared: Arc<Shared>,
    metrics: Metrics,
    events: Sender<Event>,
    received: Receiver<Event>,
    /// None after a failure, until another takes its place.
    producer: Option<Producer>,
    generation: u64,
    /// When, and how long to wait the next time.
    rebuild: (Instant, Duration),
}

impl Writer {
    /// Runs; a broken invariant is a failure that everybody is told of.
    fn run_guarded(mut self) {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run()));
        if run.is_err() {
            error!(target: "kafka", client = %self.client_id, "an appender stops at a broken invariant");
            self.shared.health.store(Health::Failed as u8, Ordering::Release);
        }
        self.shared.is_closed.store(true, Ordering::Release);
        self.pump.refuse_all(self.shared.refusal(OnFull::Wait).unwrap_or(Refused::Closed));
        while let Ok(event) = self.received.try_recv() {
            self.take(event);
        }
        self.pump.refuse_all(self.shared.refusal(OnFull::Wait).unwrap_or(Refused::Closed));
        if let Some(producer) = self.producer.take() {
            producer.end();
        }
    }

    fn run(&mut self) {
        let mut closes: Option<Instant> = None;
        loop {
            match self.received.recv_timeout(TICK) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for _ in 1..EVENTS_MAX {
                let Ok(event) = self.received.try_recv() else { break };
                self.take(event);
            }
            if let Some(fault) = self.producer.as_ref().and_then(Producer::fatal_error) {
                self.fail(&fault.why);
            }
            self.look_at_the_time();
            self.send();
            if self.shared.is_closed.load(Ordering::Acquire) {
                let until = *closes.get_or_insert_with(|| Instant::now() + CLOSE_WITHIN);
                if self.pump.is_empty() || Instant::now() > until || self.shared.health() == Health::Failed {
                    return;
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Append { records, on_full, since, done } => match self.shared.health() {
                Health::Failed => {
                    self.shared.room.give_back(records.iter().map(|r| r.record.len()).sum());
                    done(Err(Refused::Failed));
                }
                _ => self.pump.push(records, on_full, since, done),
            },
            Event::Report { generation, number, result } => {
                // What a producer reports that was thrown away counts no more.
                if self.producer.as_ref().is_some_and(|producer| producer.generation == generation) {
                    self.reported(number, result);
                }
            }
            Event::Wake => {}
        }
    }

    fn reported(&mut self, number: usize, result: Result<(), Fault>) {
        match result {
            Ok(()) => match self.pump.delivered(number) {
                Ok((bytes, done)) => {
                    self.rebuild.1 = REBUILD_FIRST;
                    self.metrics.frames.inc();
                    self.metrics.bytes.inc_by(bytes as u64);
                    if let Some(since) = done {
                        self.metrics.ack_seconds.observe(since.elapsed().as_secs_f64());
                    }
                }
                Err(()) => self.fail("records were reported out of their order"),
            },
            Err(fault) => {
                if fault.is_for_good && self.options.on_failure == OnFailure::Resend {
                    self.pump.too_large(number);
                }
                self.fail(&fault.why);
            }
        }
    }

    /// Refuses what waits for too long, and says how things are.
    fn look_at_the_time(&mut self) {
        if self.shared.health() == Health::Failed {
            return;
        }
        let is_late = |oldest: Instant| oldest.elapsed() > self.options.ack_timeout;
        if self.pump.oldest().is_some_and(is_late)
            && let Some(before) = Instant::now().checked_sub(self.options.ack_timeout)
        {
            self.pump.expire(before);
        }
        let is_full = self.pump.oldest().is_some_and(is_late);
        let health = if is_full { Health::Full } else { Health::Good };
        match (self.shared.health.swap(health as u8, Ordering::AcqRel) == Health::Full as u8, is_full) {
            (false, true) => {
                warn!(target: "kafka", client = %self.client_id, "Kafka has not acknowledged in time: appends are refused");
            }
            (true, false) => info!(target: "kafka", client = %self.client_id, "Kafka acknowledges again"),
            _ => {}
        }
    }

    fn send(&mut self) {
        if self.shared.health() == Health::Failed {
            return;
        }
        if self.producer.is_none() && Instant::now() >= self.rebuild.0 {
            self.generation += 1;
            match Producer::new(&self.settings, &self.client_id, self.generation, self.events.clone()) {
                Ok(producer) => self.producer = Some(producer),
                Err(error) => {
                    error!(target: "kafka", %error, "no producer can be made; trying again");
                    self.wait_to_rebuild();
                }
            }
        }
        let Some(producer) = &self.producer else { return };
        match self.pump.send(|topic, partition, record, number| producer.send(topic, partition, record, number)) {
            Ok(()) => {}
            Err(Failure::TooLarge { topic, partition, bytes }) => {
                self.fail(&format!("a record of {bytes} bytes for {topic} partition {partition} is too large"));
            }
            Err(Failure::Other(fault)) => self.fail(&fault.why),
        }
    }

    /// The producer is thrown away; what it had is refused, or sent again.
    fn fail(&mut self, why: &str) {
        let Some(producer) = self.producer.take() else { return };
        producer.throw_away();
        self.metrics.failures.inc();
        match self.options.on_failure {
            OnFailure::End => {
                error!(target: "kafka", client = %self.client_id, why, "a producer failed: what it had is refused");
                self.shared.health.store(Health::Failed as u8, Ordering::Release);
                self.pump.refuse_all(Refused::Failed);
            }
            OnFailure::Resend => {
                warn!(target: "kafka", client = %self.client_id, why, "a producer failed: what it had is sent again");
                self.pump.rewind();
                self.wait_to_rebuild();
            }
        }
    }

    fn wait_to_rebuild(&mut self) {
        let (_, wait) = self.rebuild;
        self.rebuild = (Instant::now() + wait, (wait * 2).min(REBUILD_LAST));
    }
}
