//! A task that is restored from segments, at any moment, gives the same answers, byte for byte, as a desk that ran without interruption.
//! Snapshots are written in small parts between records, some are lost, and new bases are written beside.

use std::path::Path;
use std::sync::Arc;

use domain::desk::shopper::ShopperDesk;
use domain::model::address::{PartitionId, Partitions, Topic};
use domain::model::rules::rulebook::Library;
use domain::protocol::behaviour::Build;
use domain::protocol::stage::{Output, Stage, StageOptions};
use eventlog::api::Record;
use eventlog::files::Files;
use eventlog::files::memory::Memory;
use eventlog::local::meta::{Clock, Meta};
use sim::generate::rng::Rng;
use worker::segment::SegmentSizes;
use worker::snapshot::{Listed, Snapshots};
use worker::task::{DeskTask, Task};

use crate::restored::{Records, SEEDS, scans};

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
    met: &'a mut Met,
}

impl Run<'_> {
    fn snapshots(&self) -> Snapshots {
        let sizes = SegmentSizes { segment: 250, base_after: 900 };
        Snapshots::new(Arc::clone(&self.files), Path::new("snapshots")).with_sizes(sizes)
    }

    fn open(&self) -> DeskTask<ShopperDesk> {
        DeskTask::open(Build::this(), &meta(), 0, &self.snapshots(), self.library).expect("a snapshot")
    }

    /// Runs a task over all records; checks every answer, whenever it is given.
    fn check(&mut self, never: &[Vec<Output>]) {
        let mut task = self.open();
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
                task = self.restart();
                begun_at = None;
            }
        }
    }

    fn restart(&mut self) -> DeskTask<ShopperDesk> {
        let source = PartitionId { log: meta().topic_id(Topic::Scans), topic: Topic::Scans, partition: 0 };
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

fn at(task: &DeskTask<ShopperDesk>) -> usize {
    usize::try_from(task.next_offset()).expect("few records")
}

/// The answers to each record of a desk that runs without interruption.
fn by_record(records: &Records, library: &Library) -> Vec<Vec<Output>> {
    let (log, partitions) = (meta().topic_id(Topic::Scans), Partitions::all(1));
    let mut stage = Stage::<ShopperDesk>::new(StageOptions::default(), ShopperDesk::default(), log, 0, partitions);
    let records = (0..).zip(records).map(|(offset, (append, record))| {
        let mut answers = Vec::new();
        stage.step(offset, *append, record, library, &mut answers).expect("a frame");
        answers
    });
    records.collect()
}

#[test]
fn task_restored_from_segments_answers_like_uninterrupted_desk() {
    let mut met = Met::default();
    for seed in 0..SEEDS / 4 {
        let (library, records) = scans(seed);
        let never = by_record(&records, &library);
        for variant in 0..3 {
            let rng = Rng::new(seed << 8 | variant);
            let files: Arc<dyn Files> = Arc::new(Memory::default());
            Run { records: &records, library: &library, rng, files: Arc::clone(&files), met: &mut met }.check(&never);
            let snapshots = Snapshots::new(files, Path::new("snapshots"));
            for listed in snapshots.list().expect("a store") {
                let Listed { offset, .. } = listed;
                let snapshot = snapshots.read(&listed).unwrap_or_else(|error| panic!("seed {seed}, {offset}: {error}"));
                for segment in snapshot.chain.iter().flat_map(|chain| &chain.segments) {
                    snapshots.read_segment(&listed, segment).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                }
            }
        }
    }
    let Met { restored, long, slow, lost, rebased } = met;
    assert!([restored, long, slow, lost, rebased].iter().all(|count| *count > 20), "{met:?}");
}
