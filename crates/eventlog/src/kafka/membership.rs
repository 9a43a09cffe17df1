//! Decides which member of a group owns which partitions. It reads no records: the owner of a partition reads it with a
//! consumer, from the offset in its own snapshot. Two owners at the same time do no harm, because both write the same records.
//!
//! Members are static: a member that ends and returns under its name within the session timeout gets its partitions back, and
//! the partitions of other members do not move.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use domain::model::address::{Topic, TopicPartition};
use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tracing::{debug, warn};

use crate::error::LogError;
use crate::kafka::observer::{ClientObserver, RecoveryCheck, is_transient};
use crate::kafka::settings::{Settings, refused};

/// Interval of polls: the longest delay before a rebalance is answered.
const POLL: Duration = Duration::from_millis(50);

/// Maximum interval of heartbeats to the brokers; a short session has a shorter one.
const HEARTBEAT_MAX: Duration = Duration::from_secs(3);
/// Minimum of the poll interval that the broker accepts; a longer session makes it longer.
const POLL_INTERVAL_MIN: Duration = Duration::from_secs(300);
/// Maximum number of changes that the role has not taken; the member then waits, and does not poll.
const CHANGES_MAX: usize = 64;
/// Period in which fenced joins are counted. A fenced member joins again, because a failing broker may fence a member that has
/// just joined.
const TWIN_WITHIN: Duration = Duration::from_secs(60);
/// Number of times that a member is fenced within the period before it gives up: another process then has its name.
const TWIN_TIMES: usize = 3;

/// A change of what a member owns. It lists the partitions that came or went, not all that the member has.
#[derive(Debug)]
pub enum Change {
    /// The member owns them from now on.
    Assigned(Vec<TopicPartition>),
    /// Another member may take them from now on.
    Revoked(Vec<TopicPartition>),
    /// Another member may have taken them some time ago.
    Lost(Vec<TopicPartition>),
    /// The membership has ended: another process has this member's name, or the group cannot be joined.
    Over(LogError),
}

/// The latest offset to commit of each partition.
type Offsets = Mutex<BTreeMap<TopicPartition, u64>>;

