//! The thread of an appender: takes what is given and what the producer reports, from one channel, so that neither waits for
//! the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::api::{AppendError, Health, OnFull};
use crate::error::LogError;
use crate::kafka::appender::budget::Metrics;
use crate::kafka::appender::options::{OnFailure, Options};
use crate::kafka::appender::producer::Producer;
use crate::kafka::appender::send_window::{Failure, SendWindow};
use crate::kafka::appender::shared::{Event, Fault, Shared};
use crate::kafka::settings::Settings;

/// How often it looks at the time, at least.
const TICK: Duration = Duration::from_millis(100);
/// What waits is taken in turns of so many.
const EVENTS_MAX: usize = 1024;
/// How long `close` waits for what is under way.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// A producer takes the place of one that failed after so long, and each time after twice as long.
const REBUILD_FIRST: Duration = Duration::from_millis(50);
const REBUILD_LAST: Duration = Duration::from_secs(5);

/// What a producer is made of.
pub(super) struct Maker {
    pub(super) settings: Settings,
    pub(super) client_id: String,
    pub(super) events: Sender<Event>,
}

impl Maker {
    fn producer(&self, generation: u64) -> Result<Producer, LogError> {
        Producer::new(&self.settings, &self.client_id, generation, self.events.clone())
    }
}

/// The thread of an appender.
pub(super) struct Writer {
    maker: Maker,
    options: Options,
    pump: SendWindow,
    shared: Arc<Shared>,
    metrics: Metrics,
    received: Receiver<Event>,
    /// None after a failure, until another takes its place.
    producer: Option<Producer>,
    generation: u64,
    /// When, and how long to wait the next time.
    rebuild: (Instant, Duration),
}

impl Writer {
    pub(super) fn new(
        maker: Maker,
        producer: Producer,
        received: Receiver<Event>,
        shared: Arc<Shared>,
        options: Options,
        metrics: Metrics,
    ) -> Self {
        let pump = SendWindow::new(options.on_failure == OnFailure::Resend, Arc::clone(&shared.room));
        let (generation, rebuild) = (producer.generation, (Instant::now(), REBUILD_FIRST));
        let producer = Some(producer);
        Self { maker, options, pump, shared, metrics, received, producer, generation, rebuild }
    }

    /// Runs; a broken invariant is a failure that everybody is told of.
    pub(super) fn run_guarded(mut self) {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run()));
        if run.is_err() {
            error!(target: "kafka", client = %self.maker.client_id, "an appender stops at a broken invariant");
            self.shared.health.store(Health::Failed as u8, Ordering::Release);
        }
        self.shared.is_closed.store(true, Ordering::Release);
        self.pump.refuse_all(self.shared.refusal(OnFull::Wait).unwrap_or(AppendError::Closed));
        while let Ok(event) = self.received.try_recv() {
            self.take(event);
        }
        self.pump.refuse_all(self.shared.refusal(OnFull::Wait).unwrap_or(AppendError::Closed));
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
                    done(Err(AppendError::Failed));
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
                warn!(target: "kafka", client = %self.maker.client_id, "Kafka has not acknowledged in time: appends are refused");
            }
            (true, false) => info!(target: "kafka", client = %self.maker.client_id, "Kafka acknowledges again"),
            _ => {}
        }
    }

    fn send(&mut self) {
        if self.shared.health() == Health::Failed {
            return;
        }
        if self.producer.is_none() && Instant::now() >= self.rebuild.0 {
            self.generation += 1;
            match self.maker.producer(self.generation) {
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
                error!(target: "kafka", client = %self.maker.client_id, why, "a producer failed: what it had is refused");
                self.shared.health.store(Health::Failed as u8, Ordering::Release);
                self.pump.refuse_all(AppendError::Failed);
            }
            OnFailure::Resend => {
                warn!(target: "kafka", client = %self.maker.client_id, why, "a producer failed: what it had is sent again");
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
