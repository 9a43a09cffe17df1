//! The archive of an embedded log in memory: copied by several processes, with a store that fails, and a log that removes records.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::frame::{Body, Kind, seal};
use domain::model::address::{Partitions, Topic, TopicPartition};
use domain::model::event::{Action, Event};
use domain::model::time::{DAY_MS, Millis};
use eventlog::api::Append;
use eventlog::archive::Archive;
use eventlog::archive::copier::{Copied, Copier};
use eventlog::error::LogError;
use eventlog::files::memory::Memory;
use eventlog::local::consumer::LocalConsumer;
use eventlog::local::log::{Log, Readers};
use eventlog::local::meta::{Clock, Meta};
use eventlog::local::topic_reader::TopicReader;
use eventlog::objects::{Directory, Objects};
use prometheus::Registry;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::world::{DIR, SMALL};

const ARCHIVE: &str = "archive";
/// 2026-11-09T00:00:00Z.
const DAY_0: Millis = 1_794_182_400_000;

fn meta() -> Meta {
    Meta::new(7, Clock::Event, Partitions::all(2))
}

/// A record with one event of a time, or one that is no frame.
fn record(number: u64, time: Option<Millis>) -> Vec<u8> {
    let Some(stamp) = time else { return format!("no frame {number}").into_bytes() };
    let id = number.to_string();
    let event = Event {
        key: u128::from(number),
        shopper_key: 1,
        merchant: "acme",
        id: &id,
        shopper: "u1",
        action: Action::Visit,
        stamp,
        time: None,
        code: None,
        store: None,
        guide: None,
        region: None,
        channel: None,
        device: None,
        ticket: None,
        order: None,
        keyless: false,
    };
    let (mut body, mut record) = (Body::default(), Vec::new());
    body.push(&event);
    body.drain(|bytes, count| record = seal(Kind::Events, 1_000, None, count, bytes));
    record
}

struct World {
    disk: Memory,
    log: Arc<Log>,
    number: u64,
    /// All records of a partition, by offset.
    appended: [Vec<Vec<u8>>; 2],
}

impl World {
    fn new() -> Self {
        let disk = Memory::default();
        let log = Log::open(Arc::new(disk.clone()), Path::new(DIR), &meta(), SMALL, &Registry::new()).expect("a log");
        Self { disk, log: Arc::new(log), number: 0, appended: Default::default() }
    }

    fn append(&mut self, partition: u16, time: Option<Millis>) {
        self.number += 1;
        let record = record(self.number, time);
        self.appended[usize::from(partition)].push(record.clone());
        self.log.append_and_wait(vec![Append { topic: Topic::Scans, partition, record }]).expect("durable");
    }

    fn objects(&self) -> Arc<dyn Objects> {
        Arc::new(Directory::new(Arc::new(self.disk.clone()), Path::new(ARCHIVE)))
    }

    fn archive(&self) -> Archive {
        Archive::new(self.objects())
    }

    fn copier(&self) -> Copier {
        let copier = Copier::new(self.archive(), meta());
        copier.claim().expect("an archive of one's own");
        copier
    }

    fn copy(&self, copier: &Copier, partition: u16) -> Result<Copied, LogError> {
        copier.copy(&mut LocalConsumer::new(Arc::clone(&self.log), Readers::Desks), partition, &|| false)
    }

    /// What the archive gives, and behind it the log.
    fn read(&self, partition: u16, from: Option<Millis>, with_log: bool) -> Result<Vec<(u64, Vec<u8>)>, LogError> {
        let opened = self.archive().open(from)?;
        let mut reader = opened.reader;
        if with_log {
            let log = TopicReader::open_behind(&self.disk, Path::new(DIR), Topic::Scans, Some(&opened.behind))?;
            reader = reader.followed_by(log);
        }
        let records = &mut reader.partitions[usize::from(partition)];
        let mut found = Vec::new();
        while let Some(record) = records.next_record()? {
            found.push((record.offset, record.bytes.to_vec()));
        }
        Ok(found)
    }

