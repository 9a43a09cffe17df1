//! The protocol with a desk that only echoes: markers, offsets, answers in parts.

use std::sync::Arc;

use domain::frame::{Frame, Kind, PART_BYTES_MAX, bundle, decode, encode, seal};
use domain::model::address::{AnswerPos, PartitionId, Partitions, Provenance, Topic};
use domain::model::fact::{Answer, Fact, Metric, ScanResult, Scope, What};
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::rules::secrets::Secrets;
use domain::model::rules::{Attribution, Dedup, PrizeKind, Rules, RulesSeq};
use domain::model::time::Millis;
use domain::protocol::behaviour::{Behaviour, Build};
use domain::protocol::error::{DeskError, RestoreError};
use domain::protocol::genesis::Genesis;
use domain::protocol::positions::{Admission, Positions, ProtocolError};
use domain::protocol::stage::segments::Segments;
use domain::protocol::stage::{BEHAVIOUR, Desk, Marker, Outbox, Output, Stage, StageOptions, marker_record};

/// Answers every frame with `facts` large facts.
#[derive(Clone, Default)]
struct Echo {
    facts: usize,
    key: String,
    seqs: Vec<RulesSeq>,
}

impl Segments for Echo {}

impl Desk for Echo {
    const TOPIC: Topic = Topic::Scans;

    fn save(&self) -> Vec<u8> {
        encode(&(self.facts, &self.key, &self.seqs))
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        Vec::new()
    }

    fn load(state: &[u8], _: &Library, _: Option<Behaviour>) -> Result<Self, RestoreError> {
        let (facts, key, seqs) = decode(state)?;
        Ok(Self { facts, key, seqs })
    }

    fn apply(&mut self, frame: &Frame<'_>, _: Millis, _: &Library, out: &mut Outbox) -> Result<Millis, DeskError> {
        let count = What::Count { scope: Scope::Store, key: &self.key, day: 1, metric: Metric::Scans, delta: 1 };
        for _ in 0..self.facts {
            out.fact(&Fact { merchant: "m", what: count });
        }
        Ok(frame.received)
    }

    fn switch(&mut self, marker: &Marker<'_>, _: &Library, _: &mut Outbox) -> Result<(), DeskError> {
        self.seqs.push(marker.seq);
        Ok(())
    }
}

fn echo(facts: usize) -> Stage<Echo> {
    let desk = Echo { facts, key: "k".repeat(PART_BYTES_MAX / 3), seqs: Vec::new() };
    Stage::new(StageOptions::default(), desk, 9, 0, Partitions::all(1))
}

fn library() -> Library {
    let rules = Rules {
        merchant: "m".to_owned(),
        currency: "CNY".to_owned(),
        time_zone: "UTC".to_owned(),
        late_ms: 0,
        dedup: Dedup::default(),
        attribution: Attribution::default(),
        commissions: vec![],
        stores: vec![],
        guides: vec![],
        codes: vec![],
        campaigns: vec![],
        funnels: vec![],
        names_max: 5,
        batches: vec![],
        ranges: vec![],
    };
    let book = |seq| Arc::new(Rulebook::new(rules.clone(), seq, [0; 32], &Secrets::default()).expect("rules"));
    (1..4).map(RulesSeq).map(|seq| (seq, book(seq))).collect()
}

fn step(stage: &mut Stage<Echo>, record: &[u8]) -> Result<Vec<Output>, ProtocolError> {
    let mut answers = Vec::new();
    stage.step(stage.next_offset(), 0, record, &library(), &mut answers).map(|_| answers)
}

/// Reads answers as a ledger would; returns how many were applied.
fn read(positions: &mut Positions, answers: &[Output]) -> Result<usize, ProtocolError> {
    let mut applied = 0;
    for answer in answers {
        let frame = Frame::open(&answer.record).expect("a frame");
        applied += usize::from(positions.admit(&frame, &frame.tag.expect("a tag"))? == Admission::Apply);
    }
    Ok(applied)
}

