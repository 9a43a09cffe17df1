//! A data directory that an earlier build wrote, held against this build byte for byte.
//!
//! `tests/kept_log` has the directory, its exports and its dump. Without snapshots and ledger every desk begins at the start
//! of the log: what it answers must be what the earlier build answered, for the frames carry running hashes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use domain::frame::{Frame, Frames, Kind, peek_kind};
use domain::model::address::{AnswerPos, Topic, TopicPartition};
use domain::model::event::Event;
use domain::model::time::Millis;
use eventlog::files::disk::Disk;
use eventlog::local::topic_reader::TopicReader;
use tempfile::TempDir;

use crate::program::{TABLES, done};
use crate::serve::server::Server;

/// The version of the frames that the kept log has, at this byte of each.
const VERSION: u8 = 2;
const VERSION_AT: usize = 4;
/// Events in the kept log.
const EVENTS: usize = 404;
const PARTITIONS: &str = "2";
/// The same: how many desks of shoppers answer a marker.
const SCANS: usize = 2;
/// What desks write: a replay writes it again.
const DERIVED: [Topic; 3] = [Topic::Draws, Topic::Awards, Topic::Facts];

/// A record as it lies in a partition: append time and value.
type Records = Vec<(Millis, Vec<u8>)>;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kept_log")
}

/// Copies a directory; what is compressed is unpacked.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_str().expect("UTF-8");
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else if let Some(name) = name.strip_suffix(".zst") {
            fs::write(to.join(name), unpacked(&path)).expect("a file");
        } else {
            fs::copy(&path, to.join(name)).expect("a file");
        }
    }
}

fn unpacked(path: &Path) -> Vec<u8> {
    zstd::decode_all(fs::read(path).expect("a file").as_slice()).expect("zstd")
}

fn copied() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    copy(&kept(), dir.path());
    dir
}

/// Starts the service on the copy, waits until all is in the ledger, and stops it.
fn serve(dir: &Path) {
    let server = Server::start(dir, &["--clock", "event", "--partitions", PARTITIONS]);
    server.settle();
    let (status, output) = server.stop();
    assert!(status.success(), "{output}");
    assert!(!output.contains("\"ERROR\""), "{output}");
}

/// Every record of a topic, by partition.
fn records(dir: &Path, topic: Topic) -> Vec<Records> {
    let reader = TopicReader::open(&Disk, &dir.join("data/log"), topic).expect("a log");
    let partitions = reader.partitions.into_iter().map(|mut partition| {
        let mut all = Vec::new();
        while let Some(record) = partition.next_record().expect("a record") {
            assert_eq!(record.offset, all.len() as u64, "{topic}");
            all.push((record.append, record.bytes.to_vec()));
        }
        all
    });
    partitions.collect()
}

/// Every record of every topic.
fn all(dir: &Path) -> Vec<(Topic, Vec<Records>)> {
    Topic::ALL.iter().map(|&topic| (topic, records(dir, topic))).collect()
}

fn assert_exports_are_the_kept_ones(dir: &Path) {
    for table in TABLES {
        let expected = fs::read_to_string(kept().join(format!("exports/{table}.csv"))).expect("an export");
        assert!(expected.lines().count() > 1, "{table} has no rows");
        let found = done(dir, &["export", table, "--ledger", "data/ledger.sqlite"]);
        assert!(found == expected, "{table} differs:\n{found}");
    }
}

/// An answer of a desk: its place in its chain, the running hash before it, and all that it says.
type Answer = (TopicPartition, AnswerPos, Option<AnswerPos>, u64, Millis, u32, Vec<u8>);

/// How often each answer of a desk is there, whatever records they share.
fn answers(records: &[(Millis, Vec<u8>)]) -> BTreeMap<Answer, usize> {
    let mut counts = BTreeMap::new();
    for frame in records.iter().flat_map(|(_, record)| Frames::open(record).expect("frames")) {
        let Some(tag) = frame.tag else { continue };
        let source = tag.source.topic_partition();
        let answer = (source, tag.at, tag.prev, tag.hash, frame.received, frame.count, frame.body.to_vec());
        *counts.entry(answer).or_default() += 1;
    }
    counts
}

