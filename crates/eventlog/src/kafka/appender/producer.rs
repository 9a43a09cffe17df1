//! A producer with its thread, which takes its reports and hands them on at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use domain::model::address::Topic;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use crate::error::LogError;
use crate::kafka::appender::send_window::Sent;
use crate::kafka::appender::shared::{Event, Fault};
use crate::kafka::observer::ClientObserver;
use crate::kafka::settings::{Settings, refused};

/// rdkafka's `poll` takes what comes meanwhile at once, but waits out all of its time.
const SLICE: Duration = Duration::from_millis(50);
/// A producer that has nothing to do ends within so long.
const END_WITHIN: Duration = Duration::from_secs(1);

/// One producer. It is never mended: another one takes its place.
pub(super) struct Producer {
    client: Arc<BaseProducer<Reports>>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    topics: [String; Topic::ALL.len()],
    /// Reports name it, so that those of one that was thrown away are known.
    pub(super) generation: u64,
}

/// Hands on what a producer reports.
pub(super) struct Reports {
    watch: ClientObserver,
    generation: u64,
    events: Sender<Event>,
}

impl Producer {
    pub(super) fn new(
        settings: &Settings,
        client_id: &str,
        generation: u64,
        events: Sender<Event>,
    ) -> Result<Self, LogError> {
        let reports = Reports { watch: ClientObserver::new(client_id), generation, events };
        let client: BaseProducer<Reports> =
            settings.producer(client_id)?.create_with_context(reports).map_err(refused)?;
        let client = Arc::new(client);
        let ends = Arc::new(AtomicBool::new(false));
        let thread = {
            let (client, ends) = (Arc::clone(&client), Arc::clone(&ends));
            let work = move || {
                while !ends.load(Ordering::Acquire) {
                    client.poll(SLICE);
                }
            };
            let thread = std::thread::Builder::new().name("kafka-reports".to_owned()).spawn(work);
            thread.expect("the system has room for a thread")
        };
        let topics = std::array::from_fn(|i| settings.topic(Topic::ALL[i]));
        Ok(Self { client, ends, thread, topics, generation })
    }

    pub(super) fn send(&self, topic: Topic, partition: u16, record: &[u8], number: usize) -> Sent<Fault> {
        let record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.topics[topic as usize], number)
            .partition(i32::from(partition))
            .payload(record);
        match self.client.send(record) {
            Ok(()) => Sent::Taken,
            Err((KafkaError::MessageProduction(Code::QueueFull), _)) => Sent::Later,
            Err((KafkaError::MessageProduction(Code::MessageSizeTooLarge), _)) => Sent::TooLarge,
            Err((error, _)) => Sent::Failed(Fault { why: error.to_string(), is_for_good: false }),
        }
    }

    /// Whether it will never send again.
    pub(super) fn fatal_error(&self) -> Option<Fault> {
        let (code, why) = self.client.client().fatal_error()?;
        Some(Fault { why: format!("{code}: {why}"), is_for_good: false })
    }

    /// Throws it away, whatever is under way. Nobody waits: that can take a while.
    pub(super) fn throw_away(self) {
        self.ends.store(true, Ordering::Release);
    }

    /// Ends one that has nothing to do, so that the process can end without its threads.
    pub(super) fn end(self) {
        let Self { client, ends, thread, .. } = self;
        ends.store(true, Ordering::Release);
        drop(client);
        let late = Instant::now() + END_WITHIN;
        while !thread.is_finished() && Instant::now() < late {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        self.watch.log(level, kind, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(Code::Fatal) {
            // Asked for its reason as soon as the appender wakes.
            let _ = self.events.send(Event::Wake);
        }
        self.watch.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let result = match result {
            // librdkafka says so of a record that nobody has (decision 6).
            Ok(message) if message.offset() < 0 => {
                Err(Fault { why: "it was reported as delivered, without an offset".to_owned(), is_for_good: false })
            }
            Ok(_) => {
                self.watch.is_back();
                Ok(())
            }
            Err((error, _)) => Err(Fault { why: error.to_string(), is_for_good: is_for_good(error) }),
        };
        let _ = self.events.send(Event::Report { generation: self.generation, number, result });
    }
}

/// Whether the record itself is the cause.
fn is_for_good(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::MessageSizeTooLarge
                | Code::MessageBatchTooLarge
                | Code::InvalidMessageSize
                | Code::InvalidRecord
                | Code::InvalidTimestamp
        )
    )
}