#[test]
fn answer_in_parts_is_one_chain() {
    let record = seal(Kind::Events, 5, None, 0, &[]);
    let mut stage = echo(8);
    let first = step(&mut stage, &record).expect("answers");
    let second = step(&mut stage, &record).expect("answers");
    assert!(first.len() >= 4, "{} parts", first.len());
    let mut positions = Positions::default();
    assert_eq!(read(&mut positions, &first).expect("no alarm"), first.len());

    // A crash after two parts of the second answer: the replay is dropped up to there and continues.
    assert_eq!(read(&mut positions, &second[..2]).expect("no alarm"), 2);
    let mut again = echo(8);
    let replayed: Vec<Output> = (0..2).flat_map(|_| step(&mut again, &record).expect("answers")).collect();
    assert_eq!(read(&mut positions, &replayed).expect("no alarm"), second.len() - 2);

    // A missing part is an alarm that names both positions; what follows it waits until it comes again.
    let third = step(&mut stage, &record).expect("answers");
    let missing = [&third[..1], &third[2..]].concat();
    assert_eq!(read(&mut positions, &missing).expect("reads on"), 1);
    let alarm = positions.missing().next().expect("an alarm").to_string();
    assert!(alarm.contains("but the last one applied was offset 2 part 0: a frame is lost"), "{alarm}");
    assert_eq!(read(&mut positions, &third[1..2]).expect("the lost part"), 1);
    assert_eq!(positions.missing().count(), 1, "the early parts have not come again");
    assert_eq!(read(&mut positions, &third).expect("repaired"), third.len() - 2);
    assert_eq!(positions.missing().count(), 0);
}

#[test]
fn offset_gap_is_refused_and_old_offset_dropped() {
    let record = seal(Kind::Events, 5, None, 0, &[]);
    let mut stage = echo(1);
    let mut answers = Vec::new();
    assert_eq!(stage.step(0, 0, &record, &library(), &mut answers), Ok(Admission::Apply));
    assert_eq!(stage.step(0, 0, &record, &library(), &mut answers), Ok(Admission::Drop));
    assert_eq!(answers.len(), 1);
    let other = seal(Kind::Events, 6, None, 0, &[]);
    let cut = stage.step(0, 0, &other, &library(), &mut answers).expect_err("another record").to_string();
    assert!(cut.contains("scans partition 0: offset 0 holds another record"), "{cut}");
    let alarm = stage.step(2, 0, &record, &library(), &mut answers).expect_err("a hole").to_string();
    assert_eq!(alarm, "scans partition 0: offset 2 came, 1 was next: the log has a hole or was rewound");
}

/// The checksum of a record that was changed after it was sealed.
fn sealed_again(mut record: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&record[..72]), &record[76..]);
    record[72..76].copy_from_slice(&crc.to_le_bytes());
    record
}

#[test]
fn wrong_record_of_scans_is_set_aside_even_if_its_checksum_is_right() {
    let good = seal(Kind::Events, 5, None, 0, &[]);
    let changed = |at: usize, byte: u8| {
        let mut record = good.clone();
        record[at] = byte;
        sealed_again(record)
    };
    let source = PartitionId { log: 3, topic: Topic::Scans, partition: 0 };
    let tag = Provenance { source, at: AnswerPos { offset: 1, part: 0 }, prev: None, hash: 0 };
    let answer = seal(Kind::Facts, 5, Some(&tag), 0, &[]);
    let genesis = Genesis { source, id: 3, is_event_clock: false, partitions: Partitions::all(1) }.record();
    let wrong = [
        (changed(68, 1), "the length of the body"),
        (sealed_again([&good[..], &[0]].concat()), "the length of the body"),
        (changed(5, 77), "the kind"),
        (changed(6, 77), "the topic of the source"),
        (genesis.clone(), "only the first record"),
        (seal(Kind::Genesis, 0, None, 1, &[0xff]), "only the first record"),
        (bundle([&answer[..], &answer].into_iter()), "a bundle of frames, which only draws, awards and facts hold"),
    ];
    let mut stage = echo(1);
    step(&mut stage, &good).expect("an answer");
    for (record, says) in wrong {
        let answers = step(&mut stage, &record).expect("it goes on");
        let frame = Frame::open(&answers[0].record).expect("a frame");
        let reject = domain::protocol::reject::read(&frame).expect("a reject").expect("a reject");
        assert!(answers.len() == 1 && answers[0].topic == Topic::Rejects && reject.why.contains(says), "{reject:?}");
    }
    assert_eq!(step(&mut stage, &good).expect("an answer").len(), 1, "what is behind them is applied");
    // A newer build can read a frame of a newer version; a first record of another log means that the topic was recreated.
    let newer = step(&mut stage, &changed(4, 9)).expect_err("a newer version").to_string();
    assert!(newer.contains("upgrade it"), "{newer}");
    let other = step(&mut echo(1), &genesis).expect_err("another log").to_string();
    assert!(other.contains("the topic was recreated"), "{other}");
}

