//! Answers to several partitions become durable in any order.

use std::path::Path;
use std::sync::Arc;

use domain::frame::{Kind, seal};
use domain::model::address::{Partitions, Topic, TopicPartition};
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::rules::{Attribution, Dedup, Rules, RulesSeq};
use domain::protocol::stage::{Marker, marker_record};
use eventlog::api::Record;
use eventlog::files::memory::Memory;
use eventlog::local::meta::{Clock, Meta};
use worker::desks::open_task;
use worker::snapshot::Snapshots;

pub(crate) fn library() -> Library {
    let rules = Rules {
        merchant: "m".to_owned(),
        currency: "CNY".to_owned(),
        time_zone: "UTC".to_owned(),
        late_ms: 0,
        dedup: Dedup::default(),
        attribution: Attribution::default(),
        commissions: vec![],
        stores: vec![],
        guides: vec![],
        codes: vec![],
        campaigns: vec![],
        funnels: vec![],
        names_max: 5,
        batches: vec![],
        ranges: vec![],
    };
    let book =
        Rulebook::new(rules, RulesSeq(1), [0; 32], &domain::model::rules::secrets::Secrets::default()).expect("rules");
    [(RulesSeq(1), Arc::new(book))].into()
}

/// The marker of those rules.
pub(crate) fn marker() -> Vec<u8> {
    marker_record(&Marker { merchant: "m", seq: RulesSeq(1), sha256: [0; 32], behaviour: 1 })
}

/// Otherwise a manifest could be published although an answer to its records is not in the log, and never will be.
#[test]
fn answers_after_a_gap_do_not_count_as_durable() {
    let meta = Meta::new(1, Clock::Wall, Partitions::all(1));
    let snapshots = Snapshots::new(Arc::new(Memory::default()), Path::new("data/snapshots"));
    let library = library();
    let mut task = open_task(&meta, TopicPartition::new(Topic::Scans, 0), &snapshots, &library).expect("a beginning");
    let marker = marker();
    let events = seal(Kind::Events, 5, None, 0, &[]);
    let mut answers = Vec::new();
    for (offset, bytes) in (0..).zip([&marker, &events, &events]) {
        task.take(Record { offset, append: 5, bytes }, &library, &mut answers).expect("a frame");
    }
    assert_eq!((answers.len(), task.handed_out(), task.settled()), (3, 3, 0));
    task.take_snapshot();
    task.made_durable(1..3);
    assert_eq!((task.settled(), task.snapshot()), (0, None), "the first one is not durable");
    task.made_durable(0..1);
    assert_eq!(task.settled(), 3);
    assert_eq!(task.snapshot().map(|s| (s.offset, s.behaviour)), Some((3, 1)));
}