    /// All records up to an offset, as they were appended.
    fn expected(&self, partition: u16, until: u64) -> Vec<(u64, Vec<u8>)> {
        (0..until).zip(self.appended[usize::from(partition)].iter().cloned()).collect()
    }

    /// Removes what the log may remove below an offset. Returns the first offset that it still has.
    fn retire(&self, partition: u16, below: u64) -> u64 {
        self.log.retire(TopicPartition::new(Topic::Scans, partition), below, Millis::MAX);
        // The log removes segments when it writes the next round.
        self.log.append_and_wait(vec![Append { topic: Topic::Draws, partition: 0, record: vec![1] }]).expect("durable");
        self.log.append_and_wait(vec![Append { topic: Topic::Draws, partition: 0, record: vec![2] }]).expect("durable");
        self.log.partition(TopicPartition::new(Topic::Scans, partition)).start()
    }

    fn names(&self, partition: u16) -> Vec<String> {
        self.objects().list(&format!("scans/{partition}")).expect("listed")
    }
}

/// A store whose requests fail now and then, by a seed: before they are done, or after.
#[derive(Debug)]
struct Faulty {
    objects: Arc<dyn Objects>,
    random: AtomicU64,
}

impl Faulty {
    fn dice(&self, sides: u64) -> u64 {
        let next = |at: u64| Some(at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        let at = self.random.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
        (at >> 33) % sides
    }

    fn ask<T>(&self, ask: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let away = || Err(io::Error::new(io::ErrorKind::NotConnected, "away"));
        match self.dice(8) {
            0 => away(),
            1 => ask().and_then(|_| away()),
            _ => ask(),
        }
    }
}

impl Objects for Faulty {
    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.ask(|| self.objects.make_folder(folder))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.ask(|| self.objects.list(folder))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.ask(|| self.objects.read(name))
    }

    fn read_start(&self, name: &str, max: usize) -> io::Result<Vec<u8>> {
        self.ask(|| self.objects.read_start(name, max))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        self.ask(|| self.objects.create(name, bytes))
    }

    fn write_data(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.ask(|| self.objects.write_data(name, bytes))
    }

    fn publish(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.ask(|| self.objects.publish(name, bytes))
    }

    fn remove(&self, folder: &str, names: &[&str]) -> Result<(), (String, io::Error)> {
        self.objects.remove(folder, names)
    }

    fn address(&self, name: &str) -> String {
        self.objects.address(name)
    }
}

