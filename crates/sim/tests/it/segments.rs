//! A task that is restored from segments, at any moment, gives the same answers, byte for byte, as a desk that ran without interruption.
//! Snapshots are written in small parts between records, some are lost, and new bases are written beside.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use domain::desk::code::CodeDesk;
use domain::desk::shopper::ShopperDesk;
use domain::model::address::{PartitionId, Partitions, Topic};
use domain::model::rules::rulebook::Library;
use domain::protocol::behaviour::Build;
use domain::protocol::stage::segments::Segments;
use domain::protocol::stage::{Desk, Output, Stage, StageOptions};
use eventlog::api::Record;
use eventlog::files::Files;
use eventlog::files::memory::Memory;
use eventlog::local::meta::{Clock, Meta};
use sim::generate::rng::Rng;
use worker::snapshot::Snapshots;
use worker::snapshot::segment::SegmentSizes;
use worker::task::{DeskTask, Task};

use crate::restored::{Records, SEEDS, behind, scans};

/// What the seeds met, which shows that the test covers it.
#[derive(Debug, Default)]
struct Met {
    restored: usize,
    /// Restored from cuts of several segments after a base.
    long: usize,
    /// Cuts during which records were taken.
    slow: usize,
    lost: usize,
    /// New bases while there was an earlier one.
    rebased: usize,
}

struct Run<'a> {
    records: &'a Records,
    library: &'a Library,
    rng: Rng,
    files: Arc<dyn Files>,
    /// Lengths of a segment, and of the changes after which a new base is due.
    sizes: (usize, u64),
    met: &'a mut Met,
}

impl Run<'_> {
    fn snapshots(&self) -> Snapshots {
        let (segment, base_after) = self.sizes;
        let sizes = SegmentSizes { segment, base_after };
        Snapshots::new(Arc::clone(&self.files), Path::new("snapshots")).with_sizes(sizes)
    }

    fn open<D: Desk + Debug + Send>(&self) -> DeskTask<D> {
        DeskTask::open(Build::this(), &meta(), 0, &self.snapshots(), self.library).expect("a snapshot")
    }

    /// Runs a task over all records; checks every answer, whenever it is given.
    fn check<D: Desk + Debug + Send>(&mut self, never: &[Vec<Output>]) {
        let mut task = self.open::<D>();
        let mut begun_at = None;
        while let Some((append, bytes)) = self.records.get(at(&task)) {
            let offset = task.next_offset();
            let mut answers = Vec::new();
            task.take(Record { offset, append: *append, bytes }, self.library, &mut answers).expect("a frame");
            assert_eq!(answers, never[at(&task) - 1], "offset {offset}");
            let handed_out = task.handed_out();
            if !answers.is_empty() {
                task.made_durable(handed_out - answers.len() as u64..handed_out);
            }
            if self.rng.percent(30) && task.take_snapshot() {
                begun_at = Some(offset);
            }
            task.advance_snapshot(50 + self.rng.below(2_000));
            while self.rng.percent(40)
                && let Some(segment) = task.segment()
            {
                // One that is lost breaks the chain: nothing may follow on it.
                if self.rng.percent(97) {
                    self.snapshots().write_segment(task.source(), &segment).expect("room");
                }
            }
            if self.rng.percent(60)
                && let Some(snapshot) = task.snapshot()
            {
                self.met.slow += usize::from(begun_at.is_some_and(|begun| begun < offset));
                if self.rng.percent(90) {
                    // It is refused if one of its segments was lost; then the next one begins with a base.
                    let _ = self.snapshots().write(&snapshot);
                } else {
                    self.met.lost += 1;
                }
            }
            if self.rng.percent(4) {
                task = self.restart::<D>();
                begun_at = None;
            }
        }
    }

    fn restart<D: Desk + Debug + Send>(&mut self) -> DeskTask<D> {
        let source = PartitionId { log: meta().topic_id(D::TOPIC), topic: D::TOPIC, partition: 0 };
        if let Some(chain) = self.snapshots().latest(source).expect("a snapshot").and_then(|s| s.chain) {
            let is_base = |name: &str| name.as_bytes()[21] == b'b';
            let base = chain.segments.iter().filter(|segment| is_base(&segment.name)).count();
            self.met.restored += 1;
            self.met.long += usize::from(base > 1 && chain.segments.len() > base + 2);
            self.met.rebased += usize::from(chain.since > 3);
        }
        self.open()
    }
}

