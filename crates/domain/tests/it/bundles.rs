//! Bundles in the protocol: whatever frames share records, and however often they come, a desk applies each once.

use domain::frame::{Frame, Frames, Kind, bundle, decode, encode, seal};
use domain::model::address::{AnswerPos, PartitionId, Partitions, Provenance, Topic};
use domain::model::fact::{Fact, Metric, Scope, What};
use domain::model::rules::rulebook::Library;
use domain::model::time::Millis;
use domain::protocol::behaviour::Behaviour;
use domain::protocol::error::{DeskError, RestoreError};
use domain::protocol::positions::{Admission, Position, Positions};
use domain::protocol::stage::segments::Segments;
use domain::protocol::stage::{Desk, Outbox, Output, Stage, StageOptions};
use proptest::prelude::*;

/// Counts the items of frames, which are numbers.
#[derive(Clone, Default)]
struct Adder(u64);

impl Segments for Adder {}

impl Desk for Adder {
    const TOPIC: Topic = Topic::Draws;

    fn save(&self) -> Vec<u8> {
        encode(&self.0)
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        Vec::new()
    }

    fn load(state: &[u8], _: &Library, _: Option<Behaviour>) -> Result<Self, RestoreError> {
        Ok(Self(decode(state)?))
    }

    fn apply(&mut self, frame: &Frame<'_>, _: Millis, _: &Library, out: &mut Outbox) -> Result<Millis, DeskError> {
        for item in frame.items::<u64>() {
            let delta = item?;
            self.0 += delta;
            let delta = delta.cast_signed();
            let what = What::Count { scope: Scope::Merchant, key: "*", day: 1, metric: Metric::Scans, delta };
            out.fact(&Fact { merchant: "m", what });
        }
        Ok(frame.received)
    }
}

fn stage() -> Stage<Adder> {
    Stage::new(StageOptions::default(), Adder::default(), 9, 0, Partitions::all(1))
}

/// The chain of frames that a desk of `scans` sends for a partition: one item each, from 1 on.
fn chain(partition: u16, frames: u64) -> Vec<Vec<u8>> {
    let mut positions = Positions::default();
    let source = PartitionId { log: 8, topic: Topic::Scans, partition };
    let mut sealed = Vec::new();
    for number in 1..=frames {
        let last: Option<Position> = positions.get(source.topic_partition()).copied();
        let at = AnswerPos { offset: number * 3, part: 0 };
        let tag = Provenance { source, at, prev: last.map(|l| l.at), hash: last.map_or(0, |l| l.hash) };
        let received = 1_000 * i64::from(partition) + number.cast_signed();
        let record = seal(Kind::CodeScans, received, Some(&tag), 1, &encode(&number));
        let frame = Frame::open(&record).expect("a frame");
        assert_eq!(positions.admit(&frame, &tag).expect("the next one"), Admission::Apply);
        sealed.push(record);
    }
    sealed
}

/// One record of one or more frames.
fn record(frames: &[Vec<u8>]) -> Vec<u8> {
    match frames {
        [only] => only.clone(),
        _ => bundle(frames.iter().map(Vec::as_slice)),
    }
}

/// Applies records, and returns the sum that the ledger gets.
fn run(records: &[Vec<u8>]) -> (Stage<Adder>, i64, Vec<Output>) {
    let (mut stage, mut answers) = (stage(), Vec::new());
    for record in records {
        stage.step(stage.next_offset(), 0, record, &Library::default(), &mut answers).expect("it goes on");
    }
    let (mut ledger, mut sum) = (Positions::default(), 0);
    for answer in &answers {
        for frame in Frames::open(&answer.record).expect("frames") {
            assert_eq!(ledger.admit(&frame, &frame.tag.expect("a tag")).expect("no alarm"), Admission::Apply);
            for fact in frame.items::<Fact<'_>>() {
                let What::Count { delta, .. } = fact.expect("a fact").what else { continue };
                sum += delta;
            }
        }
    }
    (stage, sum, answers)
}