/// What a history of an archive is made of.
#[derive(Clone, Debug)]
enum Step {
    /// A record with an event that much later than the one before, or without an event.
    Append(u16, Option<Millis>),
    /// One of two processes copies a partition.
    Copy(usize, u16),
    /// The log removes what is archived, as `serve` does.
    Retire(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let after = prop_oneof![
        8 => (0..DAY_MS / 4).prop_map(Some),
        1 => (DAY_MS..3 * DAY_MS).prop_map(Some),
        1 => Just(None)
    ];
    let step = prop_oneof![
        8 => (0..2_u16, after).prop_map(|(partition, after)| Step::Append(partition, after)),
        2 => (0..2_usize, 0..2_u16).prop_map(|(process, partition)| Step::Copy(process, partition)),
        1 => (0..2_u16).prop_map(Step::Retire),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever fails in the store, and whichever process copies: the archive and the log behind it give every record once, in order.
    #[test]
    fn archive_and_log_give_every_record_once(steps in steps(), seed in any::<u64>()) {
        let mut world = World::new();
        let faulty = Arc::new(Faulty { objects: world.objects(), random: AtomicU64::new(seed) });
        let copiers = [(); 2].map(|()| Copier::new(Archive::new(Arc::clone(&faulty) as Arc<dyn Objects>), meta()));
        let mut time = DAY_0;
        let mut archived = [0, 0];
        for step in steps {
            match step {
                Step::Append(partition, after) => {
                    time += after.unwrap_or(0);
                    world.append(partition, after.map(|_| time));
                }
                Step::Copy(process, partition) => {
                    let copier = &copiers[process];
                    let copied = copier.claim().and_then(|()| world.copy(copier, partition));
                    if let Ok(copied) = copied {
                        let known = &mut archived[usize::from(partition)];
                        *known = copied.next.max(*known);
                        prop_assert_eq!(copied.lost, 0);
                    }
                }
                Step::Retire(partition) => {
                    world.retire(partition, archived[usize::from(partition)].saturating_sub(1));
                }
            }
        }
        let copier = world.copier();
        for partition in 0..2 {
            let end = world.appended[usize::from(partition)].len() as u64;
            let expected = world.expected(partition, end);
            prop_assert_eq!(&world.read(partition, None, true).expect("readable"), &expected);
            // From a time on, no event is missing that was received then or later.
            for from in [DAY_0, DAY_0 + DAY_MS / 2, DAY_0 + 2 * DAY_MS, time] {
                let some = world.read(partition, Some(from), true).expect("readable");
                prop_assert!(expected.ends_with(&some));
            }
            let copied = world.copy(&copier, partition).expect("copied");
            prop_assert_eq!((copied.is_whole, copied.next), (true, end));
            prop_assert_eq!(&world.read(partition, None, false).expect("readable"), &expected);
            let checked = world.archive().check(&meta(), partition, &mut |wrong| panic!("{wrong}")).expect("listed");
            prop_assert_eq!(checked.records, end);
            prop_assert_eq!(world.copy(&copier, partition).expect("copied").segments, 0);
        }
    }
}

/// Three days of events, archived, one segment a day.
fn three_days() -> World {
    let mut world = World::new();
    let copier = world.copier();
    for day in 0..3 {
        for hour in 0..4 {
            world.append(0, Some(DAY_0 + day * DAY_MS + hour * 3_600_000));
        }
    }
    assert_eq!(world.copy(&copier, 0).expect("copied").segments, 3);
    world
}

#[test]
fn segment_ends_with_its_day() {
    let world = three_days();
    let mut days = Vec::new();
    let archive = world.archive();
    archive
        .headers(&meta(), 0, |header| {
            days.push((header.first_offset, header.last_offset, header.day(), header.begins_day));
            Ok::<_, LogError>(())
        })
        .expect("readable");
    let first = DAY_0 / DAY_MS;
    let expected = [(0, 3, Some(first), true), (4, 7, Some(first + 1), true), (8, 11, Some(first + 2), true)];
    assert_eq!(days, expected);
    // `zstd -d` of a segment gives its records.
    let name = format!("scans/0/{}", world.names(0)[1]);
    let records = zstd::decode_all(world.objects().read(&name).expect("an object").as_slice()).expect("zstd");
    let length = u32::from_le_bytes(records[..4].try_into().expect("four bytes")) as usize;
    assert_eq!(records[12..12 + length], world.appended[0][4]);
}

#[test]
fn missing_segment_is_a_hole_that_is_named() {
    let world = three_days();
    world.archive().remove(0, &[4]).expect("removed");
    let told = world.read(0, None, true).expect_err("a hole").to_string();
    assert!(told.contains("archive/scans/0") && told.contains("offsets 4 to 7 are missing"), "{told}");
    let mut wrong = Vec::new();
    let checked = world.archive().check(&meta(), 0, &mut |error| wrong.push(error.to_string())).expect("listed");
    assert_eq!((checked.segments, checked.records, wrong.as_slice()), (2, 8, &[told][..]));
    // What comes after it is read.
    let later = world.read(0, Some(DAY_0 + 2 * DAY_MS), true).expect("readable");
    assert_eq!(later, world.expected(0, 12)[8..]);
    // The last one is missing: only the log knows.
    world.archive().remove(0, &[8]).expect("removed");
    assert_eq!(world.read(0, Some(DAY_0), false).map(|found| found.len()).expect("readable"), 4);
    let start = world.retire(0, 12);
    assert!(start > 4);
    let told = world.read(0, None, true).expect_err("a hole").to_string();
    assert!(
        told.contains(&format!("offset 4 was asked for, the log begins at {start}")) && told.contains("--from"),
        "{told}"
    );
    let later = world.read(0, Some(DAY_0 + 2 * DAY_MS), true).expect("after it");
    assert_eq!(later, world.expected(0, 12)[usize::try_from(start).expect("small")..]);
}

/// Every byte of a segment counts: one that is changed is named, and nothing panics.
#[test]
fn changed_byte_of_a_segment_is_named() {
    let world = three_days();
    let name = format!("scans/0/{}", world.names(0)[1]);
    let good = world.objects().read(&name).expect("an object");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        world.objects().publish(&name, &bad).expect("written");
        let mut wrong = Vec::new();
        world.archive().check(&meta(), 0, &mut |error| wrong.push(error.to_string())).expect("listed");
        // Only the moment of writing means nothing to a reader.
        let is_written = String::from_utf8_lossy(&bad).contains("\"written\":") && wrong.is_empty();
        let is_named = wrong.iter().any(|wrong| wrong.contains(&name));
        assert!(is_named || is_written, "byte {at}: {wrong:?}");
        if let Ok(found) = world.read(0, None, false) {
            assert_eq!(found, world.expected(0, 12), "byte {at}");
        }
    }
    for length in 0..good.len() {
        world.objects().publish(&name, &good[..length]).expect("written");
        let told = world.read(0, None, false).expect_err("too short").to_string();
        assert!(told.contains(&name), "{length}: {told}");
    }
}

/// A segment with other records, whose header has their length and their hash.
fn forged(good: &[u8], records: &[u8]) -> Vec<u8> {
    let length = u32::from_le_bytes(good[4..8].try_into().expect("four bytes")) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&good[8..8 + length]).expect("JSON");
    let packed = zstd::encode_all(records, 3).expect("zstd");
    let hash: String = Sha256::digest(&packed).iter().map(|byte| format!("{byte:02x}")).collect();
    header["sha256"] = hash.into();
    header["bytes"] = records.len().into();
    let header = header.to_string().into_bytes();
    [&good[..4], &u32::try_from(header.len()).expect("short").to_le_bytes(), &header, &packed].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Records that are not those of the header are named, however they were made, and nothing panics or asks for much memory.
    #[test]
    fn forged_records_are_named(cut in any::<prop::sample::Index>(), change in any::<(prop::sample::Index, u8)>()) {
        let world = three_days();
        let name = format!("scans/0/{}", world.names(0)[1]);
        let good = world.objects().read(&name).expect("an object");
        let records = zstd::decode_all(good.as_slice()).expect("zstd");
        let (at, with) = change;
        let mut bad = records.clone();
        bad[at.index(records.len())] ^= with;
        if with % 3 == 0 {
            bad.truncate(cut.index(records.len() + 1));
        }
        world.objects().publish(&name, &forged(&good, &bad)).expect("written");
        let mut wrong = Vec::new();
        world.archive().check(&meta(), 0, &mut |error| wrong.push(error.to_string())).expect("listed");
        // An append time is not in the tree: under the event clock it means nothing.
        let lengths = |records: &[u8]| {
            let mut bytes = Vec::new();
            let mut rest = records;
            while let Some((head, tail)) = rest.split_at_checked(12) {
                let length = u32::from_le_bytes(head[..4].try_into().expect("four bytes")) as usize;
                let Some((record, tail)) = tail.split_at_checked(length) else { break };
                bytes.push(record.to_vec());
                rest = tail;
            }
            (bytes, rest.len())
        };
        prop_assert_eq!(wrong.is_empty(), lengths(&bad) == lengths(&records), "{:?}", wrong);
    }
}

