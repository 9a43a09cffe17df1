//! Topics are created once; a lost or recreated topic is always an error.

use std::time::Duration;

use domain::model::address::{Partitions, Topic, TopicPartition};
use eventlog::api::{Append, OnFull};
use eventlog::error::LogError;
use eventlog::kafka::appender::{KafkaAppender, Metrics, Options};
use eventlog::kafka::settings::Settings;
use eventlog::kafka::topics::check::{Needs, Report, check};
use eventlog::kafka::topics::create::{Created, Wanted, create};
use eventlog::kafka::topics::origin::meta;
use eventlog::local::meta::{Clock, Meta};
use prometheus::Registry;

use super::operator::{Operator, RIGHT};
use super::{PARTITIONS, World, append, fresh, make, shared, until, wanted};

const DAY: i64 = 24 * 60 * 60 * 1000;

fn checked(settings: &Settings) -> Report {
    check(settings, &Needs { retain_ms: DAY }).expect("a report")
}

/// Appends without checking the topics.
fn put(settings: &Settings, records: Vec<Append>) {
    let metrics = Metrics::new(&Registry::new());
    let appender = KafkaAppender::start(settings, "put", Options::lane(), &metrics).expect("an appender");
    appender.append_and_wait(records, OnFull::Wait).expect("acknowledged");
}

fn genesis(meta: &Meta, topic: Topic, partition: u16) -> Append {
    Append { topic, partition, record: meta.genesis(TopicPartition::new(topic, partition)).record() }
}

fn refusal(settings: &Settings) -> String {
    create(settings, &wanted()).expect_err("refused").to_string()
}

fn has(texts: &[String], parts: &[&str]) -> bool {
    texts.iter().any(|text| parts.iter().all(|part| text.contains(part)))
}

#[test]
fn topics_are_created_once_and_name_their_log() {
    let Some(kafka) = shared() else { return };
    let settings = fresh(kafka.bootstrap());
    let error = meta(&settings).expect_err("nothing is there").to_string();
    assert!(error.contains("there is no log") && error.contains("topics create"), "{error}");
    let created = make(&settings);
    assert_eq!(created.made.len(), Topic::ALL.len(), "{created:?}");
    assert_eq!(created.report.mistakes, Vec::<String>::new());
    assert!(has(&created.report.warnings, &["scans", "one replica"]), "{:?}", created.report.warnings);
    assert_eq!(meta(&settings).expect("a log"), created.report.meta);
    let more = Wanted { clock: Clock::Event, partitions: Partitions { scans: 9, ..PARTITIONS }, ..wanted() };
    let again = create(&settings, &more).expect("all is there");
    assert_eq!((again.made.len(), again.differs.len()), (0, 2), "{again:?}");
    assert_eq!(again.report.meta, created.report.meta);
    let other = make(&fresh(kafka.bootstrap()));
    assert_ne!(other.report.meta.id(), created.report.meta.id());
}

#[test]
fn impossible_settings_create_no_topic() {
    let settings = Settings::new("127.0.0.1:1");
    for wrong in [
        Wanted { min_insync: 2, ..wanted() },
        Wanted { min_insync: 0, ..wanted() },
        Wanted { record_bytes_max: 1000, ..wanted() },
        Wanted { partitions: Partitions { facts: 0, ..PARTITIONS }, ..wanted() },
    ] {
        assert!(matches!(create(&settings, &wrong), Err(LogError::Setting { .. })), "{wrong:?}");
    }
}

#[test]
fn concurrent_creators_make_one_log() {
    let Some(kafka) = shared() else { return };
    let settings = fresh(kafka.bootstrap());
    // Each wants another number of partitions, and begins at another stage of the creation.
    let created: Vec<Created> = std::thread::scope(|scope| {
        let creators: Vec<_> = (2..8)
            .map(|scans| {
                let settings = &settings;
                let wanted = Wanted { partitions: Partitions { scans, ..PARTITIONS }, ..wanted() };
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(u64::from(scans) * 120));
                    create(settings, &wanted).expect("topics")
                })
            })
            .collect();
        creators.into_iter().map(|creator| creator.join().expect("no panic")).collect()
    });
    assert!(created.iter().all(|one| one.report.meta == created[0].report.meta), "{created:?}");
    assert_eq!(created.iter().filter(|one| one.differs.is_empty()).count(), 1, "{created:?}");
    assert_eq!(created.iter().map(|one| one.made.len()).sum::<usize>(), Topic::ALL.len(), "{created:?}");
    assert_eq!(checked(&settings).mistakes, Vec::<String>::new());
}

#[test]
fn interrupted_creation_is_finished() {
    let Some(kafka) = shared() else { return };
    let known = Meta::new(77, Clock::Event, PARTITIONS);
    // The number of steps before the interruption.
    for steps in 0..4 {
        let settings = fresh(kafka.bootstrap());
        let operator = Operator::on(&settings);
        let kept = [("retention.ms", "-1"), RIGHT[0], RIGHT[1]];
        operator.make(&settings.topic(Topic::Rules), 1, &kept);
        if steps > 0 {
            put(&settings, vec![genesis(&known, Topic::Rules, 0)]);
            let report = checked(&settings);
            assert!(has(&report.mistakes, &["creation of the topics was interrupted", "topics create"]), "{report:?}");
        }
        if steps > 1 {
            operator.make(&settings.topic(Topic::Scans), 3, &RIGHT);
        }
        if steps > 2 {
            put(&settings, vec![genesis(&known, Topic::Scans, 1)]);
        }
        let created = make(&settings);
        let missing = if steps > 1 { Topic::ALL.len() - 2 } else { Topic::ALL.len() - 1 };
        assert_eq!((created.made.len(), created.report.mistakes.len()), (missing, 0), "{steps}: {created:?}");
        assert_eq!(created.report.meta.id() == known.id(), steps > 0);
        assert!(make(&settings).made.is_empty());
    }
}

