//! Brokers that end, lose their leadership, or forget a producer.

use std::ops::ControlFlow;
use std::time::Duration;

use domain::model::address::{Topic, TopicPartition};
use eventlog::api::{Appender as _, Consumer as _, Health, OnFull};
use eventlog::kafka::appender::Options;
use eventlog::kafka::topics::create::{Wanted, create};
use testkit::kafka::{Kafka, Options as Cluster};
use testkit::relay::plan::{Act, When, code};

use super::appenders::{all_acknowledged, number, once};
use super::operator::Operator;
use super::{MEND, TIMEOUT, World, fresh, until, wanted};

#[test]
fn any_broker_of_three_can_be_killed() {
    let Some(kafka) = Kafka::start(&Cluster { brokers: 3, relay: true, ..Cluster::default() }) else { return };
    partition_without_a_leader_is_not_missing(&kafka);
    lane_edge_and_consumer_go_on(&kafka);
}

fn partition_without_a_leader_is_not_missing(kafka: &Kafka) {
    let world = World::new(kafka);
    kafka.kill(3);
    let operator = Operator::on(&world.settings);
    let partitions: Vec<TopicPartition> = world.meta.all().collect();
    let mut without = None;
    until("partition without a leader", || {
        let has_none = |of: &&TopicPartition| !operator.has_leader(&world.settings.topic(of.topic), of.partition);
        without = partitions.iter().find(has_none).copied();
        without.is_some()
    });
    let partition = without.expect("it was waited for");
    let mut consumer = world.consumer();
    let error = consumer.bounds(partition).expect_err("it has no leader").to_string();
    assert!(!error.contains("Unknown"), "{error}");
    kafka.restart(3);
    for partition in partitions {
        until("bounds", || consumer.bounds(partition).is_ok());
        consumer.assign(partition, 0, MEND).expect("assigned");
    }
}

fn lane_edge_and_consumer_go_on(kafka: &Kafka) {
    let settings = fresh(kafka.bootstrap());
    let created = create(&settings, &Wanted { replication: 3, min_insync: 2, ..wanted() }).expect("topics");
    let warnings = &created.report.warnings;
    assert!(created.report.mistakes.is_empty() && warnings.is_empty(), "{:?}", created.report);
    let world = World::of(kafka, settings, created.report.meta);
    let lane = world.appender(Options::lane());
    let edge = world.appender(Options { ack_timeout: TIMEOUT, ..Options::edge() });
    let mut consumer = world.consumer();
    consumer.assign(TopicPartition::new(Topic::Scans, 0), 1, MEND).expect("assigned");
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
        for (results, first) in before.iter().zip([0, 100]).chain(after.iter().zip([200, 300])) {
            all_acknowledged(results, from + first..from + first + 100);
        }
        let wanted = usize::try_from(consumer.bounds(TopicPartition::new(Topic::Scans, 0)).expect("bounds").end)
            .expect("few")
            - 1;
        until("read of all records", || {
            let count = consumer.poll(Duration::from_millis(100), &mut |_, _| ControlFlow::Continue(()));
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
fn forgotten_producer_loses_no_record_after_idle_time() {
    let properties = [("producer.id.expiration.ms", "2000"), ("producer.id.expiration.check.interval.ms", "500")];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let Some(kafka) = Kafka::start(&Cluster { relay: true, properties, ..Cluster::default() }) else { return };
    let world = World::new(&kafka);
    let id = world.settings.prefix.as_str();
    let lane = world.appender(Options::lane());
    all_acknowledged(&number(&lane, 0..10, OnFull::Wait), 0..10);
    for round in 1..3 {
        // A longer wait only makes it more certain that the broker forgets.
        std::thread::sleep(Duration::from_secs(5));
        kafka.plan().clear(id);
        kafka.plan().on(id, When::Nth(1), Act::Refuse(code::NOT_LEADER_OR_FOLLOWER));
        let numbers = round * 100..round * 100 + 40;
        all_acknowledged(&number(&lane, numbers.clone(), OnFull::Wait), numbers);
    }
    assert_eq!(kafka.plan().hurts(id).len(), 2);
    assert_eq!(world.texts(Topic::Scans, 0).len(), 90);
    assert_eq!(once(&world), (0..10).chain(100..140).chain(200..240).collect::<Vec<_>>());
}