#[test]
fn segment_of_a_newer_build_asks_for_an_upgrade() {
    let world = three_days();
    let name = format!("scans/0/{}", world.names(0)[1]);
    let good = world.objects().read(&name).expect("an object");
    let at = good.windows(10).position(|bytes| bytes == b"\"format\":1").expect("a header");
    let mut newer = good;
    newer[at + 9] = b'2';
    world.objects().publish(&name, &newer).expect("written");
    let told = world.read(0, None, false).expect_err("a newer format").to_string();
    assert!(told.contains("has format 2, this build knows 1; upgrade to read it"), "{told}");
}

#[test]
fn archive_of_another_log_is_refused() {
    let world = three_days();
    let other = Meta::new(8, Clock::Event, Partitions::all(2));
    let error = Copier::new(world.archive(), other.clone()).claim().expect_err("another log");
    assert!(matches!(error, LogError::OtherArchive { found: 7, wanted: 8, .. }), "{error}");
    let disk = Memory::default();
    drop(Log::open(Arc::new(disk.clone()), Path::new(DIR), &other, SMALL, &Registry::new()).expect("a log"));
    let behind = world.archive().open(None).expect("an archive").behind;
    let error = TopicReader::open_behind(&disk, Path::new(DIR), Topic::Scans, Some(&behind)).expect_err("another log");
    assert!(error.to_string().contains("give each log an archive of its own"), "{error}");
    let empty = Archive::new(Arc::new(Directory::new(Arc::new(disk), Path::new("nothing"))));
    assert!(matches!(empty.open(None).expect_err("nothing"), LogError::NoArchive { .. }));
}