#[test]
fn old_marker_is_ignored_and_unknown_behaviour_refused() {
    let marker =
        |seq, behaviour| marker_record(&Marker { merchant: "m", seq: RulesSeq(seq), sha256: [0; 32], behaviour });
    let mut stage = echo(1);
    // An ignored marker has no effect, even if it asks for an unknown behaviour.
    for (seq, behaviour) in [(1, BEHAVIOUR), (3, BEHAVIOUR), (2, BEHAVIOUR), (3, BEHAVIOUR + 1)] {
        step(&mut stage, &marker(seq, behaviour)).expect("a marker");
    }
    assert_eq!(stage.desk().seqs, [RulesSeq(1), RulesSeq(3)]);
    let alarm = step(&mut stage, &marker(4, BEHAVIOUR)).expect_err("rules that are not found").to_string();
    assert_eq!(alarm, "scans partition 0 offset 4: rules 4 of m are not found: publish them again");
    let alarm = step(&mut echo(1), &marker(1, BEHAVIOUR + 1)).expect_err("another behaviour").to_string();
    let wanted = "scans partition 0 offset 0: the marker asks for behaviour 7, this build has 1 to 6: upgrade it";
    assert_eq!(alarm, wanted);
}

const OLD: &[Behaviour] = &[Behaviour {
    number: 1,
    part_bytes_max: PART_BYTES_MAX,
    is_bounded: false,
    has_batches: false,
    has_bundles: false,
    has_compact_tables: false,
    has_segments: false,
}];
const BOTH: &[Behaviour] = &[OLD[0], Behaviour { number: 2, part_bytes_max: PART_BYTES_MAX / 8, ..OLD[0] }];
const NEW: &[Behaviour] = &[BOTH[1], Behaviour { number: 3, ..OLD[0] }];

fn options(behaviours: &'static [Behaviour]) -> StageOptions {
    StageOptions { build: Build::new(behaviours), ..StageOptions::default() }
}

