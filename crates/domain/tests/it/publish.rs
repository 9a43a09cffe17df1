//! Publishers that interleave, crash at any step, and send records twice.

use std::collections::BTreeMap;

use domain::frame::{Frame, Kind, seal};
use domain::model::address::{PartitionId, Partitions, Topic};
use domain::model::rules::RulesSeq;
use domain::protocol::genesis::Genesis;
use domain::protocol::publish::{Act, DOWNSTREAM_FIRST, Publisher, Registry, RulesEvent, placed_record};
use domain::protocol::stage::{Marker, marker_record};
use proptest::prelude::*;

const PARTITIONS: u16 = 2;

fn marker(merchant: &str, seq: u32, sha: u8, behaviour: u32) -> Vec<u8> {
    marker_record(&Marker { merchant, seq: RulesSeq(seq), sha256: [sha; 32], behaviour })
}

fn genesis() -> Genesis {
    let source = PartitionId { log: 3, topic: Topic::Rules, partition: 0 };
    Genesis { source, id: 7, is_event_clock: false, partitions: Partitions::all(PARTITIONS) }
}

/// Reads records in order; returns what each changes.
fn read(registry: &mut Registry, records: &[Vec<u8>]) -> Vec<RulesEvent> {
    let from = usize::try_from(registry.next_offset()).expect("small");
    let take = |record: &Vec<u8>| registry.take(registry.next_offset(), record).expect("rules");
    records[from..].iter().map(take).collect()
}

#[test]
fn first_proposal_for_a_number_is_accepted() {
    let records = [
        genesis().record(),
        Genesis { id: 8, ..genesis() }.record(), // of another process that created the topics at the same time
        genesis().record(),
        marker("acme", 1, 1, 1),
        marker("acme", 1, 2, 1), // late
        marker("acme", 1, 1, 1), // a copy
        marker("bolt", 3, 3, 1), // skips a number
        marker("bolt", 2, 3, 1),
        marker("acme", 3, 2, 2),
        marker("bolt", 4, 4, 1), // of an old build, with a lower behaviour
        placed_record(RulesSeq(3)),
        placed_record(RulesSeq(3)),
    ];
    let mut registry = Registry::default();
    let taken = read(&mut registry, &records);
    let ignored = RulesEvent::Ignored;
    let wanted = [
        RulesEvent::Genesis(genesis()),
        ignored.clone(),
        ignored.clone(),
        RulesEvent::Accepted(RulesSeq(1)),
        ignored.clone(),
        ignored.clone(),
        ignored.clone(),
        RulesEvent::Accepted(RulesSeq(2)),
        RulesEvent::Accepted(RulesSeq(3)),
        ignored.clone(),
        RulesEvent::Placed(RulesSeq(3)),
        ignored,
    ];
    assert_eq!(taken, wanted);
    assert_eq!(registry.genesis(), Some(&genesis()));
    assert_eq!(registry.last("acme").map(|v| (v.seq, v.sha256[0])), Some((RulesSeq(3), 2)));
    assert_eq!(registry.next_seq(), RulesSeq(4));
    // acme's first version is not placed, and no desk needs it.
    assert_eq!(registry.unplaced().map(|v| v.seq).collect::<Vec<_>>(), [RulesSeq(2)]);
    let outdated = registry.propose("bolt", [9; 32], 1).expect_err("a lower behaviour").to_string();
    assert_eq!(outdated, "behaviour 2 is published, this build would publish 1: upgrade it");
}

#[test]
fn same_rules_are_republished_only_for_higher_behaviour() {
    let mut registry = Registry::default();
    read(&mut registry, &[genesis().record(), marker("acme", 1, 1, 2), placed_record(RulesSeq(1))]);
    let act = |behaviour| {
        let mut publisher = Publisher::new("acme", [1; 32], behaviour);
        publisher.next(&registry).expect("not outdated")
    };
    assert_eq!(act(1), Act::Done { seq: RulesSeq(1) });
    assert_eq!(act(2), Act::Done { seq: RulesSeq(1) });
    assert_eq!(act(3), Act::Propose { follows: registry.last("acme"), record: marker("acme", 2, 1, 3) });
}

