//! A restored desk gives the same answers, byte for byte, as a desk that ran without interruption.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::desk::campaign::CampaignDesk;
use domain::desk::code::CodeDesk;
use domain::desk::shopper::ShopperDesk;
use domain::frame::Frame;
use domain::model::address::{Partitions, Topic};
use domain::model::fact::{Fact, Metric, What};
use domain::model::rules::RulesSeq;
use domain::model::rules::rulebook::Library;
use domain::model::time::Millis;
use domain::protocol::stage::{BEHAVIOUR, Desk, Marker, Output, Stage, StageOptions, marker_record};
use eventlog::local::meta::Clock;
use sim::RulesStore;
use sim::clients::Clients;
use sim::edge::Edge;
use sim::generate::generate_with_later;
use sim::generate::rng::Rng;
use sim::safeguards::sweeping_desk::SweepingDesk;
use wire::event::Merchants;

pub(crate) const SEEDS: u64 = 200;

/// (append time, record)
pub(crate) type Records = Vec<(Millis, Vec<u8>)>;

/// The records of a seed's clients, with rules that change between them.
pub(crate) fn scans(seed: u64) -> (Library, Records) {
    let mut rng = Rng::new(seed);
    let (case, later) = generate_with_later(seed, 150, 2);
    let rules_store = RulesStore::new(&case.files, &[case.rules_files.clone(), later].concat());
    let library: Library =
        (1..).map(RulesSeq).zip(&rules_store.texts).map(|(seq, text)| (seq, Arc::new(text.book(seq)))).collect();
    let merchants = Merchants::new(library.values().map(|b| (b.rules.merchant.clone(), b.rules.currency.clone())));
    let mut clients = Clients::new(&case.lines, &merchants, &mut rng);
    let mut markers = library.values().map(|book| {
        let (merchant, sha256) = (&*book.rules.merchant, book.sha256);
        marker_record(&Marker { merchant, seq: book.seq, sha256, behaviour: BEHAVIOUR })
    });
    let mut records: Records = markers.by_ref().take(case.rules_files.len()).map(|marker| (0, marker)).collect();
    let mut edge = Edge::new(0, 0);
    let mut now = 0;
    while let Some(batch) = clients.unsent() {
        let attempt = clients.begin(batch);
        let lines = clients.batch(batch);
        now = lines.iter().map(|line| line.at).fold(now, Millis::max);
        let into = edge.take(lines, attempt, &merchants, Clock::Wall, now, 1);
        clients.wait(attempt, [].into());
        let frame = into.first().and_then(|&partition| edge.flush(partition));
        records.extend(frame.map(|(append, _)| (now, append.record)));
        if rng.percent(2) {
            records.extend(markers.next().map(|marker| (now, marker)));
        }
    }
    (library, records)
}

/// The answers of a desk that is restored from its own snapshot before each of the records `cuts`.
fn answers<D: Desk>(records: &Records, library: &Library, cuts: &[usize]) -> Vec<Output> {
    let options = StageOptions::default();
    let mut stage = Stage::<D>::new(options, D::default(), 1, 0, Partitions::all(1));
    let mut all = Vec::new();
    for (at, (append, record)) in records.iter().enumerate() {
        if cuts.contains(&at) {
            let restored = Stage::restore(options, &stage.save(), 1, 0, Partitions::all(1), library);
            stage = restored.expect("its own snapshot");
        }
        stage.step(at as u64, *append, record, library, &mut all).expect("a frame");
    }
    all
}

/// The records that the next desk reads: the markers, and the answers for it.
pub(crate) fn behind(records: &Records, answers: &[Output], topic: Topic) -> Records {
    let is_marker = |record: &[u8]| Frame::open(record).is_ok_and(|frame| frame.kind == domain::frame::Kind::Marker);
    let markers = records.iter().filter(|(_, record)| is_marker(record)).cloned();
    let frames = answers.iter().filter(|a| a.topic == topic).map(|a| (0, a.record.clone()));
    markers.chain(frames).collect()
}

fn check<D: Desk>(seed: u64, records: &Records, library: &Library) -> Vec<Output> {
    let mut rng = Rng::new(seed ^ D::TOPIC as u64);
    let cuts: Vec<usize> = (0..1 + rng.below(6)).map(|_| rng.below(records.len())).collect();
    let never = answers::<D>(records, library, &[]);
    let restored = answers::<D>(records, library, &cuts);
    assert_eq!(never.len(), restored.len(), "seed {seed}, {}, restored at {cuts:?}", D::TOPIC);
    for (at, (never, restored)) in never.iter().zip(&restored).enumerate() {
        assert_eq!(never, restored, "seed {seed}, {}, restored at {cuts:?}: answer {at}", D::TOPIC);
    }
    never
}

/// Number of duplicates, entries and awards in answers, which shows that the test covers them.
fn facts(answers: &[Output]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers.iter().filter(|a| a.topic == Topic::Facts) {
        for fact in Frame::open(&answer.record).expect("a frame").items::<Fact<'_>>() {
            let kind = match fact.expect("a fact").what {
                What::Count { metric: Metric::Duplicates, .. } => "duplicates",
                What::Count { metric: Metric::Entries, .. } => "entries",
                What::Award(_) => "awards",
                _ => continue,
            };
            *counts.entry(kind).or_default() += 1;
        }
    }
    counts
}

#[test]
fn restored_desk_answers_like_uninterrupted_desk() {
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..SEEDS {
        let (library, records) = scans(seed);
        let shopper = check::<ShopperDesk>(seed, &records, &library);
        let draws = behind(&records, &shopper, Topic::Draws);
        let code = check::<CodeDesk>(seed, &draws, &library);
        let campaign = check::<CampaignDesk>(seed, &behind(&records, &code, Topic::Awards), &library);
        for (kind, count) in [shopper, code, campaign].iter().flat_map(|answers| facts(answers)) {
            *all.entry(kind).or_default() += count;
        }
    }
    assert!(["duplicates", "entries", "awards"].iter().all(|kind| all.get(kind).is_some_and(|n| *n > 100)), "{all:?}");
}

/// The answers differ if the sweep decides what is expired, instead of the comparison of times.
#[test]
fn expiry_by_sweep_changes_answers() {
    let differs = |seed: u64| {
        let (library, records) = scans(seed);
        answers::<SweepingDesk>(&records, &library, &[]) != answers::<ShopperDesk>(&records, &library, &[])
    };
    assert!((0..SEEDS).any(differs));
}
