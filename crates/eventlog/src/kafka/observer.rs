//! What a client says beside its answers: log lines, and that it cannot reach Kafka.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tracing::{debug, error, info, warn};

use crate::error::LogError;
use crate::kafka::settings::Settings;

/// Lines of these kinds repeat what [`ClientObserver::error`] is told, once per attempt.
const REPEATED: &[&str] = &["FAIL", "ERROR", "REQTMOUT", "GETPID"];

/// How often it is asked whether an outage is over, and for how long an answer is waited for.
const ASK_EVERY: Duration = Duration::from_secs(2);
const ASK_FOR: Duration = Duration::from_millis(100);

/// Listens to one client. Outages are told of once when they begin and once when they end.
#[derive(Debug)]
pub(super) struct ClientObserver {
    client: String,
    outage: Mutex<Outage>,
}

#[derive(Debug, Default)]
struct Outage {
    lasts: bool,
    /// The last thing that went wrong, in librdkafka's words.
    last: Option<(KafkaError, String)>,
}

impl ClientObserver {
    pub(super) fn new(client: &str) -> Self {
        Self { client: client.to_owned(), outage: Mutex::default() }
    }

    /// Kafka could not be reached, or does not answer.
    fn is_away(&self, reason: &str) {
        if std::mem::replace(&mut self.outage().lasts, true) {
            debug!(target: "kafka", client = %self.client, reason, "still out of reach");
        } else {
            warn!(target: "kafka", client = %self.client, reason, "a broker of Kafka is out of reach; trying again");
        }
    }

    /// Kafka answered.
    pub(super) fn is_back(&self) {
        if std::mem::take(&mut *self.outage()).lasts {
            info!(target: "kafka", client = %self.client, "Kafka is in reach again");
        }
    }

    pub(super) fn lasts(&self) -> bool {
        self.outage().lasts
    }

    /// An error with what is known of its cause.
    pub(super) fn explain(&self, settings: &Settings, what: String, error: &KafkaError) -> LogError {
        let last = self.outage().last.clone();
        let mend = mend(last.as_ref().map_or(error, |(last, _)| last));
        let cause = last.map_or_else(|| error.to_string(), |(_, reason)| format!("{error}: {reason}"));
        LogError::Kafka { brokers: settings.brokers.clone(), what, cause, mend }
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an outage is over, even if nothing comes: asked now and then while one lasts.
#[derive(Debug)]
pub(super) struct Returned {
    last_asked: Instant,
}

impl Default for Returned {
    fn default() -> Self {
        Self { last_asked: Instant::now() }
    }
}

impl Returned {
    pub(super) fn ask<C: ConsumerContext>(&mut self, consumer: &BaseConsumer<C>, watch: &ClientObserver) {
        if watch.lasts() && self.last_asked.elapsed() >= ASK_EVERY {
            self.last_asked = Instant::now();
            if consumer.fetch_metadata(None, ASK_FOR).is_ok() {
                watch.is_back();
            }
        }
    }
}

fn mend(error: &KafkaError) -> &'static str {
    match error.rdkafka_error_code() {
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed,
        ) => "give this user the rights that docs/operating names",
        Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL) => {
            "check the user, its secret and the certificates"
        }
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            "make the topics with `topics create`; if they were there, restore them"
        }
        Some(Code::InvalidSessionTimeout) => {
            "choose a session timeout within group.min.session.timeout.ms and group.max.session.timeout.ms"
        }
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation) => {
            "the topic was cut or recreated: restore it or begin a new deployment"
        }
        _ => "check that the brokers are up and that their addresses are right from here",
    }
}

/// Whether an error passes by itself once Kafka is in reach and in order again: librdkafka goes on trying.
pub(super) fn passes_by(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::Resolve
                | Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::SSL
                | Code::OperationTimedOut
                | Code::TimedOutQueue
                | Code::RequestTimedOut
                | Code::WaitingForCoordinator
                | Code::BrokerNotAvailable
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::ReplicaNotAvailable
                | Code::NetworkException
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::OffsetNotAvailable
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::KafkaStorageError
                | Code::Retry
                | Code::InProgress
        )
    )
}

impl ClientContext for ClientObserver {
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        let client = &self.client;
        match level {
            // That what we hang on is called experimental is known (`docs/decisions/0006`); a setting that is refused is an error.
            _ if kind == "CONFWARN" || REPEATED.contains(&kind) => debug!(target: "librdkafka", %client, kind, line),
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                error!(target: "librdkafka", %client, kind, line);
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => warn!(target: "librdkafka", %client, kind, line),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => info!(target: "librdkafka", %client, kind, line),
            RDKafkaLogLevel::Debug => debug!(target: "librdkafka", %client, kind, line),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if passes_by(&error) {
            self.is_away(reason);
        } else {
            debug!(target: "kafka", client = %self.client, %error, reason, "an error");
        }
        // That all brokers are down says less than why the last one is.
        if error.rdkafka_error_code() != Some(Code::AllBrokersDown) {
            self.outage().last = Some((error, reason.to_owned()));
        }
    }
}

impl ConsumerContext for ClientObserver {}