#[test]
fn foreign_record_in_rules_is_refused() {
    let refused = |offset, record: &[u8]| {
        let mut registry = Registry::default();
        read(&mut registry, &[genesis().record()]);
        let error = registry.take(offset, record).expect_err("refused").to_string();
        assert_eq!(registry.next_offset(), 1, "the offset does not move after: {error}");
        error
    };
    assert_eq!(
        refused(2, &marker("acme", 1, 1, 1)),
        "rules partition 0: offset 2 came, 1 was next: the log has a hole or was rewound"
    );
    let facts = seal(Kind::Facts, 0, None, 0, &[]);
    assert_eq!(refused(1, &facts), "rules partition 0 offset 1: a frame of kind facts does not belong here");
    assert!(refused(1, b"MSHF").contains("the record has 4 bytes"));
    assert!(
        refused(1, &placed_record(RulesSeq(1))).contains("version 1 are placed, but that version is not published")
    );
}

/// The log: `rules`, and the content of every partition. Appending is one step, reading another.
#[derive(Default)]
struct World {
    rules: Vec<Vec<u8>>,
    partitions: BTreeMap<(Topic, u16), Vec<Vec<u8>>>,
    /// Records in flight to `rules`, from publishers that no longer wait for them.
    late: Vec<Vec<u8>>,
}

impl World {
    /// The last version number of every merchant, as the desk of a partition applies it.
    fn desk(&self, topic: Topic, partition: u16) -> BTreeMap<String, RulesSeq> {
        let mut last = BTreeMap::new();
        for record in self.partitions.get(&(topic, partition)).into_iter().flatten() {
            let frame = Frame::open(record).expect("a frame");
            let Marker { merchant, seq, .. } = frame.items().next().expect("an item").expect("a marker");
            let known = last.entry(merchant.to_owned()).or_insert(seq);
            *known = seq.max(*known);
        }
        last
    }

    /// No desk applies rules that are not in the partitions of the desks after it.
    fn check_downstream_first(&self) {
        for (downstream, upstream) in DOWNSTREAM_FIRST.iter().zip(&DOWNSTREAM_FIRST[1..]) {
            for (up, down) in (0..PARTITIONS).flat_map(|up| (0..PARTITIONS).map(move |down| (up, down))) {
                let behind = self.desk(*downstream, down);
                for (merchant, seq) in self.desk(*upstream, up) {
                    assert!(behind.get(&merchant).is_some_and(|known| *known >= seq), "{upstream} {up} knows {seq}");
                }
            }
        }
    }
}

/// A publisher, and the registry that it has read.
struct Worker {
    registry: Registry,
    publisher: Publisher,
    /// The topic whose markers it places, the next partition, and the record.
    placing: Option<(Topic, u16, Vec<u8>)>,
    is_done: Option<RulesSeq>,
}

impl Worker {
    fn new(world: &World, merchant: &str, sha: u8) -> Self {
        let mut registry = Registry::default();
        read(&mut registry, &world.rules);
        let publisher = Publisher::new(merchant, [sha; 32], 1);
        Self { registry, publisher, placing: None, is_done: None }
    }

    /// One append, or one read. `twice`: the log has what it appends a second time.
    fn step(&mut self, world: &mut World, twice: bool) {
        if let Some((topic, partition, record)) = self.placing.take() {
            let at = world.partitions.entry((topic, partition)).or_default();
            at.extend(std::iter::repeat_n(record.clone(), 1 + usize::from(twice)));
            self.placing = (partition + 1 < PARTITIONS).then_some((topic, partition + 1, record));
            return;
        }
        read(&mut self.registry, &world.rules);
        match self.publisher.next(&self.registry).expect("one behaviour") {
            Act::Propose { record, .. } | Act::ReportPlaced { record } => {
                if twice {
                    world.late.push(record.clone());
                }
                world.rules.push(record);
            }
            Act::Place { topic, record } => self.placing = Some((topic, 0, record)),
            Act::Done { seq } => self.is_done = Some(seq),
        }
    }
}