proptest! {
    /// Writers bundle as they like, die at any place, and send all or some of it again, bundled otherwise.
    #[test]
    fn any_bundling_and_any_replay_gives_the_same_sums(
        cuts in proptest::collection::vec((0_usize..3, 1_usize..6, 0_usize..9), 1..60),
    ) {
        let chains: Vec<Vec<Vec<u8>>> = (0..3).map(|partition| chain(partition, 20)).collect();
        // A pending bundle has frames of several sources; each cut adds some of one, beginning up to 8 frames back.
        let (mut next, mut pending, mut records) = ([0; 3], Vec::new(), Vec::new());
        for (source, frames, back) in cuts {
            let from = if back > 5 { next[source].min(20) } else { usize::saturating_sub(next[source], back) };
            let until = (from + frames).min(20).max(from);
            pending.extend_from_slice(&chains[source][from..until]);
            next[source] = until.max(next[source]);
            if pending.len() > 7 {
                records.push(record(&std::mem::take(&mut pending)));
            }
        }
        for (source, chain) in chains.iter().enumerate() {
            pending.extend_from_slice(&chain[next[source]..]);
        }
        if !pending.is_empty() {
            records.push(record(&pending));
        }
        let (stage, sum, _) = run(&records);
        prop_assert_eq!(sum, 3 * 20 * 21 / 2);
        prop_assert_eq!(stage.positions().missing().count(), 0);
        // The same frames, one a record.
        let single: Vec<Vec<u8>> = chains.concat();
        prop_assert_eq!(run(&single).1, sum);
    }
}

#[test]
fn record_of_several_frames_is_answered_once() {
    let frames = [chain(0, 2), chain(1, 3)].concat();
    let (_, sum, answers) = run(&[record(&frames)]);
    assert_eq!((sum, answers.len()), (1 + 2 + 1 + 2 + 3, 1));
    let frame = Frame::open(&answers[0].record).expect("a frame");
    assert_eq!((frame.count, frame.received), (5, 1_003), "the latest `received` of its frames");
    assert_eq!(frame.tag.expect("a tag").at, AnswerPos { offset: 0, part: 0 });
    // A record of which all was applied before has no answer.
    let (_, _, again) = run(&[record(&frames), record(&frames[1..4])]);
    assert_eq!(again, answers);
}

#[test]
fn early_frame_in_a_bundle_waits_while_the_others_are_applied() {
    let (first, second) = (chain(0, 3), chain(1, 1));
    let (stage, sum, _) = run(&[record(&[first[0].clone()]), record(&[first[2].clone(), second[0].clone()])]);
    assert_eq!(sum, 1 + 1);
    let missing = stage.positions().missing().next().expect("an alarm").to_string();
    assert!(
        missing.starts_with("scans partition 0: the frame for offset 9 part 0 follows offset 6 part 0"),
        "{missing}"
    );
    let records = [record(&[first[0].clone()]), record(&[first[2].clone(), second[0].clone()]), record(&first[1..])];
    let (stage, sum, _) = run(&records);
    assert_eq!((sum, stage.positions().missing().count()), (1 + 2 + 3 + 1, 0));
}

#[test]
fn wrong_frame_of_a_bundle_is_named_and_nothing_behind_it_applied() {
    let good = chain(0, 1);
    let source = PartitionId { log: 8, topic: Topic::Scans, partition: 1 };
    let tag = Provenance { source, at: AnswerPos { offset: 1, part: 0 }, prev: None, hash: 0 };
    // An item that is no number of the desk, sealed with a right checksum.
    let bad = seal(Kind::CodeScans, 1, Some(&tag), 2, &[1]);
    let mut answers = Vec::new();
    let mut desk = stage();
    let mut step = |record: &[u8]| desk.step(0, 0, record, &Library::default(), &mut answers);
    let why = step(&record(&[good[0].clone(), bad])).expect_err("a wrong item").to_string();
    assert!(why.starts_with("draws partition 0 offset 0: frame 1 of the bundle cannot be decoded: item 1: "), "{why}");
    // A bundle that is cut: its checksum is wrong, and no frame of it is applied.
    let mut desk = stage();
    let whole = record(&chain(0, 2));
    let cut = desk.step(0, 0, &whole[..whole.len() - 1], &Library::default(), &mut answers);
    assert!(cut.expect_err("cut").to_string().starts_with("draws partition 0 offset 0: the frame's checksum is"));
    assert!(desk.desk().0 == 0 && answers.is_empty());
}
