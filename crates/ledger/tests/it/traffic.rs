//! Facts of generated events, by facts partition, as desks write them into a log; and all that a ledger returns about them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use domain::desk::campaign::CampaignDesk;
use domain::desk::code::CodeDesk;
use domain::desk::shopper::ShopperDesk;
use domain::frame::{Body, Frame, Kind, seal};
use domain::model::address::{AnswerPos, PartitionId, Partitions, Provenance, Topic, TopicPartition};
use domain::model::fact::{Fact, What};
use domain::model::ids;
use domain::model::rules::RulesSeq;
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::time::Millis;
use domain::protocol::stage::{BEHAVIOUR, Desk, Marker, Output, Stage, StageOptions, marker_record};
use ledger::export::{Format, Table};
use ledger::history::HistoryFormat;
use ledger::reader::Ledger;
use ledger::url::LedgerUrl;
use ledger::writer::Writer;
pub(crate) use sim::generate::rng::Rng;
use sim::generate::{Case, generate};
use wire::event::{Merchants, read};
use wire::rules::Reference;

pub(crate) const PARTITIONS: Partitions = Partitions { scans: 4, draws: 3, awards: 2, facts: 4 };
/// Number of events in a frame.
const FRAME_EVENTS: usize = 5;

/// The records of each facts partition.
#[derive(Debug)]
pub(crate) struct Facts(pub(crate) Vec<Vec<Vec<u8>>>);

/// The facts of the events that a seed generates.
pub(crate) fn facts(seed: u64, events: usize) -> Facts {
    let case = generate(seed, events);
    let library = library(&case);
    let mut log: BTreeMap<(Topic, u16), Vec<Vec<u8>>> = BTreeMap::new();
    for book in library.values() {
        let marker =
            Marker { merchant: &book.rules.merchant, seq: book.seq, sha256: book.sha256, behaviour: BEHAVIOUR };
        for topic in [Topic::Awards, Topic::Draws, Topic::Scans] {
            for partition in 0..PARTITIONS.of(topic) {
                log.entry((topic, partition)).or_default().push(marker_record(&marker));
            }
        }
    }
    for (partition, record) in frames(&case, &library) {
        log.entry((Topic::Scans, partition)).or_default().push(record);
    }
    run_desks::<ShopperDesk>(&mut log, &library);
    run_desks::<CodeDesk>(&mut log, &library);
    run_desks::<CampaignDesk>(&mut log, &library);
    Facts((0..PARTITIONS.facts).map(|p| log.remove(&(Topic::Facts, p)).unwrap_or_default()).collect())
}

fn library(case: &Case) -> Library {
    let file = |name: &str| case.files.iter().find(|(n, _)| n == name).map(|(_, content)| content.as_bytes().to_vec());
    let mut open = |reference: Reference<'_>| {
        let name = match reference {
            Reference::Register(name) => name,
            Reference::Secret(path) => path.strip_prefix("file:").expect("a file"),
        };
        file(name).ok_or_else(|| "is not there".to_owned())
    };
    let book = |(seq, name): (RulesSeq, &String)| {
        let text = String::from_utf8(file(name).expect("a rules file")).expect("UTF-8");
        let checked = wire::rules::read(name, &text, &mut open).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let sha256 = wire::rules::version(&wire::rules::object(&checked.rules));
        (seq, Arc::new(Rulebook::new(checked.rules, seq, sha256, &checked.secrets).expect("rules that work")))
    };
    (1..).map(RulesSeq).zip(&case.rules_files).map(book).collect()
}

fn frames(case: &Case, library: &Library) -> Vec<(u16, Vec<u8>)> {
    let merchants = Merchants::new(library.values().map(|b| (b.rules.merchant.clone(), b.rules.currency.clone())))
        .with_dump_lines();
    let mut bodies: BTreeMap<u16, (Body, usize)> = BTreeMap::new();
    let mut received = 0;
    let mut frames = Vec::new();
    let mut close = |partition: u16, body: &mut Body, received: Millis| {
        body.drain(|bytes, count| frames.push((partition, seal(Kind::Events, received, None, count, bytes))));
    };
    for line in &case.lines {
        let arena = bumpalo::Bump::new();
        let accepted =
            read(line.as_bytes(), &merchants, &arena).unwrap_or_else(|refused| panic!("{line}: {refused:?}"));
        let mut event = accepted.event;
        received = accepted.received.or(event.time).unwrap_or(0).max(received);
        event.stamp = received;
        let partition = ids::partition(ids::shard(event.shopper_key), PARTITIONS.scans);
        let (body, count) = bodies.entry(partition).or_default();
        body.push(&event);
        *count += 1;
        if *count == FRAME_EVENTS {
            close(partition, body, received);
            *count = 0;
        }
    }
    for (partition, (mut body, _)) in bodies {
        close(partition, &mut body, received);
    }
    frames
}

