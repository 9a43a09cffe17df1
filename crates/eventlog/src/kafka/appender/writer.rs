//! The thread of an appender. It takes appends and delivery reports from one channel, so that neither waits for the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::api::{AppendError, Health, OnFull};
use crate::error::LogError;
use crate::kafka::appender::metrics::Metrics;
use crate::kafka::appender::options::{OnFailure, Options};
use crate::kafka::appender::producer::Producer;
use crate::kafka::appender::send_window::{Failure, SendWindow};
use crate::kafka::appender::shared::{Event, Fault, Shared};
use crate::kafka::settings::Settings;

/// Maximum interval between two checks of timeouts.
const TICK: Duration = Duration::from_millis(100);
/// Maximum number of events in one turn; further events wait until the thread has checked timeouts and sent records.
const EVENTS_MAX: usize = 1024;
/// Maximum time that `close` waits for acknowledgements; after it, the rest is refused.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// Wait before the first replacement of a failed producer; each further wait is twice as long.
const REBUILD_WAIT_MIN: Duration = Duration::from_millis(50);
/// Maximum wait before a replacement.
const REBUILD_WAIT_MAX: Duration = Duration::from_secs(5);

/// Creates producers.
pub(super) struct ProducerFactory {
    pub(super) settings: Settings,
    pub(super) client_id: String,
    pub(super) events: Sender<Event>,
}

impl ProducerFactory {
    fn producer(&self, generation: u64) -> Result<Producer, LogError> {
        Producer::new(&self.settings, &self.client_id, generation, self.events.clone())
    }
}

/// The thread of an appender.
pub(super) struct Writer {
    factory: ProducerFactory,
    options: Options,
    window: SendWindow,
    shared: Arc<Shared>,
    metrics: Metrics,
    received: Receiver<Event>,
    /// `None` after a failure, until another one replaces it.
    producer: Option<Producer>,
    generation: u64,
    /// The time of the next replacement, and the wait before the one after it.
    rebuild: (Instant, Duration),
}

impl Writer {
    pub(super) fn new(
        factory: ProducerFactory,
        producer: Producer,
        received: Receiver<Event>,
        shared: Arc<Shared>,
        options: Options,
        metrics: Metrics,
    ) -> Self {
        let window = SendWindow::new(options.on_failure == OnFailure::Resend, Arc::clone(&shared.budget));
        let (generation, rebuild) = (producer.generation, (Instant::now(), REBUILD_WAIT_MIN));
        let producer = Some(producer);
        Self { factory, options, window, shared, metrics, received, producer, generation, rebuild }
    }

    /// Runs until the end. A panic makes the appender fail, and every append is refused.
    pub(super) fn run_guarded(mut self) {
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run()));
        if run.is_err() {
            error!(target: "kafka", client = %self.factory.client_id, "an appender stops because of an internal error");
            self.shared.health.store(Health::Failed as u8, Ordering::Release);
        }
        self.shared.is_closed.store(true, Ordering::Release);
        self.window.refuse_all(self.shared.refusal(OnFull::Wait).unwrap_or(AppendError::Closed));
        while let Ok(event) = self.received.try_recv() {
            self.take(event);
        }
        self.window.refuse_all(self.shared.refusal(OnFull::Wait).unwrap_or(AppendError::Closed));
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
            self.check_timeouts();
            self.send();
            if self.shared.is_closed.load(Ordering::Acquire) {
                let until = *closes.get_or_insert_with(|| Instant::now() + CLOSE_TIMEOUT);
                if self.window.is_empty() || Instant::now() > until || self.shared.health() == Health::Failed {
                    return;
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Append { records, on_full, since, done } => match self.shared.health() {
                Health::Failed => {
                    self.shared.budget.release(records.iter().map(|r| r.record.len()).sum());
                    done(Err(AppendError::Failed));
                }
                _ => self.window.push(records, on_full, since, done),
            },
            Event::Report { generation, number, result } => {
                // Reports of an earlier producer are ignored.
                if self.producer.as_ref().is_some_and(|producer| producer.generation == generation) {
                    self.reported(number, result);
                }
            }
            Event::Wake => {}
        }
    }

    fn reported(&mut self, number: usize, result: Result<(), Fault>) {
        match result {
            Ok(()) => match self.window.delivered(number) {
                Ok((bytes, done)) => {
                    self.rebuild.1 = REBUILD_WAIT_MIN;
                    self.metrics.frames.inc();
                    self.metrics.bytes.inc_by(bytes as u64);
                    if let Some(since) = done {
                        self.metrics.ack_seconds.observe(since.elapsed().as_secs_f64());
                    }
                }
                Err(()) => self.fail("records were reported out of order"),
            },
            Err(fault) => {
                if fault.is_permanent && self.options.on_failure == OnFailure::Resend {
                    self.window.too_large(number);
                }
                self.fail(&fault.why);
            }
        }
    }

    /// Refuses appends that have waited too long, and updates the health.
    fn check_timeouts(&mut self) {
        if self.shared.health() == Health::Failed {
            return;
        }
        let is_late = |oldest: Instant| oldest.elapsed() > self.options.ack_timeout;
        if self.window.oldest().is_some_and(is_late)
            && let Some(before) = Instant::now().checked_sub(self.options.ack_timeout)
        {
            self.window.expire(before);
        }
        let is_full = self.window.oldest().is_some_and(is_late);
        let health = if is_full { Health::Full } else { Health::Good };
        match (self.shared.health.swap(health as u8, Ordering::AcqRel) == Health::Full as u8, is_full) {
            (false, true) => {
                warn!(target: "kafka", client = %self.factory.client_id, "Kafka has not acknowledged in time: appends are refused");
            }
            (true, false) => info!(target: "kafka", client = %self.factory.client_id, "Kafka acknowledges again"),
            _ => {}
        }
    }

    fn send(&mut self) {
        if self.shared.health() == Health::Failed {
            return;
        }
        if self.producer.is_none() && Instant::now() >= self.rebuild.0 {
            self.generation += 1;
            match self.factory.producer(self.generation) {
                Ok(producer) => self.producer = Some(producer),
                Err(error) => {
                    error!(target: "kafka", %error, "no producer can be made; trying again");
                    self.wait_to_rebuild();
                }
            }
        }
        let Some(producer) = &self.producer else { return };
        match self.window.send(|partition, record, number| producer.send(partition, record, number)) {
            Ok(()) => {}
            Err(Failure::TooLarge { partition, bytes }) => {
                self.fail(&format!("a record of {bytes} bytes for {partition} is too large"));
            }
            Err(Failure::Other(fault)) => self.fail(&fault.why),
        }
    }

    /// Drops the producer. Its records are refused, or sent again.
    fn fail(&mut self, why: &str) {
        let Some(producer) = self.producer.take() else { return };
        producer.abandon();
        self.metrics.failures.inc();
        match self.options.on_failure {
            OnFailure::End => {
                error!(target: "kafka", client = %self.factory.client_id, why, "a producer failed: its records are refused");
                self.shared.health.store(Health::Failed as u8, Ordering::Release);
                self.window.refuse_all(AppendError::Failed);
            }
            OnFailure::Resend => {
                warn!(target: "kafka", client = %self.factory.client_id, why, "a producer failed: its records are sent again");
                self.window.rewind();
                self.wait_to_rebuild();
            }
        }
    }

    fn wait_to_rebuild(&mut self) {
        let (_, wait) = self.rebuild;
        self.rebuild = (Instant::now() + wait, (wait * 2).min(REBUILD_WAIT_MAX));
    }
}
