//! Partitions have one owner; who comes back in time finds its own.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use domain::model::address::Topic;
use eventlog::kafka::membership::{Change, Membership};
use eventlog::kafka::settings::Settings;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{PATIENCE, World, shared};

/// As short as brokers allow, so that tests need not wait long for one that is gone.
const SESSION: Duration = Duration::from_secs(6);
const TOPICS: [Topic; 2] = [Topic::Scans, Topic::Facts];
/// Partitions of both.
const ALL: usize = 5;

/// A member, what it owns, and all that it was told.
struct Member {
    membership: Option<Membership>,
    changes: Receiver<Change>,
    owned: BTreeSet<(Topic, u16)>,
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

    /// Takes what it was told until now.
    fn look(&mut self) {
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

/// Waits until each of some members owns so many, together all of them, each once.
fn settle(members: &mut [&mut Member], counts: &[usize]) {
    let end = Instant::now() + PATIENCE;
    loop {
        members.iter_mut().for_each(|member| member.look());
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
fn one_that_comes_back_in_time_disturbs_nobody() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    // Longer than anything here takes.
    let session = PATIENCE;
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
fn a_twin_shuts_out_the_one_before_it_and_is_named() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let mut one = Member::join(&world.settings, "twin");
    settle(&mut [&mut one], &[ALL]);
    let mut twin = Member::join(&world.settings, "twin");
    settle(&mut [&mut twin], &[ALL]);
    let end = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < end, "it was not shut out");
        match one.changes.recv_timeout(PATIENCE).expect("a change") {
            Change::Over(error) => break error.to_string(),
            Change::Assigned(_) | Change::Revoked(_) | Change::Lost(_) => {}
        }
    };
    assert!(error.contains("-twin of group") && error.contains("shut out") && error.contains("name"), "{error}");
}

#[test]
fn one_that_is_shut_out_once_comes_back() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let mut one = Member::join(&world.settings, "one");
    settle(&mut [&mut one], &[ALL]);
    let changed = one.changed;
    // Somebody takes its place, and does not insist.
    let (group, instance) = (format!("{}.worker", world.settings.prefix), format!("{}-one", world.settings.prefix));
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &world.settings.brokers).set("partition.assignment.strategy", "cooperative-sticky");
    config.set("group.id", group).set("group.instance.id", instance);
    config.set("session.timeout.ms", SESSION.as_millis().to_string());
    let intruder: BaseConsumer = config.create().expect("a consumer");
    let topics = TOPICS.map(|topic| world.settings.topic(topic));
    intruder.subscribe(&topics.each_ref().map(String::as_str)).expect("topics");
    let end = Instant::now() + PATIENCE;
    // It is asked to poll until it was shut out itself.
    while intruder.client().fatal_error().is_none() {
        assert!(Instant::now() < end, "nobody came back");
        intruder.poll(Duration::from_millis(50));
        one.look();
    }
    settle(&mut [&mut one], &[ALL]);
    assert!(one.changed > changed, "it was shut out");
}

#[test]
fn a_group_that_cannot_be_joined_is_named_with_the_mend() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    // More than brokers allow.
    let one = Member::join_for(&world.settings, "one", Duration::from_secs(3000));
    let Change::Over(error) = one.changes.recv_timeout(PATIENCE).expect("a change") else { panic!("it joined") };
    let error = error.to_string();
    assert!(error.contains("-one of group") && error.contains("group.max.session.timeout.ms"), "{error}");
}

#[test]
fn how_far_a_member_is_can_be_asked_by_tools() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let mut one = Member::join(&world.settings, "one");
    settle(&mut [&mut one], &[ALL]);
    let membership = one.membership.take().expect("a member");
    membership.commit(&[(Topic::Scans, 0, 1), (Topic::Scans, 1, 7)]);
    membership.commit(&[(Topic::Scans, 0, 2)]);
    membership.leave();
    let group = format!("{}.worker", world.settings.prefix);
    let mut tool = kafka.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand");
    tool.args(["--bootstrap-server", kafka.bootstrap(), "--describe", "--offsets", "--group", &group]);
    let told = tool.output().expect("it runs");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for (partition, offset) in [("0", "2"), ("1", "7")] {
        let is_it = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(1) == Some(&world.settings.topic(Topic::Scans).as_str())
                && words.get(2..4) == Some(&[partition, offset][..])
        };
        assert!(told.lines().any(is_it), "{told}");
    }
}
