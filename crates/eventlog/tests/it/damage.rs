//! Damage is an error that names the file and the byte; the log never starts empty and never skips a record.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::model::address::{Partitions, Topic, TopicPartition};
use eventlog::files::Files;
use eventlog::files::memory::{Loss, Memory};
use eventlog::local::meta::{Clock, Meta};
use eventlog::local::store::Store;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use crate::world::{DIR, SMALL, append, meta, open, read};

/// A log with some segments and a journal with several rounds; closed.
fn filled() -> Memory {
    let disk = Memory::default();
    let mut store = open(&disk).expect("a new log");
    for i in 0..30 {
        store.append(&[append(Topic::Scans, 0, &format!("{i:0100}"))], i).expect("a disk");
        if i == 19 {
            let unsynced = store.rotate().expect("a disk");
            unsynced.sync().expect("a disk");
            store.synced(&unsynced).expect("a disk");
        }
    }
    disk.crash(Loss::Everything);
    disk
}

fn path(disk: &Memory, part: &str) -> PathBuf {
    disk.paths().into_iter().find(|p| p.to_string_lossy().contains(part)).expect("a file")
}

fn check(result: Result<Store, eventlog::error::LogError>, expect: &Expect) {
    expect.assert_eq(&result.map(drop).expect_err("an error").to_string());
}

#[test]
fn valid_block_after_an_invalid_one_is_damage() {
    let disk = filled();
    // The byte is behind the first block, in the middle of a round.
    disk.flip(&path(&disk, ".jrn"), 400);
    check(
        open(&disk),
        &expect![
            "data/journal/00000000000000000001.jrn at byte 282: the log is damaged: block 23 is torn, and a good one follows at byte 430; no record is skipped: restore the data directory from a copy, or begin a new one"
        ],
    );
}

#[test]
fn torn_end_of_the_journal_is_cut_off() {
    let disk = filled();
    let journal = path(&disk, ".jrn");
    let file = disk.open(&journal, false).expect("a file");
    file.truncate(file.len().expect("a length") - 10).expect("a disk");
    file.sync().expect("a disk");
    let store = open(&disk).expect("the torn round had no acknowledgement");
    assert_eq!(read(&store, Topic::Scans, 0, 0).expect("readable").len(), 29);
}

#[test]
fn damaged_record_fails_the_read() {
    let disk = filled();
    disk.flip(&path(&disk, "scans/0/00000000000000000000"), 100);
    let store = open(&disk).expect("the start does not read it");
    let error = read(&store, Topic::Scans, 0, 0).expect_err("damage");
    expect!["data/scans/0/00000000000000000000.seg at byte 40: the log is damaged: the checksum of offset 0 is wrong; no record is skipped: restore the data directory from a copy, or begin a new one"].assert_eq(&error.to_string());
}

#[test]
fn damage_in_a_synced_segment_stops_the_start() {
    let disk = filled();
    let mut segments = disk.paths().into_iter().filter(|p| p.starts_with("data/scans/0"));
    let base = |p: &PathBuf| p.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<u64>().ok());
    let last_synced = segments.rfind(|p| base(p).is_some_and(|b| b < 20)).expect("a segment");
    disk.flip(&last_synced, 60);
    let error = open(&disk).map(drop).expect_err("damage").to_string();
    assert!(error.contains("scans/0/") && error.contains("the checksum of offset"), "{error}");
}

#[test]
fn missing_files_never_give_an_empty_log() {
    let gone = |part: &str| {
        let disk = filled();
        disk.remove(&path(&disk, part)).expect("a file");
        open(&disk)
    };
    check(
        gone("meta.json"),
        &expect![
            "data/meta.json at byte 0: the log is damaged: meta.json is missing beside awards; no record is skipped: restore the data directory from a copy, or begin a new one"
        ],
    );
    check(
        gone(".jrn"),
        &expect![
            "data/journal at byte 0: the log is damaged: the journal is missing, and there are records; no record is skipped: restore the data directory from a copy, or begin a new one"
        ],
    );
    let disk = filled();
    for segment in disk.paths().into_iter().filter(|p| p.starts_with("data/scans/0")) {
        disk.remove(&segment).expect("a file");
    }
    check(
        open(&disk),
        &expect![
            "data/scans/0 at byte 0: the log is damaged: offsets up to 20 were synced, and no segment holds them; no record is skipped: restore the data directory from a copy, or begin a new one"
        ],
    );
}

#[test]
fn other_clock_or_partition_count_is_refused() {
    let disk = filled();
    let with = |meta: &Meta| Store::open(Arc::new(disk.clone()), Path::new(DIR), meta, SMALL);
    check(
        with(&Meta::new(1, Clock::Event, Partitions::all(2))),
        &expect!["data: the log was made with --clock wall, not with --clock event: start it as it was made"],
    );
    check(
        with(&Meta::new(1, Clock::Wall, Partitions::all(3))),
        &expect![
            "data: the log was made with 2 partitions, not with 3 partitions: give the number that it was made with"
        ],
    );
    assert_eq!(with(&Meta::new(1, Clock::Wall, Partitions::all(2))).expect("the same").meta(), &meta());
}

#[test]
fn deleted_and_future_offsets_are_errors() {
    let disk = filled();
    let mut store = open(&disk).expect("a log");
    store.retire(TopicPartition::new(Topic::Scans, 0), 18, i64::MAX).expect("a disk");
    let error = read(&store, Topic::Scans, 0, 2).expect_err("deleted");
    expect![
        "scans partition 0: offset 2 was asked for, the log begins at 18: earlier records were deleted; begin again"
    ]
    .assert_eq(&error.to_string());
    let error = read(&store, Topic::Scans, 0, 31).expect_err("behind the end");
    expect!["scans partition 0: offset 31 was asked for, the log ends at 30: it is shorter than what was read of it before; restore the whole topic"].assert_eq(&error.to_string());
    let start = store.partition(TopicPartition::new(Topic::Scans, 0)).start();
    assert!((10..=18).contains(&start), "{start}");
    assert_eq!(read(&store, Topic::Scans, 0, start).expect("readable").len() as u64, 30 - start);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any byte of any file is changed, or any file is truncated: the log gives an error or the written records, but no panic and
    /// no other records. The journal alone cannot distinguish a damaged last round from a torn one, nor notice that its end is
    /// missing; readers with a later offset notice it.
    #[test]
    fn damage_never_gives_wrong_records(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), cut in any::<bool>()) {
        let disk = filled();
        let paths = disk.paths();
        let path = file.get(&paths);
        let handle = disk.open(path, false).expect("a file");
        let len = usize::try_from(handle.len().expect("a length")).expect("small");
        if cut {
            handle.truncate(at.index(len) as u64).expect("a disk");
            handle.sync().expect("a disk");
        } else {
            disk.flip(path, at.index(len));
        }
        drop(handle);
        let found = open(&disk).and_then(|store| read(&store, Topic::Scans, 0, 0));
        if let Ok(found) = found {
            let wanted: Vec<String> = (0..30).map(|i| format!("{i:0100}")).collect();
            let is_journal = path.starts_with("data/journal");
            let least = if !is_journal { 30 } else if cut { 20 } else { 29 };
            let is_right = found.len() >= least && wanted.starts_with(&found);
            prop_assert!(is_right, "{} records after damage to {}", found.len(), path.display());
        }
    }
}
