//! Acknowledged rounds survive any crash; a round without an acknowledgement survives whole or is lost.

use std::collections::BTreeMap;

use domain::model::address::{Topic, TopicPartition};
use eventlog::files::memory::{Loss, Memory};
use eventlog::local::store::{Store, Unsynced};
use proptest::prelude::*;

use crate::world::{append, losses, open, read};

#[derive(Clone, Debug)]
enum Op {
    /// A round of records with `bytes` each.
    Append {
        records: usize,
        bytes: usize,
    },
    /// A round while the disk has `room` bytes left.
    Full {
        records: usize,
        room: u64,
    },
    Rotate,
    Synced,
    Retire {
        partition: u16,
        share: u64,
    },
    Crash {
        loss: Loss,
    },
    /// The process ends in the middle of a round, after `room` bytes of it.
    Torn {
        records: usize,
        room: u64,
        loss: Loss,
    },
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1..6_usize, 1..200_usize).prop_map(|(records, bytes)| Op::Append { records, bytes }),
        1 => (1..6_usize, 0..900_u64).prop_map(|(records, room)| Op::Full { records, room }),
        2 => Just(Op::Rotate),
        2 => Just(Op::Synced),
        1 => (0..2_u16, 0..10_u64).prop_map(|(partition, share)| Op::Retire { partition, share }),
        2 => losses().prop_map(|loss| Op::Crash { loss }),
        1 => (1..6_usize, 0..900_u64, losses()).prop_map(|(records, room, loss)| Op::Torn { records, room, loss }),
    ]
}

/// What each partition must hold, from its first record on.
type Model = BTreeMap<u16, Vec<String>>;

struct World {
    disk: Memory,
    store: Option<Store>,
    unsynced: Option<Unsynced>,
    model: Model,
    counter: u64,
}

impl World {
    fn round(&mut self, records: usize, bytes: usize) -> Vec<(u16, String)> {
        let texts = (0..records).map(|_| {
            self.counter += 1;
            (u16::try_from(self.counter % 2).expect("small"), format!("{:0bytes$}", self.counter))
        });
        texts.collect()
    }

    fn append(&mut self, round: &[(u16, String)]) -> bool {
        let records: Vec<_> = round.iter().map(|(p, text)| append(Topic::Scans, *p, text)).collect();
        self.store.as_mut().expect("open").append(&records, 1).is_ok()
    }

    fn keep(&mut self, round: Vec<(u16, String)>) {
        for (partition, text) in round {
            self.model.entry(partition).or_default().push(text);
        }
    }

    fn found(&self) -> Model {
        let store = self.store.as_ref().expect("open");
        let read = |p: u16| {
            let start = store.partition(TopicPartition::new(Topic::Scans, p)).start();
            let mut texts: Vec<String> =
                self.model.get(&p).map_or(&[][..], |m| &m[..usize::try_from(start).expect("small")]).to_vec();
            texts.extend(read(store, Topic::Scans, p, start).expect("readable"));
            (p, texts)
        };
        (0..2).map(read).filter(|(_, texts)| !texts.is_empty()).collect()
    }

    /// Crashes and opens the log again. It may hold the whole round that had no acknowledgement.
    fn reopen(&mut self, loss: Loss, unacknowledged: Vec<(u16, String)>) {
        self.store = None;
        self.unsynced = None;
        self.disk.set_room(None);
        self.disk.crash(loss);
        self.store = Some(open(&self.disk).expect("a crash is no damage"));
        let found = self.found();
        if found != self.model && !unacknowledged.is_empty() {
            self.keep(unacknowledged);
        }
        assert_eq!(found, self.model);
    }

    fn act(&mut self, op: &Op) {
        match *op {
            Op::Append { records, bytes } => {
                let round = self.round(records, bytes);
                assert!(self.append(&round));
                self.keep(round);
            }
            Op::Full { records, room } => {
                let round = self.round(records, 100);
                self.disk.set_room(Some(room));
                if self.append(&round) {
                    self.keep(round);
                }
                self.disk.set_room(None);
            }
            Op::Rotate => {
                if self.unsynced.is_none() {
                    self.unsynced = Some(self.store.as_mut().expect("open").rotate().expect("room"));
                }
            }
            Op::Synced => {
                if let Some(unsynced) = self.unsynced.take() {
                    unsynced.sync().expect("a disk");
                    self.store.as_mut().expect("open").synced(&unsynced).expect("a disk");
                }
            }
            Op::Retire { partition, share } => {
                let store = self.store.as_mut().expect("open");
                let end = store.partition(TopicPartition::new(Topic::Scans, partition)).end();
                store.retire(TopicPartition::new(Topic::Scans, partition), end * share / 10, i64::MAX).expect("a disk");
            }
            Op::Crash { loss } => self.reopen(loss, Vec::new()),
            Op::Torn { records, room, loss } => {
                let round = self.round(records, 100);
                self.disk.set_room(Some(room));
                let unacknowledged = if self.append(&round) {
                    self.keep(round);
                    Vec::new()
                } else {
                    round
                };
                self.reopen(loss, unacknowledged);
            }
        }
        assert_eq!(self.found(), self.model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_rounds_survive_every_crash(ops in proptest::collection::vec(ops(), 1..60)) {
        let disk = Memory::default();
        let store = open(&disk).expect("a new log");
        let mut world = World { disk, store: Some(store), unsynced: None, model: Model::new(), counter: 0 };
        for op in &ops {
            world.act(op);
        }
        world.reopen(Loss::Everything, Vec::new());
    }
}