fn is_marker((_, record): &(Millis, Vec<u8>)) -> bool {
    peek_kind(record) == Some(Kind::Marker)
}

/// Number of records of a topic that come from the start of this build, besides markers: it publishes the rules again, for its own
/// behaviour, and the desks answer that.
fn of_this_build(topic: Topic) -> usize {
    match topic {
        Topic::Facts => SCANS,
        Topic::Rules => 1,
        _ => 0,
    }
}

#[test]
fn kept_log_replays_to_same_exports_and_records() {
    let dir = copied();
    let before = all(dir.path());
    fs::remove_dir_all(dir.path().join("data/snapshots")).expect("snapshots");
    fs::remove_file(dir.path().join("data/ledger.sqlite")).expect("a ledger");
    serve(dir.path());
    assert_exports_are_the_kept_ones(dir.path());
    for (topic, before) in before {
        let mut derived = 0;
        for (number, (before, after)) in before.iter().zip(records(dir.path(), topic)).enumerate() {
            let (kept, again) = after.split_at(before.len());
            assert!(kept == before, "{topic} partition {number}: the records that were there are changed");
            let wanted = answers(before);
            assert!(wanted.values().all(|&count| count == 1), "{topic} partition {number}: each answer is there once");
            let (markers, again): (Vec<_>, Vec<_>) = again.iter().cloned().partition(is_marker);
            let found = answers(&again);
            let same = wanted.iter().all(|(answer, count)| found.get(answer) == Some(count));
            assert!(same, "{topic} partition {number}: the desks give other answers than before");
            // Desks answer the markers too: with the number of the rules in force.
            let untagged = again.iter().filter(|record| answers(std::slice::from_ref(record)).is_empty()).count();
            let others = untagged + found.values().sum::<usize>() - wanted.len();
            assert!(others <= of_this_build(topic), "{topic} partition {number}: only desks write");
            assert!(markers.len() <= 1, "{topic} partition {number}: {} markers of this build", markers.len());
            derived += wanted.len();
        }
        assert_eq!(derived > 0, DERIVED.contains(&topic), "{topic}: {derived} answers");
    }
}

#[test]
fn kept_data_directory_starts_from_its_snapshots() {
    let dir = copied();
    let before = all(dir.path());
    serve(dir.path());
    assert_exports_are_the_kept_ones(dir.path());
    for (topic, before) in before {
        for (number, (before, after)) in before.iter().zip(records(dir.path(), topic)).enumerate() {
            let (kept, new) = after.split_at(before.len());
            assert!(kept == before, "{topic} partition {number}: the records that were there are changed");
            // The rules are published again, with the behaviour of this build; the ledger learns of that.
            let others = new.iter().filter(|record| !is_marker(record)).count();
            assert!(
                others <= of_this_build(topic),
                "{topic} partition {number}: a start from snapshots has nothing to write"
            );
        }
    }
}

#[test]
fn kept_frames_of_version_2_are_read() {
    let dir = copied();
    let mut events = 0;
    for (topic, partitions) in all(dir.path()) {
        for (_, record) in partitions.iter().flatten() {
            assert_eq!(record[VERSION_AT], VERSION, "{topic}");
            let frame = Frame::open(record).expect("a frame");
            if frame.kind == Kind::Events {
                for event in frame.items::<Event<'_>>() {
                    event.expect("an event");
                    events += 1;
                }
            }
        }
    }
    assert_eq!(events, EVENTS);
    let dump = done(dir.path(), &["log", "dump", "--data", "data"]);
    assert!(dump.as_bytes() == unpacked(&kept().join("dump.ndjson.zst")), "the dump differs:\n{dump}");
}
