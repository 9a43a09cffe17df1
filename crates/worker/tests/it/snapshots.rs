//! A published snapshot stays readable after every later or interrupted write.

use std::path::Path;
use std::sync::Arc;

use domain::model::address::{PartitionId, Topic};
use eventlog::files::memory::{Loss, Memory};
use worker::snapshot::{Snapshot, Snapshots};

const SOURCE: PartitionId = PartitionId { log: 7, topic: Topic::Scans, partition: 0 };

fn snapshot(offset: u64, byte: u8) -> Snapshot {
    Snapshot { source: SOURCE, offset, behaviour: 1, state: vec![byte; 100], chain: None, new: Vec::new(), memory: 0 }
}

/// A zombie and its successor reach the same offset: their states are equal, their bytes may differ.
#[test]
fn second_writer_at_same_offset_tears_nothing() {
    for room in 0..600 {
        let disk = Memory::default();
        let snapshots = Snapshots::new(Arc::new(disk.clone()), Path::new("data/snapshots"));
        snapshots.write(&snapshot(5, 1)).expect("room");
        disk.set_room(Some(room));
        let _ = snapshots.write(&snapshot(5, 2));
        disk.set_room(None);
        disk.crash(Loss::Torn(room));
        let latest = snapshots.latest(SOURCE).expect("the first one remains");
        assert_eq!(latest, Some(snapshot(5, 1)), "interrupted after {room} bytes");
    }
}

/// Otherwise failed writes would fill a store that was full for a while.
#[test]
fn failed_write_leaves_no_files() {
    for room in 0..600 {
        let disk = Memory::default();
        let snapshots = Snapshots::new(Arc::new(disk.clone()), Path::new("data/snapshots"));
        snapshots.write(&snapshot(5, 1)).expect("room");
        let before = disk.paths();
        for offset in 6..12 {
            disk.set_room(Some(room));
            if snapshots.write(&snapshot(offset, 2)).is_ok() {
                return;
            }
            disk.set_room(None);
            assert_eq!(disk.paths(), before, "after {room} bytes");
        }
    }
    panic!("600 bytes are enough for a snapshot");
}

/// The log may no longer have the records after its offset.
#[test]
fn snapshot_below_the_latest_is_not_published() {
    let disk = Memory::default();
    let snapshots = Snapshots::new(Arc::new(disk.clone()), Path::new("data/snapshots"));
    assert_eq!(snapshots.write(&snapshot(5, 1)).expect("room"), 5);
    assert_eq!(snapshots.write(&snapshot(3, 2)).expect("room"), 5);
    assert_eq!(disk.paths().len(), 2, "{:?}", disk.paths());
}

#[test]
fn interrupted_write_leaves_the_earlier_snapshot() {
    for room in 0..600 {
        let disk = Memory::default();
        let snapshots = Snapshots::new(Arc::new(disk.clone()), Path::new("data/snapshots"));
        snapshots.write(&snapshot(5, 1)).expect("room");
        disk.set_room(Some(room));
        let is_done = snapshots.write(&snapshot(9, 2)).is_ok();
        disk.set_room(None);
        disk.crash(Loss::Torn(room));
        let latest = snapshots.latest(SOURCE).expect("one of them remains").expect("there is one");
        assert!(latest == snapshot(9, 2) || (!is_done && latest == snapshot(5, 1)), "interrupted after {room} bytes");
    }
}

/// Otherwise a task would continue a recreated topic with the state of the old one.
#[test]
fn snapshot_of_another_log_is_refused() {
    let snapshots = Snapshots::new(Arc::new(Memory::default()), Path::new("data/snapshots"));
    snapshots.write(&snapshot(5, 1)).expect("room");
    let recreated = PartitionId { log: 8, ..SOURCE };
    let alarm = snapshots.latest(recreated).expect_err("another log").to_string();
    let wanted = "the snapshot is of scans partition 0 of log 00000000000000000000000000000007, which is now of log 00000000000000000000000000000008: the topic was recreated, or";
    assert!(alarm.contains(wanted), "{alarm}");
    assert_eq!(snapshots.latest(SOURCE).expect("its own log"), Some(snapshot(5, 1)));
}

/// It is written in pieces: the last one is not whole, and of an earlier one at this offset nothing remains.
#[test]
fn large_state_is_read_back_whole() {
    let disk = Memory::default();
    let snapshots = Snapshots::new(Arc::new(disk.clone()), Path::new("data/snapshots"));
    for (offset, bytes) in [(1, 1 << 20), (2, (5 << 19) + 7), (3, 3)] {
        let state = (0..bytes).map(|n: usize| n.to_le_bytes()[n % 3]).collect();
        let large = Snapshot { state, ..snapshot(offset, 0) };
        snapshots.write(&large).expect("room");
        disk.crash(Loss::Everything);
        assert!(snapshots.latest(SOURCE).expect("whole") == Some(large), "{bytes} bytes");
    }
}

#[test]
fn manifest_of_a_newer_format_asks_for_an_upgrade() {
    let disk = Memory::default();
    let snapshots = Snapshots::new(Arc::new(disk.clone()), Path::new("data/snapshots"));
    snapshots.write(&snapshot(5, 1)).expect("room");
    let dir = Path::new("data/snapshots/scans-0");
    let newer = br#"{"format":4,"shards":[1,2],"state":7}"#;
    eventlog::files::publish(&disk, dir, "00000000000000000009.manifest.json", newer).expect("room");
    let told = snapshots.latest(SOURCE).expect_err("a newer format").to_string();
    assert!(told.contains("00000000000000000009.manifest.json"), "{told}");
    assert!(told.contains("is of format 4, and this build reads up to 3: upgrade this build"), "{told}");
}