/// Answers of builds that replace each other at every record, through a snapshot.
fn relay(builds: &[&'static [Behaviour]], records: &[Vec<u8>]) -> Result<Vec<Output>, String> {
    let mut stage = Stage::new(options(builds[0]), echo(3).desk().clone(), 9, 0, Partitions::all(1));
    let mut all = Vec::new();
    for (build, record) in builds.iter().zip(records) {
        let saved = stage.save();
        stage = Stage::restore(options(build), &saved, 9, 0, Partitions::all(1), &library())
            .map_err(|error| error.to_string())?;
        all.extend(step(&mut stage, record).map_err(|error| error.to_string())?);
    }
    Ok(all)
}

#[test]
fn new_behaviour_begins_at_its_marker_and_stays() {
    let marker =
        |seq, behaviour| marker_record(&Marker { merchant: "m", seq: RulesSeq(seq), sha256: [0; 32], behaviour });
    let events = || seal(Kind::Events, 5, None, 0, &[]);
    let records = [marker(1, 1), events(), marker(2, 2), events(), marker(3, 1), events()];
    let answers = relay(&[BOTH; 6], &records).expect("known behaviours");
    let parts = |offset: u64| {
        let at = |o: &&Output| Frame::open(&o.record).expect("a frame").tag.expect("a tag").at.offset == offset;
        answers.iter().filter(at).count()
    };
    // Two items fit into a part of the old behaviour, one into a part of the new.
    assert_eq!([parts(1), parts(3), parts(5)], [2, 3, 3]);
    // An old build gives the same answers up to the marker, and so does a mixture of both.
    assert_eq!(relay(&[OLD, BOTH, BOTH, BOTH, BOTH, BOTH], &records), Ok(answers.clone()));
    assert_eq!(relay(&[BOTH, OLD, BOTH, BOTH, BOTH, BOTH], &records), Ok(answers));
    // It stops at the marker, and at a snapshot that was taken after it.
    let upgrade = relay(&[OLD; 6], &records).expect_err("an unknown behaviour");
    assert_eq!(upgrade, "scans partition 0 offset 2: the marker asks for behaviour 2, this build has 1: upgrade it");
    let upgrade = relay(&[BOTH, BOTH, BOTH, OLD, OLD, OLD], &records).expect_err("a snapshot");
    assert_eq!(upgrade, "it is of behaviour 2, this build has 1: upgrade it");
    let downgrade = relay(&[BOTH, NEW, NEW, NEW, NEW, NEW], &records).expect_err("a behaviour that is too old");
    assert_eq!(downgrade, "it is of behaviour 1, this build has 2 to 3: downgrade it");
}

#[test]
fn state_and_genesis_of_another_log_are_refused() {
    let saved = echo(1).save();
    let restore =
        |log| Stage::<Echo>::restore(StageOptions::default(), &saved, log, 0, Partitions::all(1), &library()).map(drop);
    assert_eq!(restore(10), Err(RestoreError::Source));
    assert_eq!(restore(9), Ok(()), "its own log");
    let genesis = |log| {
        let source = PartitionId { log, topic: Topic::Scans, partition: 0 };
        Genesis { source, id: log, is_event_clock: false, partitions: Partitions::all(1) }.record()
    };
    let alarm = step(&mut echo(1), &genesis(10)).expect_err("another log").to_string();
    assert!(alarm.contains("the partition is scans partition 0 of log 0000000000000000000000000000000a"), "{alarm}");
    assert_eq!(step(&mut echo(1), &genesis(9)), Ok(Vec::new()), "its own log");
}

/// The log is known from other partitions of the topic, even if this partition has sent nothing yet.
#[test]
fn frame_of_another_log_is_refused_by_topic() {
    let record = seal(Kind::Events, 5, None, 0, &[]);
    let answers = |log, partition| {
        let desk = echo(1).desk().clone();
        let mut stage = Stage::new(StageOptions::default(), desk, log, partition, Partitions::all(1));
        step(&mut stage, &record).expect("answers")
    };
    let mut positions = Positions::default();
    assert_eq!(read(&mut positions, &answers(9, 0)), Ok(1));
    let alarm = read(&mut positions, &answers(10, 1)).expect_err("another log").to_string();
    assert!(alarm.starts_with("scans partition 1: the frame names log 0000000000000000000000000000000a"), "{alarm}");
    assert_eq!(read(&mut positions, &answers(9, 1)), Ok(1), "the same log");
}

/// Answers every frame with the result of a scan and a count.
#[derive(Clone, Default)]
struct Results;

impl Segments for Results {}

impl Desk for Results {
    const TOPIC: Topic = Topic::Scans;

    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        Vec::new()
    }

    fn load(_: &[u8], _: &Library, _: Option<Behaviour>) -> Result<Self, RestoreError> {
        Ok(Self)
    }

    fn apply(&mut self, frame: &Frame<'_>, _: Millis, _: &Library, out: &mut Outbox) -> Result<Millis, DeskError> {
        let (key, received, desk, result) = (1, frame.received, 1, ScanResult::Counted);
        let answer =
            Answer { key, received, desk, result, code: None, campaign: None, prize: None, claim: None, shopper: None };
        let count = What::Count { scope: Scope::Store, key: "s", day: 1, metric: Metric::Scans, delta: 1 };
        for what in [What::Answer(answer), What::Granted { answer, kind: PrizeKind::Points, amount: None }, count] {
            out.fact(&Fact { merchant: "m", what });
        }
        Ok(frame.received)
    }
}

#[test]
fn results_are_left_out_where_nothing_reads_them() {
    for (without_results, facts) in [(false, 3), (true, 1)] {
        let options = StageOptions { without_results, ..StageOptions::default() };
        let mut stage = Stage::new(options, Results, 9, 0, Partitions::all(1));
        let (record, mut answers) = (seal(Kind::Events, 5, None, 0, b""), Vec::new());
        stage.step(0, 5, &record, &Library::new(), &mut answers).expect("a step");
        let frame = Frame::open(&answers[0].record).expect("a frame");
        assert_eq!(frame.count, facts);
        let last = frame.items::<Fact<'_>>().last().expect("a fact").expect("a fact");
        assert!(matches!(last.what, What::Count { .. }));
    }
}
