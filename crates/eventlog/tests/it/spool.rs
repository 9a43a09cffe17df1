//! Every acknowledged record of the spool is read after any crash, in order, and no other record appears.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::model::address::Topic;
use eventlog::api::Append;
use eventlog::error::LogError;
use eventlog::files::memory::{Loss, Memory};
use eventlog::spool::{Sizes, Spool};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use crate::world::{append, losses};

const DIR: &str = "spool";
const LOG: u128 = 7;
const SMALL: Sizes = Sizes { bytes_max: 1 << 30, file_bytes: 600, block_bytes: 250 };

fn text(append: &Append) -> String {
    format!("{}:{}", append.partition, String::from_utf8(append.record.clone()).expect("UTF-8"))
}

fn open(disk: &Memory, sizes: Sizes) -> Result<(Spool, Vec<String>), LogError> {
    let mut found = Vec::new();
    let each = |record: &[u8]| found.push(String::from_utf8(record.to_vec()).expect("UTF-8"));
    let spool = Spool::open(Arc::new(disk.clone()), Path::new(DIR), LOG, sizes, each)?;
    Ok((spool, found))
}

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
    ReadBlock,
    /// The log holds one of the blocks that were read.
    Drained {
        which: usize,
    },
    Again {
        which: usize,
    },
    Rest,
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
        6 => Just(Op::ReadBlock),
        5 => (0..9_usize).prop_map(|which| Op::Drained { which }),
        1 => (0..9_usize).prop_map(|which| Op::Again { which }),
        1 => Just(Op::Rest),
        2 => losses().prop_map(|loss| Op::Crash { loss }),
        1 => (1..6_usize, 0..900_u64, losses()).prop_map(|(records, room, loss)| Op::Torn { records, room, loss }),
    ]
}

/// A block that was read: its number, and the range of its records.
#[derive(Clone, Debug)]
struct ReadBlock {
    number: u64,
    from: usize,
    to: usize,
}

struct World {
    disk: Memory,
    spool: Option<Spool>,
    /// All records that were acknowledged, or found after a crash.
    written: Vec<String>,
    /// The records that the log holds.
    drained: BTreeSet<usize>,
    /// The end of the records that were read since the last start.
    out: usize,
    in_flight: Vec<ReadBlock>,
    counter: u64,
}

