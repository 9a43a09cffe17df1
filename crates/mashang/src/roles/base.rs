//! The start of all roles of a fleet: a check of the topics, metrics, failures and signals.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};
use domain::model::address::TopicPartition;
use eventlog::api::Consumer;
use eventlog::error::LogError;
use eventlog::kafka::consumer::KafkaConsumer;
use eventlog::kafka::settings::Settings as Kafka;
use eventlog::kafka::topics::check::{Needs, check, same};
use eventlog::local::meta::Meta;
use eventlog::objects;
use eventlog::retry::Retry;
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use tracing::{error, info, warn};

use crate::config::roles::Role;
use crate::process::logging::log_as;
use crate::process::signals::{Signals, limit_stop};
use crate::process::thread::{Failed, Failures, failures, thread};
use crate::usage;

/// Minimum retention of the topics, ms: a day, so that a recovery can finish. With less a role does not start.
const RETAIN_MS: i64 = 24 * 60 * 60 * 1000;

/// Time after which a check that found other topics is repeated; the second result counts.
const CHECK_AGAIN: Duration = Duration::from_secs(5);

/// Shortest and longest delay before a store that does not answer is asked again, without jitter.
const STORE_RETRY_MIN: Duration = Duration::from_millis(500);
const STORE_RETRY_MAX: Duration = Duration::from_secs(10);

/// What a role begins with.
pub(crate) struct Base {
    pub(crate) kafka: Kafka,
    pub(crate) meta: Meta,
    pub(crate) instance: String,
    pub(crate) registry: Registry,
    check_topics_every: Duration,
}

impl Base {
    /// Looks whether the topics can keep what is promised.
    ///
    /// # Errors
    /// They cannot: usage, with everything that is wrong. Or Kafka does not answer.
    pub(crate) fn begin(role: &Role) -> Result<Self> {
        log_as(role.process.log_format, "info");
        Ok(Self::of(role, ask(&role.kafka)?))
    }

    /// For a log that Kafka described, or that is known from before.
    pub(crate) fn of(role: &Role, meta: Meta) -> Self {
        let registry = Registry::new();
        report_build(&registry);
        Self {
            kafka: role.kafka.clone(),
            meta,
            instance: role.instance.clone(),
            registry,
            check_topics_every: role.check_topics_every,
        }
    }

    /// The channel for failures, which end the role. A thread reports a failure when the topics are not those of this log any
    /// more. A consumer learns that from its client, but not if a recreated topic has grown past its offset; an edge never does.
    pub(crate) fn failures(&self) -> (Failed, Failures) {
        let (failed, failures) = failures();
        let (kafka, meta, every) = (self.kafka.clone(), self.meta.clone(), self.check_topics_every);
        thread("topics", &failed, move || {
            loop {
                std::thread::sleep(every);
                // A broker that has just started may not know all topics yet, so the check is made twice.
                let changed = || same(&kafka, &meta).is_ok_and(|mistakes| !mistakes.is_empty());
                if changed() {
                    std::thread::sleep(CHECK_AGAIN);
                    let mistakes = same(&kafka, &meta).unwrap_or_default();
                    if !mistakes.is_empty() {
                        return Err(anyhow!("the topics are not those of this log any more: {}", mistakes.join("; ")));
                    }
                }
            }
        });
        (failed, failures)
    }

    /// A consumer for one purpose, whose name is part of its client id.
    pub(crate) fn consumer(&self, purpose: &str) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(KafkaConsumer::new(&self.kafka, &self.meta, &format!("{}-{purpose}", self.instance))?))
    }
}

/// Looks whether the topics can keep what is promised, and which log they are.
///
/// # Errors
/// As [`Base::begin`].
pub(crate) fn ask(kafka: &Kafka) -> Result<Meta> {
    let report = check(kafka, &Needs { retain_ms: RETAIN_MS })?;
    for warning in &report.warnings {
        warn!("{warning}");
    }
    match report.mistakes.as_slice() {
        [] => Ok(report.meta),
        mistakes => Err(usage(format!("the topics cannot keep what is promised: {}", mistakes.join("; ")))),
    }
}

/// Whether an error only says that Kafka does not answer.
pub(crate) fn is_away(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(LogError::Kafka { .. }))
}

/// Reads from the store at the start of a role, again and again while the store does not answer: a role never begins without it.
///
/// # Errors
/// The store answers that something is missing or refused, or something else fails.
pub(crate) fn until_store_answers<T>(mut read: impl FnMut() -> Result<T>) -> Result<T> {
    let mut retry = Retry::new(STORE_RETRY_MIN, STORE_RETRY_MAX);
    loop {
        let result = read();
        let is_away =
            |error: &anyhow::Error| error.chain().filter_map(|cause| cause.downcast_ref()).any(objects::is_away);
        match result {
            Err(error) if is_away(&error) => {
                warn!(error = %format_args!("{error:#}"), "the store does not answer; it is asked again until it does");
            }
            result => return result,
        }
        std::thread::sleep(retry.delay());
    }
}

/// Registers the gauge that names the build.
pub(crate) fn report_build(registry: &Registry) {
    let build = gauges(registry, "mashang_build_info", "The build that runs", &["version"]);
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
}

/// Registered gauges.
pub(crate) fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let gauges = IntGaugeVec::new(Opts::new(name, help), labels).expect("a name");
    registry.register(Box::new(gauges.clone())).expect("registered once");
    gauges
}

/// A registered gauge.
pub(crate) fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::new(name, help).expect("a name");
    registry.register(Box::new(gauge.clone())).expect("registered once");
    gauge
}

/// Does the asynchronous part of a role.
pub(crate) fn on_runtime<T>(role: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(role)
}

/// Waits for SIGTERM or SIGINT, or for something that ends the role before.
pub(crate) async fn until_stopped(signals: Signals, failures: &mut Failures) -> Result<()> {
    until_stopped_within(signals, failures, Duration::ZERO).await
}

/// Waits as [`until_stopped`] does; the stop may take this much longer.
async fn until_stopped_within(mut signals: Signals, failures: &mut Failures, drain_wait: Duration) -> Result<()> {
    let failure = tokio::select! {
        () = signals.received() => {
            limit_stop(drain_wait);
            None
        }
        failure = failures.recv() => failure,
    };
    match failure {
        None => {
            info!("draining");
            Ok(())
        }
        Some(failure) => {
            error!(error = %format_args!("{failure:#}"), "stopping");
            Err(failure)
        }
    }
}

/// Waits as [`until_stopped`] does. From then on the role is not ready; after a request to stop it goes on for `drain_wait`, until
/// balancers know.
pub(crate) async fn until_drained(
    signals: Signals,
    failures: &mut Failures,
    draining: &AtomicBool,
    drain_wait: Duration,
) -> Result<()> {
    let ended = until_stopped_within(signals, failures, drain_wait).await;
    draining.store(true, Ordering::Release);
    if ended.is_ok() {
        tokio::time::sleep(drain_wait).await;
    }
    ended
}

/// Partitions as a log message lists them.
pub(crate) fn list(partitions: &[TopicPartition]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
