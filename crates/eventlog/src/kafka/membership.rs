//! Who of a group owns which partitions. It reads nothing: whoever owns a partition reads it with a feed, from where its
//! own snapshot says. Two owners for a moment do no harm, for both write the same.
//!
//! Members are static: one that ends and comes back with its name within the session timeout gets its partitions again,
//! and no other member is disturbed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use domain::model::address::Topic;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tracing::{debug, warn};

use crate::error::LogError;
use crate::kafka::observer::{ClientObserver, Returned, passes_by};
use crate::kafka::settings::{Settings, refused};

/// Rebalances are answered within so long, and a member is never taken for stuck.
const POLL: Duration = Duration::from_millis(50);

/// The brokers hear of a member so often at least.
const HEARTBEAT_MAX: Duration = Duration::from_secs(3);
/// It may not be shorter than the session.
const POLL_INTERVAL_MIN: Duration = Duration::from_secs(300);
/// One that is shut out joins again: a broker that fails may shut out the member that it has just let in. If it is shut out so
/// often within so long, another process has its name.
const TWIN_WITHIN: Duration = Duration::from_secs(60);
const TWIN_TIMES: usize = 3;

/// What a member is told. Partitions are those that came or went, not all that it has.
#[derive(Debug)]
pub enum Change {
    Assigned(Vec<(Topic, u16)>),
    /// Another member gets them now.
    Revoked(Vec<(Topic, u16)>),
    /// Another member may have had them for a while.
    Lost(Vec<(Topic, u16)>),
    /// The membership is over: another process has this member's name, or the group cannot be joined.
    Over(LogError),
}

/// A member of a group, as long as it is not dropped.
#[derive(Debug)]
pub struct Membership {
    commits: Sender<Vec<(Topic, u16, u64)>>,
    changes: Mutex<Option<Receiver<Change>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Membership {
    /// Joins a group, for some topics. `instance` is this member's name: no other process may bear it.
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
        let (tell, changes) = channel();
        let (commits, to_commit) = channel();
        let place = Place {
            config,
            settings: settings.clone(),
            group: group.to_owned(),
            instance: instance.to_owned(),
            topics: topics.iter().map(|&topic| settings.topic(topic)).collect(),
            tell,
        };
        let ends = Arc::new(AtomicBool::new(false));
        let member = Member {
            consumer: place.take()?,
            place,
            to_commit,
            ends: Arc::clone(&ends),
            returned: Returned::default(),
            shut_out: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("kafka-member".to_owned()).spawn(move || member.run());
        let thread = Some(thread.expect("the system has room for a thread"));
        Ok(Self { commits, changes: Mutex::new(Some(changes)), ends, thread })
    }

    /// What changes, from the beginning. It can be taken once.
    ///
    /// # Panics
    /// If it was taken before.
    #[must_use]
    pub fn changes(&self) -> Receiver<Change> {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner).take();
        changes.expect("the changes are taken once")
    }

    /// Says how far partitions are, for tools that show a lag. Nobody waits for it, and nothing reads it.
    pub fn commit(&self, offsets: &[(Topic, u16, u64)]) {
        let _ = self.commits.send(offsets.to_vec());
    }

    /// Ends. The group keeps this member's place for the session timeout.
    pub fn leave(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.ends.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.end();
    }
}

/// A member's place in its group.
struct Place {
    config: ClientConfig,
    settings: Settings,
    group: String,
    instance: String,
    topics: Vec<String>,
    tell: Sender<Change>,
}

impl Place {
    /// Takes it; whoever has it is shut out.
    fn take(&self) -> Result<BaseConsumer<Listener>, LogError> {
        let watch = ClientObserver::new(&self.instance);
        let (settings, tell) = (self.settings.clone(), self.tell.clone());
        let listener = Listener { watch, settings, tell, held: Mutex::default() };
        let consumer: BaseConsumer<Listener> = self.config.create_with_context(listener).map_err(refused)?;
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let subscribed = consumer.subscribe(&topics);
        subscribed.map_err(|e| consumer.context().explain(&format!("group {} cannot be joined", self.group), &e))?;
        Ok(consumer)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of group {}", self.instance, self.group)
    }
}

struct Member {
    place: Place,
    consumer: BaseConsumer<Listener>,
    to_commit: Receiver<Vec<(Topic, u16, u64)>>,
    ends: Arc<AtomicBool>,
    returned: Returned,
    /// When it was shut out lately.
    shut_out: Vec<Instant>,
}

impl Member {
    fn run(mut self) {
        while !self.ends.load(Ordering::Acquire) {
            match self.consumer.poll(POLL) {
                // Partitions are paused; a record that was on its way is not for us.
                Some(Ok(_)) | None => self.returned.ask(&self.consumer, &self.consumer.context().watch),
                Some(Err(error)) => {
                    if let Err(over) = self.note(&error) {
                        let _ = self.place.tell.send(Change::Over(over));
                        return;
                    }
                }
            }
            self.commit();
        }
        self.commit();
    }

