//! A producer with the thread that forwards its delivery reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use domain::model::address::{Topic, TopicPartition};
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

/// Duration of one `poll`, which handles reports as they arrive but never returns early.
const SLICE: Duration = Duration::from_millis(50);
/// Number of reports in one [`SLICE`] from which on the thread lets reports gather: a thread that is woken for each report takes more
/// time for the waking than for the report.
const GATHER_FROM: u64 = 10;
/// Time for which reports gather.
const GATHER: Duration = Duration::from_millis(2);
/// Maximum time to wait for the end of an idle producer; after it, its thread is left to end alone.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// One producer. After a failure it is not repaired but replaced.
pub(super) struct Producer {
    client: Arc<BaseProducer<Reports>>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    topics: [String; Topic::ALL.len()],
    /// The number of this producer. Reports carry it, so that those of an earlier producer are recognised.
    pub(super) generation: u64,
}

/// Forwards a producer's delivery reports.
pub(super) struct Reports {
    observer: ClientObserver,
    generation: u64,
    events: Sender<Event>,
    /// Number of reports so far.
    reports: AtomicU64,
}

impl Producer {
    pub(super) fn new(
        settings: &Settings,
        client_id: &str,
        generation: u64,
        events: Sender<Event>,
    ) -> Result<Self, LogError> {
        let reports =
            Reports { observer: ClientObserver::new(client_id), generation, events, reports: AtomicU64::new(0) };
        let client: BaseProducer<Reports> =
            settings.producer(client_id)?.create_with_context(reports).map_err(refused)?;
        let client = Arc::new(client);
        let ends = Arc::new(AtomicBool::new(false));
        let thread = {
            let (client, ends) = (Arc::clone(&client), Arc::clone(&ends));
            let work = move || {
                let reports = || client.context().reports.load(Ordering::Relaxed);
                let mut gathers = false;
                while !ends.load(Ordering::Acquire) {
                    let (before, since) = (reports(), Instant::now());
                    if !gathers {
                        client.poll(SLICE);
                    }
                    while gathers && since.elapsed() < SLICE {
                        std::thread::sleep(GATHER);
                        let mut taken = None;
                        // One call takes what one request had.
                        while taken != Some(reports()) {
                            taken = Some(reports());
                            client.poll(Duration::ZERO);
                        }
                    }
                    gathers = reports() - before >= GATHER_FROM;
                }
            };
            let thread = std::thread::Builder::new().name("kafka-reports".to_owned()).spawn(work);
            thread.expect("the system has room for a thread")
        };
        let topics = std::array::from_fn(|i| settings.topic(Topic::ALL[i]));
        Ok(Self { client, ends, thread, topics, generation })
    }

    pub(super) fn send(&self, partition: TopicPartition, record: &[u8], number: usize) -> Sent<Fault> {
        let record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.topics[partition.topic as usize], number)
            .partition(i32::from(partition.partition))
            .payload(record);
        match self.client.send(record) {
            Ok(()) => Sent::Taken,
            Err((KafkaError::MessageProduction(Code::QueueFull), _)) => Sent::QueueFull,
            Err((KafkaError::MessageProduction(Code::MessageSizeTooLarge), _)) => Sent::TooLarge,
            Err((error, _)) => Sent::Failed(Fault { why: error.to_string(), is_permanent: false }),
        }
    }

    /// The fatal error after which the producer never sends again.
    pub(super) fn fatal_error(&self) -> Option<Fault> {
        let (code, why) = self.client.client().fatal_error()?;
        Some(Fault { why: format!("{code}: {why}"), is_permanent: false })
    }

    /// Drops the producer with all records in flight. It does not wait for the end, which can take a long time.
    pub(super) fn abandon(self) {
        self.ends.store(true, Ordering::Release);
    }

    /// Ends an idle producer, and waits for its threads so that the process can end without them.
    pub(super) fn end(self) {
        let Self { client, ends, thread, .. } = self;
        ends.store(true, Ordering::Release);
        drop(client);
        let deadline = Instant::now() + END_TIMEOUT;
        while !thread.is_finished() && Instant::now() < deadline {
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
        self.observer.log(level, kind, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(Code::Fatal) {
            // The appender wakes and reads the reason.
            let _ = self.events.send(Event::Wake);
        }
        self.observer.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let result = match result {
            // librdkafka reports this for a record that no broker holds (decision 6).
            Ok(message) if message.offset() < 0 => Err(Fault {
                why: "a record was reported as delivered, without an offset".to_owned(),
                is_permanent: false,
            }),
            Ok(_) => {
                self.observer.outage_ends();
                Ok(())
            }
            Err((error, _)) => Err(Fault { why: error.to_string(), is_permanent: is_permanent(error) }),
        };
        self.reports.fetch_add(1, Ordering::Relaxed);
        let _ = self.events.send(Event::Report { generation: self.generation, number, result });
    }
}

/// Whether the record itself is the cause, so that a retry cannot help.
fn is_permanent(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize)
    )
}