/// A membership in a group, until it is dropped.
#[derive(Debug)]
pub struct Membership {
    to_commit: Arc<Offsets>,
    changes: Mutex<Option<Receiver<Change>>>,
    ends: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Membership {
    /// Joins a group, for some topics. `instance` is this member's name: no other process may have it.
    ///
    /// # Errors
    /// The settings are refused.
    ///
    /// # Panics
    /// If the system has no room for a thread.
    pub fn join(
        settings: &Settings,
        group: &str,
        instance: &str,
        topics: &[Topic],
        session_timeout: Duration,
    ) -> Result<Self, LogError> {
        let mut config = settings.consumer(instance, Some(group))?;
        config.set("group.instance.id", instance);
        let mut set = |name: &str, time: Duration| {
            config.set(name, time.as_millis().to_string());
        };
        set("session.timeout.ms", session_timeout);
        set("heartbeat.interval.ms", (session_timeout / 4).min(HEARTBEAT_MAX));
        set("max.poll.interval.ms", session_timeout.max(POLL_INTERVAL_MIN));
        // The member's thread waits while the channel is full; the role's thread, which takes the changes, never waits for it.
        let (change_tx, changes) = sync_channel(CHANGES_MAX);
        let to_commit = Arc::<Offsets>::default();
        let join_config = JoinConfig {
            config,
            settings: settings.clone(),
            group: group.to_owned(),
            instance: instance.to_owned(),
            topics: topics.iter().map(|&topic| settings.topic(topic)).collect(),
            change_tx,
        };
        let ends = Arc::new(AtomicBool::new(false));
        let member = Member {
            consumer: join_config.join()?,
            join_config,
            to_commit: Arc::clone(&to_commit),
            ends: Arc::clone(&ends),
            recovery: RecoveryCheck::default(),
            fenced: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("kafka-member".to_owned()).spawn(move || member.run());
        let thread = Mutex::new(Some(thread.expect("the system has room for a thread")));
        Ok(Self { to_commit, changes: Mutex::new(Some(changes)), ends, thread })
    }

    /// The receiver of all changes since the join. It can be taken once.
    ///
    /// # Panics
    /// If it was taken before.
    #[must_use]
    pub fn changes(&self) -> Receiver<Change> {
        let changes = self.changes.lock().take();
        changes.expect("the changes are taken once")
    }

    /// Commits the offset of a partition, for tools that show consumer lag. It does not wait: the member's thread commits the
    /// latest offset of each partition. Mashang never reads these offsets.
    pub fn commit(&self, partition: TopicPartition, offset: u64) {
        self.to_commit.lock().insert(partition, offset);
    }

    /// Ends the membership. The group keeps this member's partitions for it until the session timeout.
    pub fn leave(&self) {
        self.end();
    }

    fn end(&self) {
        self.ends.store(true, Ordering::Release);
        // If the changes were never taken, the member's thread must not wait for room.
        self.changes.lock().take();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a member needs to join its group.
struct JoinConfig {
    config: ClientConfig,
    settings: Settings,
    group: String,
    instance: String,
    topics: Vec<String>,
    change_tx: SyncSender<Change>,
}

impl JoinConfig {
    /// Joins the group. The broker fences another process that has joined under this name.
    fn join(&self) -> Result<BaseConsumer<Listener>, LogError> {
        let observer = ClientObserver::new(&self.instance);
        let (settings, change_tx) = (self.settings.clone(), self.change_tx.clone());
        let listener = Listener { observer, settings, change_tx, owned: Mutex::default() };
        let consumer: BaseConsumer<Listener> = self.config.create_with_context(listener).map_err(refused)?;
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let subscribed = consumer.subscribe(&topics);
        subscribed.map_err(|e| consumer.context().explain(&format!("group {} cannot be joined", self.group), &e))?;
        Ok(consumer)
    }
}

impl fmt::Display for JoinConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of group {}", self.instance, self.group)
    }
}

struct Member {
    join_config: JoinConfig,
    consumer: BaseConsumer<Listener>,
    to_commit: Arc<Offsets>,
    ends: Arc<AtomicBool>,
    recovery: RecoveryCheck,
    /// The times at which the broker fenced the member lately.
    fenced: Vec<Instant>,
}

impl Member {
    fn run(mut self) {
        while !self.ends.load(Ordering::Acquire) {
            match self.consumer.poll(POLL) {
                // Partitions are paused; a record that was in flight is dropped.
                Some(Ok(_)) | None => self.recovery.ask(&self.consumer, &self.consumer.context().observer),
                Some(Err(error)) => {
                    if let Err(over) = self.handle_error(&error) {
                        let _ = self.join_config.change_tx.send(Change::Over(over));
                        return;
                    }
                }
            }
            self.commit();
        }
        self.commit();
    }

    /// Handles an error of `poll`: either the member goes on, or the membership has ended.
    fn handle_error(&mut self, error: &KafkaError) -> Result<(), LogError> {
        let explain = |what: String| Err(self.consumer.context().explain(&what, error));
        let name = &self.join_config;
        // The error of `poll` does not name the cause of a fatal error.
        let fatal = self.consumer.client().fatal_error();
        match fatal.as_ref().map(|(code, _)| *code).or(error.rdkafka_error_code()) {
            Some(Code::FencedInstanceId) => self.rejoin(),
            Some(Code::GroupAuthorizationFailed | Code::TopicAuthorizationFailed | Code::InvalidSessionTimeout) => {
                explain(format!("member {name} cannot join"))
            }
            _ if fatal.is_some() => explain(format!("member {name} ends")),
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset) => Ok(()),
            _ if is_transient(error) => Ok(()),
            _ => {
                warn!(target: "kafka", %error, member = %name, "a member received an error; it goes on");
                Ok(())
            }
        }
    }

    /// Joins again, and reports all partitions as lost.
    fn rejoin(&mut self) -> Result<(), LogError> {
        self.fenced.retain(|at| at.elapsed() < TWIN_WITHIN);
        self.fenced.push(Instant::now());
        if self.fenced.len() >= TWIN_TIMES {
            return Err(LogError::Kafka {
                brokers: self.join_config.settings.brokers.clone(),
                what: format!("member {} was shut out", self.join_config),
                cause: "another process joined with this name".to_owned(),
                mend: "give every process a name of its own, and end the other one",
            });
        }
        warn!(target: "kafka", member = %self.join_config, "a member was shut out of its group; it joins again");
        let before = std::mem::replace(&mut self.consumer, self.join_config.join()?);
        let lost = std::mem::take(&mut *before.context().owned.lock());
        let _ = self.join_config.change_tx.send(Change::Lost(lost.into_iter().collect()));
        Ok(())
    }

    /// Commits offsets of owned partitions only: while the member joins again, the broker would answer a commit of a lost partition
    /// as if another process had this member's name.
    fn commit(&self) {
        let owned = self.consumer.context().owned.lock().clone();
        let mut last: Option<TopicPartitionList> = None;
        let offsets = std::mem::take(&mut *self.to_commit.lock());
        for (partition, offset) in offsets {
            if owned.contains(&partition) {
                let list = last.get_or_insert_with(TopicPartitionList::new);
                let name = self.join_config.settings.topic(partition.topic);
                let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
                let _ = list.add_partition_offset(&name, i32::from(partition.partition), offset);
            }
        }
        if let Some(list) = last
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            debug!(target: "kafka", %error, member = %self.join_config, "offsets were not committed");
        }
    }
}

/// Receives rebalances; runs inside `poll`.
struct Listener {
    observer: ClientObserver,
    settings: Settings,
    change_tx: SyncSender<Change>,
    /// Partitions that were reported as assigned, and not yet as revoked or lost.
    owned: Mutex<BTreeSet<TopicPartition>>,
}

impl Listener {
    fn explain(&self, what: &str, error: &KafkaError) -> LogError {
        self.observer.explain(&self.settings, what.to_owned(), error)
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<TopicPartition> {
        let elements = list.elements();
        elements.iter().filter_map(|e| self.settings.parse_partition(e.topic(), e.partition())).collect()
    }

    fn report(&self, change: Change) {
        let _ = self.change_tx.send(change);
    }
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        self.observer.log(level, kind, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.observer.error(error, reason);
    }
}

impl ConsumerContext for Listener {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.observer.outage_ends();
        let mut partitions = self.partitions(list);
        let done = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // The member owns the partitions, and fetches no records.
            let done = consumer.incremental_assign(list).and_then(|()| consumer.pause(list));
            self.owned.lock().extend(partitions.iter().copied());
            self.report(Change::Assigned(partitions));
            done
        } else {
            let is_lost = consumer.assignment_lost();
            partitions.retain(|partition| self.owned.lock().remove(partition));
            self.report(if is_lost { Change::Lost(partitions) } else { Change::Revoked(partitions) });
            consumer.incremental_unassign(list)
        };
        if let Err(error) = done {
            warn!(target: "kafka", %error, "a rebalance failed");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        match result {
            Ok(()) => self.observer.outage_ends(),
            Err(error) => debug!(target: "kafka", %error, "offsets were not committed"),
        }
    }
}
