//! Brokers that end, lead no more, or forget.

use std::ops::ControlFlow;
use std::time::Duration;

use domain::model::address::Topic;
use eventlog::api::{Appender as _, Consumer as _};
use eventlog::api::{Health, OnFull};
use eventlog::kafka::appender::Options;
use eventlog::kafka::topics::create::{Wanted, create};
use testkit::kafka::{Kafka, Options as Cluster};
use testkit::relay::plan::{Act, When, code};

use super::appenders::{all_taken, number, once};
use super::hands::Hands;
use super::{MEND, PATIENCE, World, fresh, until, wanted};

#[test]
fn any_broker_of_three_may_be_killed() {
    let Some(kafka) = Kafka::start(&Cluster { brokers: 3, relay: true, ..Cluster::default() }) else { return };
    a_partition_whose_only_broker_is_down_is_not_taken_for_missing(&kafka);
    a_lane_an_edge_and_a_feed_go_on(&kafka);
}

fn a_partition_whose_only_broker_is_down_is_not_taken_for_missing(kafka: &Kafka) {
    let world = World::new(kafka);
    kafka.kill(3);
    let hands = Hands::on(&world.settings);
    let partitions: Vec<(Topic, u16)> = world.meta.all().collect();
    let mut without = None;
    until("a partition without a leader", || {
        let has_none =
            |&&(topic, partition): &&(Topic, u16)| !hands.has_leader(&world.settings.topic(topic), partition);
        without = partitions.iter().find(has_none).copied();
        without.is_some()
    });
    let (topic, partition) = without.expect("it was waited for");
    let mut feed = world.feed();
    let error = feed.bounds(topic, partition).expect_err("it has no leader").to_string();
    assert!(!error.contains("Unknown"), "{error}");
    kafka.restart(3);
    for (topic, partition) in partitions {
        until("the bounds", || feed.bounds(topic, partition).is_ok());
        feed.assign(topic, partition, 0, MEND).expect("assigned");
    }
}

fn a_lane_an_edge_and_a_feed_go_on(kafka: &Kafka) {
    let settings = fresh(kafka.bootstrap());
    let created = create(&settings, &Wanted { replication: 3, min_insync: 2, ..wanted() }).expect("topics");
    let warnings = &created.report.warnings;
    assert!(created.report.mistakes.is_empty() && warnings.is_empty(), "{:?}", created.report);
    let world = World::of(kafka, settings, created.report.meta);
    let lane = world.appender(Options::lane());
    let edge = world.appender(Options { ack_timeout: PATIENCE, ..Options::edge() });
    let mut feed = world.feed();
    feed.assign(Topic::Scans, 0, 1, MEND).expect("assigned");
    let mut read = 0;
    for broker in 1..=3 {
        let from = broker * 1000;
        let before =
            [number(&lane, from..from + 100, OnFull::Wait), number(&edge, from + 100..from + 200, OnFull::Refuse)];
        kafka.kill(broker);
        let after = [
            number(&lane, from + 200..from + 300, OnFull::Wait),
            number(&edge, from + 300..from + 400, OnFull::Refuse),
        ];
        for (told, first) in before.iter().zip([0, 100]).chain(after.iter().zip([200, 300])) {
            all_taken(told, from + first..from + first + 100);
        }
        let wanted = usize::try_from(feed.bounds(Topic::Scans, 0).expect("bounds").end).expect("few") - 1;
        until("what was appended", || {
            let count = feed.poll(Duration::from_millis(100), &mut |_, _, _| ControlFlow::Continue(()));
            read += count.expect("a change of the leader is no error");
            read >= wanted
        });
        kafka.restart(broker);
    }
    assert_eq!((lane.health(), edge.health()), (Health::Good, Health::Good));
    let mut found = once(&world);
    found.sort_unstable();
    assert_eq!(found, (1..=3).flat_map(|broker| broker * 1000..broker * 1000 + 400).collect::<Vec<_>>());
}

#[test]
fn what_follows_an_idle_time_is_not_lost_although_the_broker_has_forgotten_the_producer() {
    let properties = [("producer.id.expiration.ms", "2000"), ("producer.id.expiration.check.interval.ms", "500")];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let Some(kafka) = Kafka::start(&Cluster { relay: true, properties, ..Cluster::default() }) else { return };
    let world = World::new(&kafka);
    let id = world.settings.prefix.as_str();
    let lane = world.appender(Options::lane());
    all_taken(&number(&lane, 0..10, OnFull::Wait), 0..10);
    for round in 1..3 {
        // More only makes it surer.
        std::thread::sleep(Duration::from_secs(5));
        kafka.plan().clear(id);
        kafka.plan().on(id, When::Nth(1), Act::Refuse(code::NOT_LEADER_OR_FOLLOWER));
        let numbers = round * 100..round * 100 + 40;
        all_taken(&number(&lane, numbers.clone(), OnFull::Wait), numbers);
    }
    assert_eq!(kafka.plan().hurts(id).len(), 2);
    assert_eq!(world.texts(Topic::Scans, 0).len(), 90);
    assert_eq!(once(&world), (0..10).chain(100..140).chain(200..240).collect::<Vec<_>>());
}
