//! Partitions have one owner; a member that returns in time gets its partitions back.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use domain::model::address::{Topic, TopicPartition};
use eventlog::kafka::membership::{Change, Membership};
use eventlog::kafka::settings::Settings;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{TIMEOUT, World, shared};

/// Session timeout: the shortest that brokers allow, so that tests wait less for a member that has ended.
const SESSION: Duration = Duration::from_secs(6);
const TOPICS: [Topic; 2] = [Topic::Scans, Topic::Facts];
/// Number of partitions of both topics.
const ALL: usize = 5;

/// A member, what it owns, and the number of its changes.
struct Member {
    membership: Option<Membership>,
    changes: Receiver<Change>,
    owned: BTreeSet<TopicPartition>,
    changed: usize,
}

impl Member {
    fn join(settings: &Settings, instance: &str) -> Self {
        Self::join_for(settings, instance, SESSION)
    }

    fn join_for(settings: &Settings, instance: &str, session: Duration) -> Self {
        let group = format!("{}.worker", settings.prefix);
        let instance = format!("{}-{instance}", settings.prefix);
        let membership = Membership::join(settings, &group, &instance, &TOPICS, session).expect("a member");
        let changes = membership.changes();
        Self { membership: Some(membership), changes, owned: BTreeSet::new(), changed: 0 }
    }

    /// Applies the changes until now.
    fn apply_changes(&mut self) {
        loop {
            match self.changes.recv_timeout(Duration::from_millis(10)) {
                Ok(Change::Assigned(partitions)) => {
                    self.changed += usize::from(!partitions.is_empty());
                    for partition in partitions {
                        assert!(self.owned.insert(partition), "{partition:?} is assigned twice");
                    }
                }
                Ok(Change::Revoked(partitions) | Change::Lost(partitions)) => {
                    self.changed += usize::from(!partitions.is_empty());
                    for partition in partitions {
                        assert!(self.owned.remove(&partition), "{partition:?} was not assigned");
                    }
                }
                Ok(Change::Over(error)) => panic!("over: {error}"),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn leave(&mut self) {
        self.membership.take().expect("it was a member").leave();
    }
}

/// Waits until the members own `counts` partitions, in any order of the members, and together all of them.
fn settle(members: &mut [&mut Member], counts: &[usize]) {
    let end = Instant::now() + TIMEOUT;
    loop {
        members.iter_mut().for_each(|member| member.apply_changes());
        let mut owned: Vec<usize> = members.iter().map(|member| member.owned.len()).collect();
        owned.sort_unstable();
        let together: BTreeSet<_> = members.iter().flat_map(|member| &member.owned).collect();
        if owned == counts && together.len() == ALL {
            return;
        }
        assert!(Instant::now() < end, "{owned:?}, not {counts:?}");
    }
}

#[test]
fn members_share_and_take_over() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let mut one = Member::join(&world.settings, "one");
    settle(&mut [&mut one], &[ALL]);
    let mut two = Member::join(&world.settings, "two");
    let mut three = Member::join(&world.settings, "three");
    settle(&mut [&mut one, &mut two, &mut three], &[1, 2, 2]);
    let before = one.owned.clone();
    two.leave();
    three.leave();
    settle(&mut [&mut one], &[ALL]);
    assert!(before.is_subset(&one.owned));
}

#[test]
fn returning_member_moves_no_partition() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    // Longer than the whole test.
    let session = TIMEOUT;
    let mut one = Member::join_for(&world.settings, "one", session);
    let mut two = Member::join_for(&world.settings, "two", session);
    settle(&mut [&mut one, &mut two], &[2, 3]);
    let (changed, owned) = (one.changed, two.owned.clone());
    for _ in 0..3 {
        two.leave();
        two = Member::join_for(&world.settings, "two", session);
        settle(&mut [&mut one, &mut two], &[2, 3]);
        assert_eq!(two.owned, owned, "its own");
    }
    assert_eq!(one.changed, changed, "nothing moved");
}

#[test]
fn twin_shuts_out_the_earlier_member() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let mut one = Member::join(&world.settings, "twin");
    settle(&mut [&mut one], &[ALL]);
    let mut twin = Member::join(&world.settings, "twin");
    settle(&mut [&mut twin], &[ALL]);
    let end = Instant::now() + TIMEOUT;
    let error = loop {
        assert!(Instant::now() < end, "the member was not shut out");
        match one.changes.recv_timeout(TIMEOUT).expect("a change") {
            Change::Over(error) => break error.to_string(),
            Change::Assigned(_) | Change::Revoked(_) | Change::Lost(_) => {}
        }
    };
    assert!(error.contains("-twin of group") && error.contains("shut out") && error.contains("name"), "{error}");
}

#[test]
fn member_shut_out_once_joins_again() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let mut one = Member::join(&world.settings, "one");
    settle(&mut [&mut one], &[ALL]);
    let changed = one.changed;
    // Another process takes its name, and gives up.
    let (group, instance) = (format!("{}.worker", world.settings.prefix), format!("{}-one", world.settings.prefix));
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &world.settings.brokers).set("partition.assignment.strategy", "cooperative-sticky");
    config.set("group.id", group).set("group.instance.id", instance);
    config.set("session.timeout.ms", SESSION.as_millis().to_string());
    let intruder: BaseConsumer = config.create().expect("a consumer");
    let topics = TOPICS.map(|topic| world.settings.topic(topic));
    intruder.subscribe(&topics.each_ref().map(String::as_str)).expect("topics");
    let end = Instant::now() + TIMEOUT;
    // The intruder polls until the member has shut it out.
    while intruder.client().fatal_error().is_none() {
        assert!(Instant::now() < end, "the member did not join again");
        intruder.poll(Duration::from_millis(50));
        one.apply_changes();
    }
    settle(&mut [&mut one], &[ALL]);
    assert!(one.changed > changed, "the member was shut out");
}

#[test]
fn failed_join_names_the_group_and_the_fix() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    // More than brokers allow.
    let one = Member::join_for(&world.settings, "one", Duration::from_secs(3000));
    let Change::Over(error) = one.changes.recv_timeout(TIMEOUT).expect("a change") else { panic!("it joined") };
    let error = error.to_string();
    assert!(error.contains("-one of group") && error.contains("group.max.session.timeout.ms"), "{error}");
}

#[test]
fn tools_can_read_committed_offsets() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let mut one = Member::join(&world.settings, "one");
    settle(&mut [&mut one], &[ALL]);
    let membership = one.membership.take().expect("a member");
    membership.commit(TopicPartition::new(Topic::Scans, 0), 1);
    membership.commit(TopicPartition::new(Topic::Scans, 1), 7);
    membership.commit(TopicPartition::new(Topic::Scans, 0), 2);
    membership.leave();
    let group = format!("{}.worker", world.settings.prefix);
    let mut tool = kafka.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand");
    tool.args(["--bootstrap-server", kafka.bootstrap(), "--describe", "--offsets", "--group", &group]);
    let results = tool.output().expect("it runs");
    let results = String::from_utf8_lossy(&results.stdout).into_owned();
    for (partition, offset) in [("0", "2"), ("1", "7")] {
        let is_it = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(1) == Some(&world.settings.topic(Topic::Scans).as_str())
                && words.get(2..4) == Some(&[partition, offset][..])
        };
        assert!(results.lines().any(is_it), "{results}");
    }
}