/// A log that was restored from an older copy, and went on, is not what was archived of it.
#[test]
fn log_that_was_rewound_is_not_archived_further() {
    let mut world = three_days();
    let copier = world.copier();
    let mut older = World::new();
    for hour in 0..12 {
        older.append(0, Some(DAY_0 + hour));
    }
    older.disk = world.disk.clone();
    assert_eq!(older.copy(&copier, 0).expect("the same length").segments, 0);
    older.append(0, Some(DAY_0 + 3 * DAY_MS));
    let error = older.copy(&copier, 0).expect_err("another record");
    assert!(error.to_string().starts_with("scans partition 0 offset 11: the log holds another record"), "{error}");
    world.append(0, Some(DAY_0 + 3 * DAY_MS));
    assert_eq!(world.copy(&copier, 0).expect("its own log").segments, 1);
    let error = World::new().copy(&copier, 0).expect_err("a short log");
    assert!(matches!(error, LogError::Short { wanted: 13, .. }), "{error}");
}

/// What the log removed too early is counted, and told to those who read it.
#[test]
fn records_that_are_removed_before_they_are_archived_are_counted() {
    let mut world = three_days();
    let copier = world.copier();
    for hour in 0..30 {
        world.append(0, Some(DAY_0 + 3 * DAY_MS + hour));
    }
    let start = world.retire(0, 40);
    assert!(start > 12);
    let copied = world.copy(&copier, 0).expect("copied");
    assert_eq!((copied.lost, copied.next, copied.is_whole), (start - 12, 42, true));
    let told = world.read(0, None, true).expect_err("a hole").to_string();
    assert!(told.contains(&format!("offsets 12 to {} are missing", start - 1)), "{told}");
    let later = world.read(0, Some(DAY_0 + 3 * DAY_MS), false).expect("readable");
    assert_eq!(later, world.expected(0, 42)[usize::try_from(start).expect("small")..]);
}

#[test]
fn days_that_are_over_for_long_enough_are_removed() {
    let world = three_days();
    let copier = world.copier();
    let day = |days: u64| Duration::from_hours(24 * days);
    assert_eq!(copier.remove_old(0, day(2)).expect("removed"), 0);
    // The latest event was received three hours into the third day.
    assert_eq!(copier.remove_old(0, day(1)).expect("removed"), 1);
    assert_eq!(world.read(0, None, true).expect("readable"), world.expected(0, 12)[4..]);
    // The last one stays.
    assert_eq!(copier.remove_old(0, day(0)).expect("removed"), 1);
    assert_eq!((world.names(0).len(), copier.remove_old(0, day(0)).expect("removed")), (1, 0));
    assert_eq!(world.copy(&copier, 0).expect("copied").segments, 0);
}