/// Runs a topic through its desks, and appends their answers to the log.
fn run_desks<D: Desk>(log: &mut BTreeMap<(Topic, u16), Vec<Vec<u8>>>, library: &Library) {
    for partition in 0..PARTITIONS.of(D::TOPIC) {
        let id = ids::digest128(&["test", D::TOPIC.as_str()]);
        let mut stage = Stage::new(StageOptions::default(), D::default(), id, partition, PARTITIONS);
        let input = log.get(&(D::TOPIC, partition)).cloned().unwrap_or_default();
        for record in input {
            let mut answers: Vec<Output> = Vec::new();
            stage.step(stage.next_offset(), Millis::MAX, &record, library, &mut answers).expect("no alarm");
            for answer in answers {
                log.entry((answer.topic, answer.partition)).or_default().push(answer.record);
            }
        }
    }
}

impl Facts {
    /// The record at an offset of a partition.
    pub(crate) fn record(&self, facts: u16, offset: usize) -> &[u8] {
        &self.0[usize::from(facts)][offset]
    }

    /// Adds at most `most` records of a partition to a writer, from its next offset on; returns their number.
    pub(crate) fn add(&self, writer: &mut Writer, facts: u16, most: usize) -> usize {
        let from = usize::try_from(writer.next_offset(facts)).expect("small");
        let records = &self.0[usize::from(facts)];
        let records = &records[from.min(records.len())..];
        for (offset, record) in (writer.next_offset(facts)..).zip(records).take(most) {
            writer.apply(facts, offset, record).expect("no alarm");
        }
        records.len().min(most)
    }

    /// Adds all records of its partitions to a writer, with a commit after `step` records of each.
    pub(crate) fn add_all(&self, writer: &mut Writer, step: usize) {
        loop {
            let partitions: Vec<u16> = writer.partitions().collect();
            let taken: usize = partitions.iter().map(|&facts| self.add(writer, facts, step)).sum();
            if taken == 0 {
                break;
            }
            writer.commit().expect("the database is there");
        }
    }

    /// The contents of a ledger of all facts, written into a file without any fault.
    pub(crate) fn undisturbed(&self) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let url = LedgerUrl::file(&dir.path().join("ledger.sqlite"));
        let mut writer = Writer::open(&url, 0..PARTITIONS.facts).expect("a ledger");
        self.add_all(&mut writer, usize::MAX);
        writer.close().expect("closed");
        self.everything(&url)
    }

    /// The results of all queries and exports of a ledger.
    pub(crate) fn everything(&self, url: &LedgerUrl) -> String {
        let mut ledger = Ledger::open(url).expect("a ledger");
        let mut said = Vec::new();
        for table in Table::ALL {
            for format in Format::ALL {
                ledger.export(table, format, &mut said).expect("exported");
            }
        }
        let names = Names::of(self);
        for code in &names.codes {
            ledger.explain_code(code, None, HistoryFormat::Text, &mut said).expect("explained");
        }
        let mut said = String::from_utf8(said).expect("UTF-8");
        for &event in &names.events {
            writeln!(said, "{event:032x}: {:?}", ledger.answer(event).expect("answered")).expect("a string");
        }
        for (merchant, code, shopper) in &names.entries {
            let entry = ledger.entry(merchant, code, shopper).expect("answered");
            writeln!(said, "{merchant} {code} {shopper}: {entry:?}").expect("a string");
        }
        for merchant in &names.merchants {
            writeln!(said, "{merchant}: {:?}", ledger.totals(merchant).expect("added up")).expect("a string");
        }
        writeln!(said, "{:?}", ledger.progress().expect("the progress")).expect("a string");
        writeln!(said, "{:?}", ledger.logs().expect("logs")).expect("a string");
        said
    }
}

/// Adds a record of facts to a writer's partition, after the last one.
pub(crate) fn apply(writer: &mut Writer, partition: u16, received: Millis, facts: &[Fact<'_>]) {
    let mut body = Body::default();
    facts.iter().for_each(|fact| body.push(fact));
    let source = PartitionId { log: 1, topic: Topic::Scans, partition };
    let offset = writer.next_offset(partition);
    let last = writer.positions(partition).get(TopicPartition::new(Topic::Scans, partition));
    let (prev, hash) = (last.map(|last| last.at), last.map_or(0, |last| last.hash));
    let tag = Provenance { source, at: AnswerPos { offset, part: 0 }, prev, hash };
    body.drain(|bytes, count| {
        let record = seal(Kind::Facts, received, Some(&tag), count, bytes);
        writer.apply(partition, offset, &record).expect("no alarm");
    });
}

/// The names that queries need.
#[derive(Default)]
struct Names {
    merchants: BTreeSet<String>,
    codes: BTreeSet<String>,
    events: BTreeSet<u128>,
    entries: BTreeSet<(String, String, String)>,
}

impl Names {
    fn of(facts: &Facts) -> Self {
        let mut names = Self::default();
        for record in facts.0.iter().flatten() {
            let frame = Frame::open(record).expect("a frame");
            for fact in frame.items::<Fact<'_>>() {
                let Fact { merchant, what } = fact.expect("a fact");
                names.merchants.insert(merchant.to_owned());
                match what {
                    What::Answer(answer) => drop(names.events.insert(answer.key)),
                    What::Seen { code, shopper, .. } => {
                        names.codes.insert(code.to_owned());
                        names.entries.insert((merchant.to_owned(), code.to_owned(), shopper.to_owned()));
                    }
                    _ => {}
                }
            }
        }
        names
    }
}
