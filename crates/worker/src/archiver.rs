//! The thread that copies `scans` into the archive. No lane waits for it.

use std::collections::BTreeMap;
use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use domain::model::address::{Topic, TopicPartition};
use eventlog::api::{Consumer, now_ms};
use eventlog::archive::copier::Copier;
use eventlog::error::LogError;
use eventlog::retry::Retry;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGaugeVec, Opts, Registry};
use tracing::{info, warn};

/// Interval of the looks whether a partition is due, and of those whether the process stops.
const TICK: Duration = Duration::from_millis(200);
/// Shortest and longest delay before a partition that failed is tried again, without jitter.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);

/// When records are archived, and for how long they stay there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchivePolicy {
    /// Interval at which what the log holds of a partition is archived.
    pub every: Duration,
    /// Time after the end of a day after which its records are removed; `None`: never.
    pub keep: Option<Duration>,
}

/// Copies the partitions of a process.
#[derive(Debug)]
pub struct Archiver {
    copier: Copier,
    policy: ArchivePolicy,
    metrics: ArchiveMetrics,
    /// The first offset of each partition that is not archived, as far as this process knows.
    archived: Mutex<BTreeMap<u16, u64>>,
}

#[derive(Debug)]
struct ArchiveMetrics {
    age: IntGaugeVec,
    segments: IntCounter,
    bytes: IntCounter,
    failures: IntCounter,
    lost: IntCounter,
}

impl ArchiveMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            age: IntGaugeVec::new(
                Opts::new("mashang_archive_age_seconds", "Time since everything that the log held was archived"),
                &["partition"],
            )?,
            segments: IntCounter::new("mashang_archive_segments_total", "Segments that were written to the archive")?,
            bytes: IntCounter::new("mashang_archive_bytes_total", "Bytes that were written to the archive")?,
            failures: IntCounter::new(
                "mashang_archive_failures_total",
                "Times that a partition could not be archived",
            )?,
            lost: IntCounter::new(
                "mashang_archive_lost_records_total",
                "Records that the log removed before they were archived",
            )?,
        };
        registry.register(Box::new(metrics.age.clone()))?;
        registry.register(Box::new(metrics.segments.clone()))?;
        registry.register(Box::new(metrics.bytes.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        registry.register(Box::new(metrics.lost.clone()))?;
        Ok(metrics)
    }
}

/// Connects to the log.
pub type ConnectLog<'c> = &'c dyn Fn() -> Result<Box<dyn Consumer>, LogError>;

/// A partition of this process.
struct Round {
    due: Instant,
    /// When everything that the log held then was archived.
    whole: Instant,
    is_first: bool,
    retry: Retry,
    /// The kind of the last failure that was logged: its text has other times each time.
    logged: Option<Discriminant<LogError>>,
}

impl Round {
    fn new() -> Self {
        let now = Instant::now();
        Self { due: now, whole: now, is_first: true, retry: Retry::new(RETRY_MIN, RETRY_MAX), logged: None }
    }
}

impl Archiver {
    /// An archiver of a log; the store is not asked yet.
    ///
    /// # Panics
    /// If the registry already has metrics of these names.
    #[must_use]
    pub fn new(copier: Copier, policy: ArchivePolicy, registry: &Registry) -> Self {
        let metrics = ArchiveMetrics::new(registry).expect("metrics are registered once");
        Self { copier, policy, metrics, archived: Mutex::default() }
    }

    /// The first offset of a partition that is not archived, as far as this process knows.
    #[must_use]
    pub fn archived(&self, partition: u16) -> u64 {
        self.archived.lock().get(&partition).copied().unwrap_or(0)
    }

    /// Archives the partitions that `owned` names, until `is_stopping`.
    ///
    /// # Errors
    /// The archive is that of another log. Everything else is tried again.
    pub fn run(
        &self,
        connect: ConnectLog<'_>,
        owned: &dyn Fn() -> Vec<u16>,
        is_stopping: &dyn Fn() -> bool,
    ) -> Result<(), LogError> {
        let mut rounds: BTreeMap<u16, Round> = BTreeMap::new();
        let mut is_claimed = false;
        while !is_stopping() {
            let owned = owned();
            rounds.retain(|partition, _| {
                let stays = owned.contains(partition);
                if !stays {
                    let _ = self.metrics.age.remove_label_values(&[&partition.to_string()]);
                }
                stays
            });
            // Only while a partition is due.
            let mut consumer = None;
            for partition in owned {
                let round = rounds.entry(partition).or_insert_with(Round::new);
                if round.due <= Instant::now() && !is_stopping() {
                    let done = self.round(partition, round, &mut is_claimed, &mut consumer, connect, is_stopping);
                    if let Err(error) = done {
                        consumer = None;
                        self.failed(partition, round, error)?;
                    }
                }
                let age = i64::try_from(round.whole.elapsed().as_secs()).unwrap_or(i64::MAX);
                self.metrics.age.with_label_values(&[&partition.to_string()]).set(age);
            }
            drop(consumer);
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// Archives a partition that is due.
    fn round(
        &self,
        partition: u16,
        round: &mut Round,
        is_claimed: &mut bool,
        consumer: &mut Option<Box<dyn Consumer>>,
        connect: ConnectLog<'_>,
        is_stopping: &dyn Fn() -> bool,
    ) -> Result<(), LogError> {
        if !*is_claimed {
            self.copier.claim()?;
            *is_claimed = true;
        }
        let began = Instant::now();
        if round.is_first
            && let Some(last) = self.copier.last(partition)?
        {
            self.archived.lock().insert(partition, last.last_offset + 1);
            let age = Duration::from_millis(u64::try_from(now_ms() - last.written).unwrap_or(0));
            round.whole = began.checked_sub(age).unwrap_or(began);
            if let Some(left) = self.policy.every.checked_sub(age).filter(|left| !left.is_zero()) {
                round.is_first = false;
                round.due = began + left;
                return Ok(());
            }
        }
        let log = match consumer {
            Some(log) => log,
            None => consumer.insert(connect()?),
        };
        let copied = self.copier.copy(&mut **log, partition, is_stopping)?;
        self.archived.lock().insert(partition, copied.next);
        self.metrics.segments.inc_by(copied.segments);
        self.metrics.bytes.inc_by(copied.bytes);
        if copied.lost > 0 {
            self.metrics.lost.inc_by(copied.lost);
            let name = TopicPartition::new(Topic::Scans, partition);
            warn!(partition = %name, records = copied.lost, "the log removed records before they were archived");
        }
        round.is_first = false;
        round.retry.reset();
        if copied.is_whole {
            round.whole = began;
            round.due = began + self.policy.every;
        }
        if round.logged.take().is_some() {
            info!(partition = %TopicPartition::new(Topic::Scans, partition), "archived again");
        }
        if let Some(keep) = self.policy.keep {
            let removed = self.copier.remove_old(partition, keep)?;
            if removed > 0 {
                info!(partition = %TopicPartition::new(Topic::Scans, partition), removed, "old segments left the archive");
            }
        }
        Ok(())
    }

    fn failed(&self, partition: u16, round: &mut Round, error: LogError) -> Result<(), LogError> {
        if matches!(error, LogError::OtherArchive { .. }) {
            return Err(error);
        }
        self.metrics.failures.inc();
        let kind = discriminant(&error);
        if round.logged.replace(kind) != Some(kind) {
            let name = TopicPartition::new(Topic::Scans, partition);
            warn!(partition = %name, %error, "not archived; it is tried again");
        }
        round.due = Instant::now() + round.retry.delay();
        Ok(())
    }
}
