//! Damage is an error that names the place; never an empty start, never something skipped.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::model::address::{Partitions, Topic};
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
fn a_journal_with_a_good_block_after_a_bad_one_is_damaged() {
    let disk = filled();
    // The first block says how far all was synced; the byte is in the middle of a round.
    disk.flip(&path(&disk, ".jrn"), 400);
    check(
        open(&disk),
        &expect![
            "data/journal/00000000000000000001.jrn at byte 282: the log is damaged: block 23 is torn, and a good one follows at byte 430; put the data directory back from a copy, or begin a new one: nothing is skipped"
        ],
    );
}

#[test]
fn a_torn_end_of_the_journal_is_cut_off() {
    let disk = filled();
    let journal = path(&disk, ".jrn");
    let file = disk.open(&journal, false).expect("a file");
    file.truncate(file.len().expect("a length") - 10).expect("a disk");
    file.sync().expect("a disk");
    let store = open(&disk).expect("the end of a round that was never answered");
    assert_eq!(read(&store, Topic::Scans, 0, 0).expect("readable").len(), 29);
}

#[test]
fn a_damaged_record_is_named_when_it_is_read() {
    let disk = filled();
    disk.flip(&path(&disk, "scans/0/00000000000000000000"), 100);
    let store = open(&disk).expect("nobody has read it yet");
    let error = read(&store, Topic::Scans, 0, 0).expect_err("damage");
    expect!["data/scans/0/00000000000000000000.seg at byte 40: the log is damaged: the checksum of offset 0 is wrong; put the data directory back from a copy, or begin a new one: nothing is skipped"].assert_eq(&error.to_string());
}

#[test]
fn a_damaged_record_that_must_be_whole_stops_the_start() {
    let disk = filled();
    let mut segments = disk.paths().into_iter().filter(|p| p.starts_with("data/scans/0"));
    let base = |p: &PathBuf| p.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<u64>().ok());
    let last_synced = segments.rfind(|p| base(p).is_some_and(|b| b < 20)).expect("a segment");
    disk.flip(&last_synced, 60);
    let error = open(&disk).map(drop).expect_err("damage").to_string();
    assert!(error.contains("scans/0/") && error.contains("the checksum of offset"), "{error}");
}

#[test]
fn what_is_missing_is_never_an_empty_start() {
    let gone = |part: &str| {
        let disk = filled();
        disk.remove(&path(&disk, part)).expect("a file");
        open(&disk)
    };
    check(
        gone("meta.json"),
        &expect![
            "data/meta.json at byte 0: the log is damaged: meta.json is missing beside awards; put the data directory back from a copy, or begin a new one: nothing is skipped"
        ],
    );
    check(
        gone(".jrn"),
        &expect![
            "data/journal at byte 0: the log is damaged: the journal is missing, and there are records; put the data directory back from a copy, or begin a new one: nothing is skipped"
        ],
    );
    let disk = filled();
    for segment in disk.paths().into_iter().filter(|p| p.starts_with("data/scans/0")) {
        disk.remove(&segment).expect("a file");
    }
    check(
        open(&disk),
        &expect![
            "data/scans/0 at byte 0: the log is damaged: offsets up to 20 were synced, and no segment holds them; put the data directory back from a copy, or begin a new one: nothing is skipped"
        ],
    );
}

#[test]
fn another_clock_or_number_of_partitions_is_refused() {
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
fn offsets_that_are_let_go_or_not_there_yet_are_named() {
    let disk = filled();
    let mut store = open(&disk).expect("a log");
    store.retire(Topic::Scans, 0, 18, i64::MAX).expect("a disk");
    let error = read(&store, Topic::Scans, 0, 2).expect_err("let go");
    expect!["scans partition 0: offset 2 was asked for, the log begins at 18: what was there is let go; begin again"]
        .assert_eq(&error.to_string());
    let error = read(&store, Topic::Scans, 0, 31).expect_err("not there");
    expect!["scans partition 0: offset 31 was asked for, the log ends at 30: the log is shorter than what was read of it; put it back whole"].assert_eq(&error.to_string());
    let start = store.partition(Topic::Scans, 0).start();
    assert!((10..=18).contains(&start), "{start}");
    assert_eq!(read(&store, Topic::Scans, 0, start).expect("readable").len() as u64, 30 - start);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever byte of whatever file is wrong, or wherever it ends: an error, or what was written; never a panic, never
    /// anything else. The journal alone cannot tell a last round that is damaged from one that was torn, nor that its end
    /// was cut off; then those who have read further notice.
    #[test]
    fn no_damage_gives_wrong_records(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), cut in any::<bool>()) {
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