fn meta() -> Meta {
    Meta::new(1, Clock::Wall, Partitions::all(1))
}

fn at(task: &impl Task) -> usize {
    usize::try_from(task.next_offset()).expect("few records")
}

/// The answers to each record of a desk that runs without interruption.
fn by_record<D: Desk>(records: &Records, library: &Library) -> Vec<Vec<Output>> {
    let (log, partitions) = (meta().topic_id(D::TOPIC), Partitions::all(1));
    let mut stage = Stage::<D>::new(StageOptions::default(), D::default(), log, 0, partitions);
    let records = (0..).zip(records).map(|(offset, (append, record))| {
        let mut answers = Vec::new();
        stage.step(offset, *append, record, library, &mut answers).expect("a frame");
        answers
    });
    records.collect()
}

/// Runs tasks over the records, and reads what they stored. Returns the answers.
fn check<D: Desk + Debug + Send>(
    seed: u64,
    (records, library): (&Records, &Library),
    sizes: (usize, u64),
    met: &mut Met,
) -> Vec<Output> {
    let never = by_record::<D>(records, library);
    for variant in 0..3 {
        let rng = Rng::new(seed << 8 | variant);
        let files: Arc<dyn Files> = Arc::new(Memory::default());
        Run { records, library, rng, files: Arc::clone(&files), sizes, met }.check::<D>(&never);
        let snapshots = Snapshots::new(files, Path::new("snapshots"));
        for listed in snapshots.list().expect("a store") {
            snapshots.verify(&listed).unwrap_or_else(|error| panic!("seed {seed}, {}: {error}", listed.offset));
        }
    }
    never.concat()
}

#[test]
fn task_restored_from_segments_answers_like_uninterrupted_desk() {
    let (mut shoppers, mut codes) = (Met::default(), Met::default());
    for seed in 0..SEEDS / 4 {
        let (library, records) = scans(seed);
        let answers = check::<ShopperDesk>(seed, (&records, &library), (250, 900), &mut shoppers);
        let draws = behind(&records, &answers, Topic::Draws);
        check::<CodeDesk>(seed, (&draws, &library), (20, 400), &mut codes);
    }
    for met in [shoppers, codes] {
        let Met { restored, long, slow, lost, rebased } = met;
        assert!([restored, long, slow, lost, rebased].iter().all(|count| *count >= 3), "{met:?}");
    }
}

/// The segments of the last snapshot of a seed, one after the other missing and damaged.
#[test]
fn segment_that_is_missing_or_damaged_is_named() {
    let (library, records) = scans(3);
    let never = by_record::<ShopperDesk>(&records, &library);
    let files: Arc<dyn Files> = Arc::new(Memory::default());
    let (rng, mut met) = (Rng::new(3), Met::default());
    let mut run =
        Run { records: &records, library: &library, rng, files: Arc::clone(&files), sizes: (250, 900), met: &mut met };
    run.check::<ShopperDesk>(&never);
    let source = PartitionId { log: meta().topic_id(Topic::Scans), topic: Topic::Scans, partition: 0 };
    let snapshots = run.snapshots();
    let chain = snapshots.latest(source).expect("a snapshot").and_then(|snapshot| snapshot.chain).expect("segments");
    assert!(chain.segments.len() > 2);
    for segment in &chain.segments {
        let path = Path::new("snapshots/scans-0").join(&segment.name);
        let bytes = eventlog::files::read(&*files, &path).expect("a segment");
        let told = |what: &str| {
            let opened = DeskTask::<ShopperDesk>::open(Build::this(), &meta(), 0, &snapshots, &library);
            let told = opened.expect_err("it is not whole").to_string();
            assert!(told.contains(&format!("its segment {} is {what}", segment.name)), "{told}");
        };
        files.remove(&path).expect("a file");
        told("missing");
        let file = files.open(&path, true).expect("a file");
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        file.write_at(&flipped, 0).expect("room");
        told("not as it was written");
        file.write_at(&bytes, 0).expect("room");
    }
    run.open::<ShopperDesk>();
}