    /// Goes on, or the membership is over.
    fn note(&mut self, error: &KafkaError) -> Result<(), LogError> {
        let explain = |what: String| Err(self.consumer.context().explain(&what, error));
        let name = &self.place;
        // A fatal error says no more than that it is one.
        let fatal = self.consumer.client().fatal_error();
        match fatal.as_ref().map(|(code, _)| *code).or(error.rdkafka_error_code()) {
            Some(Code::FencedInstanceId) => self.come_back(),
            Some(Code::GroupAuthorizationFailed | Code::TopicAuthorizationFailed | Code::InvalidSessionTimeout) => {
                explain(format!("member {name} cannot join"))
            }
            _ if fatal.is_some() => explain(format!("member {name} ends")),
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset) => Ok(()),
            _ if passes_by(error) => Ok(()),
            _ => {
                warn!(target: "kafka", %error, member = %name, "a member is told of an error; it goes on");
                Ok(())
            }
        }
    }

    /// Joins again. All partitions are told to have gone.
    fn come_back(&mut self) -> Result<(), LogError> {
        self.shut_out.retain(|at| at.elapsed() < TWIN_WITHIN);
        self.shut_out.push(Instant::now());
        if self.shut_out.len() >= TWIN_TIMES {
            return Err(LogError::Kafka {
                brokers: self.place.settings.brokers.clone(),
                what: format!("member {} was shut out", self.place),
                cause: "another process joined with this name".to_owned(),
                mend: "give every process a name of its own, and end the other one",
            });
        }
        warn!(target: "kafka", member = %self.place, "a member was shut out of its group; it joins again");
        let before = std::mem::replace(&mut self.consumer, self.place.take()?);
        let lost = std::mem::take(&mut *before.context().held());
        let _ = self.place.tell.send(Change::Lost(lost.into_iter().collect()));
        Ok(())
    }

    /// Only of what it has: a commit for a partition that was lost, while the member joins under a new id, is answered as if
    /// another process had its name.
    fn commit(&self) {
        let held = self.consumer.context().held().clone();
        let mut last: Option<TopicPartitionList> = None;
        for (topic, partition, offset) in self.to_commit.try_iter().flatten() {
            if held.contains(&(topic, partition)) {
                let list = last.get_or_insert_with(TopicPartitionList::new);
                let (name, partition) = (self.place.settings.topic(topic), i32::from(partition));
                let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
                if list.set_partition_offset(&name, partition, offset).is_err() {
                    let _ = list.add_partition_offset(&name, partition, offset);
                }
            }
        }
        if let Some(list) = last
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            debug!(target: "kafka", %error, member = %self.place, "offsets were not committed");
        }
    }
}

/// Hears of rebalances; runs inside `poll`.
struct Listener {
    watch: ClientObserver,
    settings: Settings,
    tell: Sender<Change>,
    /// What it was told to have, and not yet that it went.
    held: Mutex<BTreeSet<(Topic, u16)>>,
}

impl Listener {
    fn explain(&self, what: &str, error: &KafkaError) -> LogError {
        self.watch.explain(&self.settings, what.to_owned(), error)
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<(Topic, u16)> {
        let place = |topic: &str, partition: i32| {
            let name = topic.strip_prefix(&self.settings.prefix)?.strip_prefix('.')?;
            Some((Topic::parse(name)?, u16::try_from(partition).ok()?))
        };
        list.elements().iter().filter_map(|e| place(e.topic(), e.partition())).collect()
    }

    fn held(&self) -> MutexGuard<'_, BTreeSet<(Topic, u16)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: Change) {
        let _ = self.tell.send(change);
    }
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        self.watch.log(level, kind, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(error, reason);
    }
}

impl ConsumerContext for Listener {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.watch.is_back();
        let mut partitions = self.partitions(list);
        let done = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // The place is held, nothing is fetched.
            let done = consumer.incremental_assign(list).and_then(|()| consumer.pause(list));
            self.held().extend(partitions.iter().copied());
            self.tell(Change::Assigned(partitions));
            done
        } else {
            let is_lost = consumer.assignment_lost();
            partitions.retain(|partition| self.held().remove(partition));
            self.tell(if is_lost { Change::Lost(partitions) } else { Change::Revoked(partitions) });
            consumer.incremental_unassign(list)
        };
        if let Err(error) = done {
            warn!(target: "kafka", %error, "a rebalance was not followed");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        match result {
            Ok(()) => self.watch.is_back(),
            Err(error) => debug!(target: "kafka", %error, "offsets were not committed"),
        }
    }
}
