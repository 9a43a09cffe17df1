//! Faults that the simulation found.

use domain::model::address::{Topic, TopicPartition};
use eventlog::error::LogError;
use eventlog::files::memory::{Loss, Memory};
use eventlog::local::reader::Reader;
use eventlog::local::store::Store;

use crate::world::{append, open, read};

fn fill(store: &mut Store, from: u64, to: u64) {
    for i in from..to {
        store.append(&[append(Topic::Scans, 0, &format!("{i:0100}"))], 0).expect("room");
    }
}

/// The disk was full in the middle of a new segment's header, and the file stayed. Later rounds began segments at other
/// offsets, and the next start found a segment with a torn header among them.
#[test]
fn segment_without_a_whole_header_is_removed() {
    for room in 0..900 {
        let disk = Memory::default();
        let mut store = open(&disk).expect("a new log");
        // The round begins a segment after its second record.
        let large = format!("{:0300}", 0);
        let round = [append(Topic::Scans, 0, &large), append(Topic::Scans, 0, &large), append(Topic::Scans, 0, "c")];
        disk.set_room(Some(room));
        let is_appended = store.append(&round, 0).is_ok();
        disk.set_room(None);
        let from = if is_appended { 3 } else { 0 };
        fill(&mut store, from, 9);
        let unsynced = store.rotate().expect("room");
        unsynced.sync().expect("a disk");
        store.synced(&unsynced).expect("a disk");
        disk.crash(Loss::Everything);
        let store = open(&disk).unwrap_or_else(|error| panic!("room {room}: {error}"));
        assert_eq!(read(&store, Topic::Scans, 0, 0).expect("readable").len(), 9, "room {room}");
    }
}

/// A reader saw no more records, and no error, after its segments were deleted.
#[test]
fn reader_of_deleted_records_gets_an_error() {
    let disk = Memory::default();
    let mut store = open(&disk).expect("a new log");
    fill(&mut store, 0, 4);
    let mut reader =
        Reader::open(store.partition(TopicPartition::new(Topic::Scans, 0)), 0, "begin again").expect("a reader");
    while reader.next_record().expect("readable").is_some() {}
    fill(&mut store, 4, 20);
    let unsynced = store.rotate().expect("room");
    unsynced.sync().expect("a disk");
    store.synced(&unsynced).expect("a disk");
    store.retire(TopicPartition::new(Topic::Scans, 0), 16, i64::MAX).expect("a disk");
    let error = loop {
        match reader.next_record() {
            Ok(record) => assert!(record.is_some(), "the reader misses later records"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LogError::Retired { .. }), "{error}");
}
