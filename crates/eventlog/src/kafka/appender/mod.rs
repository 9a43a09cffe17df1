//! Appends to Kafka. An acknowledged record is in the log; a refused record may be in the log too.
//!
//! - `writer`: the thread that takes appends and delivery reports from one channel
//! - `send_window`: which records are sent when, and which are in flight
//! - `producer`: a producer and its thread
//! - `options`: the options of an appender
//! - `shared`: the state that the thread and its callers share
//! - `metrics`: the metrics of all appenders

mod metrics;
mod options;
mod producer;
mod send_window;
mod shared;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::api::{Append, AppendError, Appender, Done, Health, OnFull};
use crate::error::LogError;
use crate::kafka::settings::Settings;
use crate::queue_budget::QueueBudget;
use parking_lot::Mutex;
use producer::Producer;
use shared::{Event, Shared};
use writer::{ProducerFactory, Writer};

pub use metrics::Metrics;
pub use options::{OnFailure, Options};

/// Appends to Kafka.
#[derive(Debug)]
pub struct KafkaAppender {
    shared: Arc<Shared>,
    events: Sender<Event>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl KafkaAppender {
    /// Starts an appender. `client_id` is its name in the brokers' logs and in ours.
    ///
    /// # Errors
    /// The settings are refused.
    ///
    /// # Panics
    /// If the system has no room for a thread.
    pub fn start(settings: &Settings, client_id: &str, options: Options, metrics: &Metrics) -> Result<Self, LogError> {
        let shared = Arc::new(Shared {
            budget: Arc::new(QueueBudget::new(options.queue_bytes_max, metrics.queue_bytes.clone())),
            health: AtomicU8::new(Health::Good as u8),
            is_closed: AtomicBool::new(false),
        });
        // No capacity, since librdkafka's callbacks must not wait; what is sent has bounds. Appends: the byte budget, and beyond it
        // only appends with `OnFull::Wait`, of which each lane and each spool has a maximum in flight. Reports: the records in
        // flight, `IN_FLIGHT_MAX` of each partition.
        let (events, received) = channel();
        let producer = Producer::new(settings, client_id, 0, events.clone())?;
        let factory =
            ProducerFactory { settings: settings.clone(), client_id: client_id.to_owned(), events: events.clone() };
        let writer = Writer::new(factory, producer, received, Arc::clone(&shared), options, metrics.clone());
        let thread = std::thread::Builder::new().name("kafka-appender".to_owned()).spawn(move || writer.run_guarded());
        let thread = Mutex::new(Some(thread.expect("the system has room for a thread")));
        Ok(Self { shared, events, thread })
    }

    /// Appends records and waits until they are acknowledged.
    ///
    /// # Errors
    /// The append is refused; its records may be in the log too.
    pub fn append_and_wait(&self, records: Vec<Append>, on_full: OnFull) -> Result<(), AppendError> {
        let (result_tx, result_rx) = sync_channel(1);
        let done = move |result| {
            let _ = result_tx.send(result);
        };
        self.append(records, on_full, Box::new(done));
        result_rx.recv().unwrap_or(Err(AppendError::Closed))
    }
}

impl Appender for KafkaAppender {
    fn append(&self, records: Vec<Append>, on_full: OnFull, done: Done) {
        let Shared { budget, .. } = &*self.shared;
        if let Some(refused) = self.shared.refusal(on_full) {
            return done(Err(refused));
        }
        let bytes = records.iter().map(|r| r.record.len()).sum();
        match on_full {
            OnFull::Wait => budget.reserve(bytes),
            OnFull::Refuse if budget.try_reserve(bytes) => {}
            OnFull::Refuse => return done(Err(AppendError::Full)),
        }
        let since = Instant::now();
        if let Err(unsent) = self.events.send(Event::Append { records, on_full, since, done }) {
            budget.release(bytes);
            if let Event::Append { done, .. } = unsent.0 {
                done(Err(self.shared.refusal(on_full).unwrap_or(AppendError::Closed)));
            }
        }
    }

    fn health(&self) -> Health {
        self.shared.health()
    }

    fn close(&self) {
        self.shared.is_closed.store(true, Ordering::Release);
        let _ = self.events.send(Event::Wake);
        let thread = self.thread.lock().take();
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