/// Segments that are cut, or have other bytes than were written, are refused or restored to something; never is there a panic.
#[test]
fn damaged_segments_are_refused_without_a_panic() {
    let (mut refused, mut taken) = (0, 0);
    for seed in 0..20 {
        let (library, records) = scans(seed);
        let answers = damage::<ShopperDesk>(seed, &records, &library, (&mut refused, &mut taken));
        damage::<CodeDesk>(seed, &behind(&records, &answers, Topic::Draws), &library, (&mut refused, &mut taken));
    }
    assert!(refused > 500 && taken > 500, "{refused} refused, {taken} taken");
}

fn damage<D: Desk>(
    seed: u64,
    records: &Records,
    library: &Library,
    (refused, taken): (&mut usize, &mut usize),
) -> Vec<Output> {
    let (options, partitions) = (StageOptions::default(), Partitions::all(1));
    let mut stage = Stage::<D>::new(options, D::default(), 1, 0, partitions);
    let mut answers = Vec::new();
    for (offset, (append, record)) in (0..).zip(records) {
        stage.step(offset, *append, record, library, &mut answers).expect("a frame");
        if offset == 5 {
            stage.segments().track();
        }
    }
    let (mut base, mut cut) = (Vec::new(), Vec::new());
    stage.segments().begin_base();
    while !stage.segments().write_base(usize::MAX, &mut base) {}
    stage.segments().cut();
    while !stage.segments().write_cut(usize::MAX, &mut cut) {}
    let head = stage.save_head();
    let mut rng = Rng::new(seed);
    for _ in 0..60 {
        for whole in [&base, &cut].into_iter().filter(|whole| !whole.is_empty()) {
            let mut bytes = whole.clone();
            if rng.percent(20) {
                bytes.truncate(rng.below(bytes.len()));
            }
            for _ in 0..1 + rng.below(3) {
                let at = rng.below(bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(rng.below(256)).expect("a byte");
                }
            }
            let mut restored = Stage::<D>::restore(options, &head, 1, 0, partitions, library).expect("a head");
            match restored.segments().load_segment(&bytes) {
                Ok(()) => *taken += 1,
                Err(_) => *refused += 1,
            }
            restored.segments().loaded();
        }
    }
    answers
}

/// Parts of a base that does not fit would otherwise stay, and fill the store that the log may share.
#[test]
fn full_store_keeps_no_part_of_a_snapshot() {
    let (library, records) = scans(3);
    let mut refused = 0;
    for room in (200..4_000).step_by(100) {
        let disk = Memory::default();
        let (rng, mut met) = (Rng::new(3), Met::default());
        let files: Arc<dyn Files> = Arc::new(disk.clone());
        let run = Run {
            records: &records,
            library: &library,
            rng,
            files: Arc::clone(&files),
            sizes: (250, 900),
            met: &mut met,
        };
        let (mut task, snapshots) = (run.open::<ShopperDesk>(), run.snapshots());
        for (offset, (append, bytes)) in (0..).zip(&records) {
            let mut answers = Vec::new();
            task.take(Record { offset, append: *append, bytes }, &library, &mut answers).expect("a frame");
        }
        task.made_durable(0..task.handed_out());
        disk.set_room(Some(room));
        assert!(task.take_snapshot());
        while task.is_saving(false) {
            task.advance_snapshot(100);
            while let Some(segment) = task.segment() {
                let _ = snapshots.write_segment(task.source(), &segment);
            }
        }
        let written = snapshots.write(&task.snapshot().expect("all answers are durable"));
        disk.set_room(None);
        let names = files.list(Path::new("snapshots/scans-0")).expect("a folder");
        refused += usize::from(written.is_err());
        assert!(written.is_ok() || names.is_empty(), "with room for {room} bytes there is still {names:?}");
    }
    assert!(refused > 5, "{refused} refused");
}