#[test]
fn lost_topic_is_not_created_again() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let (settings, operator) = (&world.settings, Operator::on(&world.settings));
    let draws = settings.topic(Topic::Draws);
    operator.delete(&draws);
    let error = refusal(settings);
    assert!(error.contains(&draws) && error.contains("missing") && error.contains("restore"), "{error}");
    assert!(has(&checked(settings).mistakes, &["draws", "missing"]));
    operator.make(&draws, 2, &RIGHT);
    let error = refusal(settings);
    assert!(error.contains(&draws) && error.contains("empty"), "{error}");
    assert!(has(&checked(settings).mistakes, &["draws", "partition 1", "empty"]));
    let other = Meta::new(5, Clock::Wall, PARTITIONS);
    put(settings, vec![genesis(&world.meta, Topic::Draws, 0), genesis(&other, Topic::Draws, 1)]);
    let error = refusal(settings);
    assert!(error.contains(&draws) && error.contains("recreated"), "{error}");
    assert!(has(&checked(settings).mistakes, &["draws", "recreated"]));
    operator.delete(&draws);
    operator.make(&draws, 5, &RIGHT);
    let error = refusal(settings);
    assert!(error.contains("5 partitions") && error.contains("made with 2"), "{error}");
    assert!(has(&checked(settings).mistakes, &["draws", "5 partitions"]));
}

#[test]
fn topics_without_rules_are_refused() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let (settings, operator) = (&world.settings, Operator::on(&world.settings));
    let rules = settings.topic(Topic::Rules);
    operator.delete(&rules);
    let error = refusal(settings);
    assert!(error.contains(&rules) && error.contains("missing") && error.contains("--prefix"), "{error}");
    assert!(matches!(check(settings, &Needs { retain_ms: DAY }), Err(LogError::Topic { .. })));
    operator.make(&rules, 1, &RIGHT);
    let error = refusal(settings);
    assert!(error.contains("it is empty, but") && error.contains("is not"), "{error}");
    put(settings, vec![append(Topic::Rules, 0, "a stranger's")]);
    for error in [refusal(settings), meta(settings).expect_err("no first record").to_string()] {
        assert!(error.contains(&rules) && error.contains("fewer than a frame's header"), "{error}");
    }
}

#[test]
fn deletion_by_retention_is_no_loss() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let (settings, operator) = (&world.settings, Operator::on(&world.settings));
    operator.cut(&settings.topic(Topic::Rejects), 0, 1);
    put(settings, vec![append(Topic::Facts, 0, "1")]);
    operator.cut(&settings.topic(Topic::Facts), 0, 1);
    let again = make(settings);
    assert_eq!((again.made, again.report.mistakes), (vec![], vec![]));
    operator.cut(&settings.topic(Topic::Rules), 0, 1);
    let error = refusal(settings);
    assert!(error.contains("begins at offset 1"), "{error}");
}

#[test]
fn every_setting_that_breaks_a_guarantee_is_named() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    let (settings, operator) = (&world.settings, Operator::on(&world.settings));
    for (topic, name, value, mend) in [
        (Topic::Scans, "cleanup.policy", "compact", "set it to delete"),
        (Topic::Draws, "cleanup.policy", "compact,delete", "set it to delete"),
        (Topic::Awards, "message.timestamp.type", "CreateTime", "set it to LogAppendTime"),
        (Topic::Facts, "unclean.leader.election.enable", "true", "set it to false"),
        (Topic::Rejects, "max.message.bytes", "100000", "set it to 1048576"),
        (Topic::Scans, "min.insync.replicas", "2", "lower it"),
        (Topic::Scans, "retention.ms", "3600000", "set it to 86400000"),
        (Topic::Rules, "retention.ms", "86400000", "set both to -1"),
        (Topic::Rules, "retention.bytes", "1000000", "set both to -1"),
    ] {
        let name_of_topic = settings.topic(topic);
        let forever = if topic == Topic::Rules { "-1" } else { "86400000" };
        let mut all = vec![("retention.ms", forever), RIGHT[0], RIGHT[1]];
        operator.set(&name_of_topic, &all);
        // Brokers apply a change of settings with a delay.
        until("report without mistakes", || checked(settings).mistakes.is_empty());
        all.retain(|(other, _)| *other != name);
        all.push((name, value));
        operator.set(&name_of_topic, &all);
        until(&format!("{name} is {value}"), || {
            let mistakes = checked(settings).mistakes;
            mistakes.len() == 1 && has(&mistakes, &[&name_of_topic, name, mend])
        });
        all.pop();
        all.extend((name == "retention.ms").then_some((name, forever)));
        all.extend(RIGHT.iter().filter(|(right, _)| *right == name));
        operator.set(&name_of_topic, &all);
    }
    operator.set(&settings.topic(Topic::Scans), &[RIGHT[0], RIGHT[1], ("retention.bytes", "1000000")]);
    until("warning", || has(&checked(settings).warnings, &["scans", "retention.bytes"]));
    assert!(check(settings, &Needs { retain_ms: -1 }).is_ok_and(|report| has(&report.mistakes, &["retention.ms"])));
}
