//! All parts together, without faults.

use std::time::Duration;

use domain::model::address::{Topic, TopicPartition};
use eventlog::api::{AppendError, Appender as _, Consumer as _, Health, OnFull};
use eventlog::kafka::appender::Options;
use eventlog::kafka::membership::{Change, Membership};
use eventlog::kafka::topic_reader;
use eventlog::kafka::topics::origin::meta;

use super::{MEND, World, append, make, read, shared};

#[test]
fn appended_records_are_read_from_any_offset() {
    let Some(kafka) = shared() else { return };
    let world = World::new(kafka);
    assert_eq!(meta(&world.settings).expect("a log"), world.meta);
    let again = make(&world.settings);
    assert_eq!((again.made, again.differs), (vec![], vec![]));
    assert_eq!(again.report.mistakes, Vec::<String>::new());
    let appender = world.appender(Options::lane());
    for i in 0..20 {
        let records = vec![append(Topic::Scans, i % 3, &i.to_string()), append(Topic::Facts, 1, &i.to_string())];
        appender.append_and_wait(records, OnFull::Wait).expect("acknowledged");
    }
    assert_eq!(appender.health(), Health::Good);
    let mut consumer = world.consumer();
    consumer.assign(TopicPartition::new(Topic::Facts, 1), 0, MEND).expect("assigned");
    consumer.assign(TopicPartition::new(Topic::Scans, 1), 3, MEND).expect("assigned");
    let found = read(&mut consumer, 21 + 5).expect("readable");
    let texts: Vec<&str> =
        found[&TopicPartition::new(Topic::Facts, 1)].iter().skip(1).map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, (0..20).map(|i| i.to_string()).collect::<Vec<_>>());
    assert_eq!(found[&TopicPartition::new(Topic::Scans, 1)][0], (3, "7".to_owned()));
    consumer.revoke(TopicPartition::new(Topic::Facts, 1));
    appender
        .append_and_wait(vec![append(Topic::Facts, 1, "late"), append(Topic::Scans, 1, "late")], OnFull::Wait)
        .expect("acknowledged");
    let found = read(&mut consumer, 1).expect("readable");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[&TopicPartition::new(Topic::Scans, 1)][0].1, "late");
    appender.close();
    assert_eq!(
        appender.append_and_wait(vec![append(Topic::Facts, 1, "later")], OnFull::Wait),
        Err(AppendError::Closed)
    );
    let mut reader = topic_reader::open(&world.settings, &world.settings.prefix, Topic::Scans).expect("a log");
    let mut texts = Vec::new();
    for records in &mut reader.partitions {
        while let Some(record) = records.next_record().expect("readable") {
            texts.push(record.offset);
        }
    }
    assert_eq!(texts.len(), 3 + 21, "{texts:?}");
    let group = format!("{}.worker", world.settings.prefix);
    let member =
        Membership::join(&world.settings, &group, "one", &[Topic::Scans], Duration::from_secs(10)).expect("a member");
    let changes = member.changes();
    let Change::Assigned(mut partitions) = changes.recv().expect("a change") else { panic!("not assigned") };
    partitions.sort_unstable();
    assert_eq!(partitions, [0, 1, 2].map(|partition| TopicPartition::new(Topic::Scans, partition)));
    member.commit(TopicPartition::new(Topic::Scans, 1), 5);
    member.leave();
}