#[derive(Clone, Debug)]
enum Turn {
    Step {
        who: usize,
        twice: bool,
    },
    /// It crashes, with what it had in flight; another one begins with these rules.
    Die {
        who: usize,
        merchant: usize,
        sends: bool,
    },
    Late {
        which: usize,
    },
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        12 => (0..2_usize, any::<bool>()).prop_map(|(who, twice)| Turn::Step { who, twice }),
        1 => (0..2_usize, 0..2_usize, any::<bool>()).prop_map(|(who, merchant, sends)| Turn::Die { who, merchant, sends }),
        1 => any::<usize>().prop_map(|which| Turn::Late { which }),
    ]
}

proptest! {
    #[test]
    fn readers_agree_and_last_publisher_completes_all_versions(turns in proptest::collection::vec(turn(), 0..120)) {
        let merchants = ["acme", "bolt"];
        let mut world = World { rules: vec![genesis().record()], ..World::default() };
        let mut versions = 0_u8..;
        let mut next = |world: &World, merchant| {
            let sha = versions.next().expect("few");
            (Worker::new(world, merchant, sha), merchant, sha)
        };
        let mut workers = [next(&world, "acme"), next(&world, "acme")];
        let mut seen: Vec<Registry> = Vec::new();
        for turn in turns {
            match turn {
                Turn::Step { who, twice } => {
                    let (worker, merchant, sha) = &mut workers[who];
                    worker.step(&mut world, twice);
                    if let Some(seq) = worker.is_done {
                        let published = worker.registry.version(seq).expect("it was read back");
                        prop_assert_eq!((published.merchant.as_str(), published.sha256[0]), (*merchant, *sha));
                        workers[who] = next(&world, merchants[usize::from(*sha) % 2]);
                    }
                }
                Turn::Die { who, merchant, sends } => {
                    let (worker, ..) = &mut workers[who];
                    // Its next append may still arrive, long after the crash.
                    if let (true, Ok(Act::Propose { record, .. })) = (sends, worker.publisher.next(&worker.registry)) {
                        world.late.push(record);
                    }
                    workers[who] = next(&world, merchants[merchant]);
                }
                Turn::Late { which } if !world.late.is_empty() => {
                    let record = world.late.swap_remove(which % world.late.len());
                    world.rules.push(record);
                }
                Turn::Late { .. } => {}
            }
            world.check_downstream_first();
            let mut registry = seen.last().cloned().unwrap_or_default();
            read(&mut registry, &world.rules);
            seen.push(registry);
        }
        let (mut last, merchant, sha) = next(&world, "acme");
        while last.is_done.is_none() {
            last.step(&mut world, false);
        }
        // Every earlier reader agrees with a reader of the whole topic.
        for registry in &seen {
            prop_assert!(last.registry.published().starts_with(registry.published()));
        }
        prop_assert!(last.registry.published().iter().map(|v| v.seq.0).eq(1..last.registry.next_seq().0));
        prop_assert_eq!(last.registry.last(merchant).map(|v| v.sha256[0]), Some(sha));
        prop_assert_eq!(last.registry.unplaced().count(), 0);
        let wanted: BTreeMap<String, RulesSeq> =
            merchants.iter().filter_map(|m| last.registry.last(m)).map(|v| (v.merchant.clone(), v.seq)).collect();
        for topic in DOWNSTREAM_FIRST {
            for partition in 0..PARTITIONS {
                prop_assert_eq!(world.desk(topic, partition), wanted.clone(), "{} {}", topic, partition);
            }
        }
    }
}
