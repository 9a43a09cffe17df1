//! Receives a client's log lines and connection errors, and logs outages of Kafka.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tracing::{debug, error, info, warn};

use crate::error::LogError;
use crate::kafka::settings::Settings;

/// Kinds of log lines that repeat what [`ClientObserver::error`] receives, once for each attempt.
const REPEATED: &[&str] = &["FAIL", "ERROR", "REQTMOUT", "GETPID"];

/// Interval between checks whether an outage has ended.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Timeout of such a check; after it, the outage goes on.
const CHECK_TIMEOUT: Duration = Duration::from_millis(100);

/// Observes one client. It logs an outage once when it begins and once when it ends.
#[derive(Debug)]
pub(super) struct ClientObserver {
    client: String,
    outage: Mutex<Outage>,
}

#[derive(Debug, Default)]
struct Outage {
    lasts: bool,
    /// The last error, with librdkafka's reason.
    last: Option<(KafkaError, String)>,
}

impl ClientObserver {
    pub(super) fn new(client: &str) -> Self {
        Self { client: client.to_owned(), outage: Mutex::default() }
    }

    /// Notes that Kafka cannot be reached, or does not answer.
    fn outage_begins(&self, reason: &str) {
        if std::mem::replace(&mut self.outage.lock().lasts, true) {
            debug!(target: "kafka", client = %self.client, reason, "still out of reach");
        } else {
            warn!(target: "kafka", client = %self.client, reason, "a broker of Kafka is out of reach; trying again");
        }
    }

    /// Notes that Kafka answered.
    pub(super) fn outage_ends(&self) {
        if std::mem::take(&mut *self.outage.lock()).lasts {
            info!(target: "kafka", client = %self.client, "Kafka is in reach again");
        }
    }

    pub(super) fn is_outage(&self) -> bool {
        self.outage.lock().lasts
    }

    /// The error with its last known cause and the fix.
    pub(super) fn explain(&self, settings: &Settings, what: String, error: &KafkaError) -> LogError {
        let last = self.outage.lock().last.clone();
        let mend = mend(last.as_ref().map_or(error, |(last, _)| last));
        let cause = last.map_or_else(|| error.to_string(), |(_, reason)| format!("{error}: {reason}"));
        LogError::Kafka { brokers: settings.brokers.clone(), what, cause, mend }
    }
}

/// Checks during an outage whether it has ended, because a quiet partition would not show it.
#[derive(Debug)]
pub(super) struct RecoveryCheck {
    last_asked: Instant,
}

impl Default for RecoveryCheck {
    fn default() -> Self {
        Self { last_asked: Instant::now() }
    }
}

impl RecoveryCheck {
    pub(super) fn ask<C: ConsumerContext>(&mut self, consumer: &BaseConsumer<C>, observer: &ClientObserver) {
        if observer.is_outage() && self.last_asked.elapsed() >= CHECK_INTERVAL {
            self.last_asked = Instant::now();
            if consumer.fetch_metadata(None, CHECK_TIMEOUT).is_ok() {
                observer.outage_ends();
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

/// Whether an error is transient: librdkafka retries until Kafka is in reach and works again.
pub(super) fn is_transient(error: &KafkaError) -> bool {
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
            // CONFWARN calls a setting experimental that we need (`docs/decisions/0006`); refused settings are errors elsewhere.
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
        if is_transient(&error) {
            self.outage_begins(reason);
        } else {
            debug!(target: "kafka", client = %self.client, %error, reason, "the client reports an error");
        }
        // AllBrokersDown hides the reason, which the error before it names.
        if error.rdkafka_error_code() != Some(Code::AllBrokersDown) {
            self.outage.lock().last = Some((error, reason.to_owned()));
        }
    }
}

impl ConsumerContext for ClientObserver {}