impl World {
    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().expect("open")
    }

    fn round(&mut self, records: usize, bytes: usize) -> Vec<Append> {
        let round = (0..records).map(|_| {
            self.counter += 1;
            append(Topic::Scans, u16::try_from(self.counter % 3).expect("small"), &format!("{:0bytes$}", self.counter))
        });
        round.collect()
    }

    fn append(&mut self, round: &[Append]) -> bool {
        let is_written = self.spool().append(round, 1).is_ok();
        if is_written {
            self.written.extend(round.iter().map(text));
        }
        is_written
    }

    /// The log holds all records before this one.
    fn drained_up_to(&self) -> usize {
        (0..).find(|at| !self.drained.contains(at)).expect("an end")
    }

    /// Crashes and opens the spool again. It must hold the last of the written records, among them all that are not drained, and
    /// may hold the first records of a round without an acknowledgement.
    fn reopen(&mut self, loss: Loss, unacknowledged: &[Append]) {
        self.spool = None;
        self.disk.set_room(None);
        self.disk.crash(loss);
        let (mut spool, found) = open(&self.disk, SMALL).expect("a crash is no damage");
        let mut read = Vec::new();
        while let Some(block) = spool.next_block().expect("readable") {
            read.extend(block.records.iter().map(text));
        }
        assert!(found.iter().zip(&read).all(|(record, read)| read.ends_with(record.as_str())));
        assert_eq!(found.len(), read.len());
        let possible: Vec<String> = self.written.iter().cloned().chain(unacknowledged.iter().map(text)).collect();
        let fits = |to: usize| read.len() <= to && possible[to - read.len()..to] == read;
        let to = (self.written.len()..=possible.len()).find(|&to| fits(to)).unwrap_or_else(|| {
            panic!("{read:?} is no suffix of {possible:?}, of which {} were acknowledged", self.written.len())
        });
        let from = to - read.len();
        assert!(from <= self.drained_up_to(), "{from} of {} and {possible:?} are gone", self.drained_up_to());
        self.written = possible[..to].to_vec();
        self.out = from;
        self.in_flight.clear();
        self.spool = Some(open(&self.disk, SMALL).expect("a whole spool").0);
    }

    fn read_block(&mut self) -> bool {
        let Some(block) = self.spool().next_block().expect("readable") else {
            assert_eq!(self.out, self.written.len(), "all records were read");
            return false;
        };
        let (from, to) = (self.out, self.out + block.records.len());
        assert_eq!(block.records.iter().map(text).collect::<Vec<_>>(), self.written[from..to]);
        self.out = to;
        self.in_flight.push(ReadBlock { number: block.number, from, to });
        true
    }

    fn drain(&mut self, which: usize) {
        let out = self.in_flight.remove(which);
        self.spool().drained(out.number).expect("a disk");
        self.drained.extend(out.from..out.to);
    }

    fn act(&mut self, op: &Op) {
        match *op {
            Op::Append { records, bytes } => {
                let round = self.round(records, bytes);
                assert!(self.append(&round));
            }
            Op::Full { records, room } => {
                let round = self.round(records, 100);
                self.disk.set_room(Some(room));
                self.append(&round);
                self.disk.set_room(None);
                assert!(!self.spool().is_broken(), "a full disk does not break the spool");
            }
            Op::ReadBlock => drop(self.read_block()),
            Op::Drained { which } if !self.in_flight.is_empty() => self.drain(which % self.in_flight.len()),
            Op::Again { which } if !self.in_flight.is_empty() => {
                let out = self.in_flight[which % self.in_flight.len()].clone();
                let block = self.spool().again(out.number).expect("readable");
                assert_eq!(block.records.iter().map(text).collect::<Vec<_>>(), self.written[out.from..out.to]);
            }
            Op::Drained { .. } | Op::Again { .. } => {}
            Op::Rest => self.spool().rest().expect("a disk"),
            Op::Crash { loss } => self.reopen(loss, &[]),
            Op::Torn { records, room, loss } => {
                let round = self.round(records, 100);
                self.disk.set_room(Some(room));
                let unacknowledged = if self.append(&round) { Vec::new() } else { round };
                self.reopen(loss, &unacknowledged);
            }
        }
    }

    /// Drains all records; no file of events may be left.
    fn drain_all(&mut self) {
        while self.read_block() {}
        while !self.in_flight.is_empty() {
            self.drain(0);
        }
        self.spool().rest().expect("a disk");
        assert_eq!(self.drained_up_to(), self.written.len());
        assert!(self.spool().is_empty() && self.spool().bytes() == 0);
        assert_eq!(self.disk.paths(), [Path::new(DIR).join("spool.json")]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_records_are_read_in_order_after_crashes(ops in proptest::collection::vec(ops(), 1..60)) {
        let disk = Memory::default();
        let spool = Some(open(&disk, SMALL).expect("a new spool").0);
        let (written, drained, in_flight) = Default::default();
        let mut world = World { disk, spool, written, drained, out: 0, in_flight, counter: 0 };
        for op in &ops {
            world.act(op);
        }
        world.reopen(Loss::Everything, &[]);
        world.drain_all();
    }
}

/// A spool of three files; their paths, the oldest first.
fn three_files() -> (Memory, Vec<PathBuf>) {
    let disk = Memory::default();
    let (mut spool, _) = open(&disk, SMALL).expect("a new spool");
    for number in 0..9 {
        let record = format!("{number:0200}");
        spool.append(&[append(Topic::Scans, 0, &record)], 1).expect("room");
    }
    drop(spool);
    let journals = |path: &PathBuf| path.extension().is_some_and(|e| e == "jrn");
    let paths: Vec<PathBuf> = disk.paths().into_iter().filter(journals).collect();
    assert_eq!(paths.len(), 3);
    (disk, paths)
}

fn refusal(disk: &Memory) -> String {
    open(disk, SMALL).expect_err("damage is an error").to_string()
}

fn check(what: &str, expected: &Expect) {
    expected.assert_eq(what);
}

#[test]
fn damage_in_the_middle_names_file_and_byte() {
    let (disk, paths) = three_files();
    disk.flip(&paths[1], 100);
    check(
        &refusal(&disk),
        &expect![
            "spool/00000000000000000001.jrn at byte 24: the spool is damaged: block 5 is torn, and a good one follows at byte 272; no record is skipped: restore the file, or move the directory aside, which loses the events in it that were not drained"
        ],
    );
    let (disk, paths) = three_files();
    // The last block of a file that is not the last one.
    let end = usize::try_from(disk_len(&disk, &paths[0])).expect("small");
    disk.flip(&paths[0], end - 1);
    check(
        &refusal(&disk),
        &expect![
            "spool/00000000000000000000.jrn at byte 520: the spool is damaged: block 3 is torn; no record is skipped: restore the file, or move the directory aside, which loses the events in it that were not drained"
        ],
    );
    let (disk, paths) = three_files();
    disk.flip(&paths[2], 3);
    check(
        &refusal(&disk),
        &expect![
            "spool/00000000000000000002.jrn at byte 0: the spool is damaged: the journal's first block is torn; no record is skipped: restore the file, or move the directory aside, which loses the events in it that were not drained"
        ],
    );
    let (disk, paths) = three_files();
    eventlog::files::Files::remove(&disk, &paths[1]).expect("a file");
    check(
        &refusal(&disk),
        &expect![
            "spool/00000000000000000002.jrn at byte 0: the spool is damaged: it begins with block 8, 4 must come: a file before it is missing; no record is skipped: restore the file, or move the directory aside, which loses the events in it that were not drained"
        ],
    );
    let (disk, _) = three_files();
    eventlog::files::Files::remove(&disk, &Path::new(DIR).join("spool.json")).expect("a file");
    check(
        &refusal(&disk),
        &expect![
            "spool/spool.json at byte 0: the spool is damaged: it is missing beside files of events; no record is skipped: restore the file, or move the directory aside, which loses the events in it that were not drained"
        ],
    );
}

#[test]
fn damage_after_the_start_fails_the_read() {
    let (disk, paths) = three_files();
    let (mut spool, _) = open(&disk, SMALL).expect("whole");
    disk.flip(&paths[1], 100);
    while spool.next_block().is_ok_and(|block| block.is_some()) {}
    check(
        &spool.next_block().expect_err("no block is skipped").to_string(),
        &expect![
            "spool/00000000000000000001.jrn at byte 24: the spool is damaged: a block that was written is torn; no record is skipped: restore the file, or move the directory aside, which loses the events in it that were not drained"
        ],
    );
}

#[test]
fn torn_last_block_is_cut_off() {
    let (disk, paths) = three_files();
    let end = usize::try_from(disk_len(&disk, &paths[2])).expect("small");
    disk.flip(&paths[2], end - 1);
    let (mut spool, found) = open(&disk, SMALL).expect("a torn tail");
    assert_eq!(found.len(), 8);
    assert!(disk_len(&disk, &paths[2]) < end as u64);
    spool.append(&[append(Topic::Scans, 0, "more")], 1).expect("room");
    drop(spool);
    assert_eq!(open(&disk, SMALL).expect("whole").1.last().map(String::as_str), Some("more"));
}

fn disk_len(disk: &Memory, path: &Path) -> u64 {
    eventlog::files::Files::open(disk, path, false).and_then(|file| file.len()).expect("a file")
}

#[test]
fn spool_of_another_log_is_refused() {
    let (disk, _) = three_files();
    let other = Spool::open(Arc::new(disk), Path::new(DIR), LOG + 1, SMALL, |_| {});
    check(
        &other.expect_err("another log").to_string(),
        &expect![
            "spool: this spool holds events of log 00000000000000000000000000000007, but this edge writes to log 00000000000000000000000000000008: use it with an edge of its own log, or give this edge another directory"
        ],
    );
}

#[test]
fn spool_is_never_larger_than_its_limit() {
    let sizes = Sizes { bytes_max: 4_000, ..SMALL };
    let disk = Memory::default();
    let (mut spool, _) = open(&disk, sizes).expect("a new spool");
    let mut count = 0;
    while spool.fits(5, 5 * 100) {
        let records: Vec<Append> = (0..5).map(|_| append(Topic::Scans, 0, &"x".repeat(100))).collect();
        spool.append(&records, 1).expect("room");
        count += 1;
        assert!(spool.bytes() <= sizes.bytes_max);
        let paths = disk.paths().into_iter().filter(|path| path.extension().is_some_and(|e| e == "jrn"));
        assert_eq!(paths.map(|path| disk_len(&disk, &path)).sum::<u64>(), spool.bytes());
    }
    assert!(count > 3, "{count} rounds fit");
    // Draining frees space.
    while let Some(block) = spool.next_block().expect("readable") {
        spool.drained(block.number).expect("a disk");
    }
    assert!(spool.fits(5, 5 * 100));
}
