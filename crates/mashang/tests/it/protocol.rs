//! The protocol under fire: any cut of the stream into frames, any crash and replay from any earlier state, any zombie
//! that goes on gives the same ledger; a lost frame is an alarm, never a wrong number.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::desk::campaign::CampaignDesk;
use domain::desk::code::CodeDesk;
use domain::desk::shopper::ShopperDesk;
use domain::flow::{BEHAVIOUR, Desk, Guards, Marker, Output, Partitions, Stage, Stop, marker_record};
use domain::frame::{Body, Frame, Kind, seal};
use domain::model::fact::{Fact, What};
use domain::model::ids;
use domain::model::place::Topic;
use domain::model::rulebook::{Library, Rulebook};
use domain::model::time::Millis;
use ledger::export::{Format, Table, export};
use ledger::schema::{LedgerError, Origin, create};
use ledger::writer::{Durability, Writer};
use proptest::prelude::*;
use wire::event::{Merchants, read};
use wire::rules::Reference;

use crate::generate::{Case, generate};
use crate::naive;

const EVENTS: usize = 120;
/// Every switched-off safeguard must be found within so many cases.
const CASES_MAX: u64 = 200;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// An actor takes so many records.
    Step {
        actor: usize,
        records: usize,
    },
    /// An actor's state is kept for later.
    Keep {
        actor: usize,
    },
    /// An actor is gone after its next record and some of the answers; it goes on from a kept state, or the beginning.
    Crash {
        actor: usize,
        answers: usize,
        kept: usize,
    },
    /// An actor is taken for dead and replaced by itself; the old one takes so many records more.
    Zombie {
        actor: usize,
        records: usize,
    },
    /// The last record of an actor's answers is in the log twice.
    Twice {
        actor: usize,
    },
    /// An answer is reported as written and is not there.
    Lose {
        actor: usize,
    },
    /// The ledger commits; is gone with all that it had not committed; another one commits the same.
    Commit,
    LedgerCrash,
    LedgerZombie {
        records: usize,
    },
}

/// A log, three kinds of desks and a ledger, one thread.
struct World {
    library: Library,
    partitions: Partitions,
    log: BTreeMap<(Topic, u16), Vec<Vec<u8>>>,
    actors: Vec<Actor>,
    url: String,
    /// Keeps the database in memory while writers come and go.
    anchor: rusqlite::Connection,
    ledgers: Vec<Writer>,
    guards: Guards,
    lost: bool,
}

#[derive(Clone)]
struct Actor {
    now: AnyStage,
    kept: Vec<AnyStage>,
    last: Option<Output>,
}

#[derive(Clone)]
enum AnyStage {
    Shopper(Box<Stage<ShopperDesk>>, u16),
    Code(Box<Stage<CodeDesk>>, u16),
    Campaign(Box<Stage<CampaignDesk>>, u16),
}

impl AnyStage {
    fn input(&self) -> (Topic, u16) {
        match self {
            Self::Shopper(_, p) => (Topic::Scans, *p),
            Self::Code(_, p) => (Topic::Draws, *p),
            Self::Campaign(_, p) => (Topic::Awards, *p),
        }
    }

    /// Takes the next record of its partition, if there is one.
    fn step(
        &mut self,
        log: &BTreeMap<(Topic, u16), Vec<Vec<u8>>>,
        library: &Library,
    ) -> Result<Option<Vec<Output>>, Stop> {
        fn step<D: Desk>(
            stage: &mut Stage<D>,
            log: &[Vec<u8>],
            library: &Library,
        ) -> Result<Option<Vec<Output>>, Stop> {
            let offset = stage.next_offset();
            let Some(record) = log.get(usize::try_from(offset).expect("small")) else { return Ok(None) };
            let mut answers = Vec::new();
            stage.step(offset, Millis::MAX, record, library, &mut answers)?;
            Ok(Some(answers))
        }
        let input = log.get(&self.input()).map_or(&[][..], Vec::as_slice);
        match self {
            Self::Shopper(stage, _) => step(stage, input, library),
            Self::Code(stage, _) => step(stage, input, library),
            Self::Campaign(stage, _) => step(stage, input, library),
        }
    }
}

fn stage<D: Desk + Default>(partition: u16, partitions: Partitions, guards: Guards) -> Box<Stage<D>> {
    let mut stage = Stage::new(D::default(), ids::digest128(&["test", D::TOPIC.as_str()]), partition, partitions);
    stage.positions.guards = guards;
    Box::new(stage)
}

fn library(case: &Case) -> Library {
    let file = |name: &str| case.files.iter().find(|(n, _)| n == name).map(|(_, content)| content.as_bytes().to_vec());
    let mut open = |reference: Reference<'_>| {
        let name = match reference {
            Reference::Register(name) => name,
            Reference::Secret(place) => place.strip_prefix("file:").expect("a file"),
        };
        file(name).ok_or_else(|| "is not there".to_owned())
    };
    let book = |(order, name): (u32, &String)| {
        let text = String::from_utf8(file(name).expect("a rules file")).expect("UTF-8");
        let checked = wire::rules::read(name, &text, &mut open).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let sha256 = wire::rules::version(&wire::rules::object(&checked.rules));
        (order, Arc::new(Rulebook::new(checked.rules, order, sha256, &checked.secrets).expect("rules that work")))
    };
    (1..).zip(&case.rules_files).map(book).collect()
}

/// Frames of the case's events, cut where `cuts` says, by partition.
fn frames(case: &Case, library: &Library, cuts: &[usize], partitions: u16) -> Vec<(u16, Vec<u8>)> {
    let merchants = Merchants::new(library.values().map(|b| (b.rules.merchant.clone(), b.rules.currency.clone())))
        .with_dump_lines();
    let mut cuts = cuts.iter().cycle();
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
        let partition = ids::partition(ids::shard(event.shopper_key), partitions);
        let (body, left) = bodies.entry(partition).or_default();
        if *left == 0 && !body.is_empty() {
            close(partition, body, received);
        }
        if *left == 0 {
            *left = *cuts.next().expect("a cycle");
        }
        body.push(&event);
        *left -= 1;
    }
    for (partition, (mut body, _)) in bodies {
        close(partition, &mut body, received);
    }
    frames
}

impl World {
    fn new(case: &Case, name: &str, cuts: &[usize], scans: u16, guards: Guards) -> Self {
        let library = library(case);
        let partitions = Partitions { scans, draws: 1, awards: 1, facts: 1 };
        let mut log: BTreeMap<(Topic, u16), Vec<Vec<u8>>> = BTreeMap::new();
        for book in library.values() {
            let marker =
                Marker { merchant: &book.rules.merchant, order: book.order, sha256: book.sha256, behaviour: BEHAVIOUR };
            for (topic, partitions) in [(Topic::Awards, 1), (Topic::Draws, 1), (Topic::Scans, scans)] {
                for partition in 0..partitions {
                    log.entry((topic, partition)).or_default().push(marker_record(&marker));
                }
            }
        }
        for (partition, record) in frames(case, &library, cuts, scans) {
            log.entry((Topic::Scans, partition)).or_default().push(record);
        }
        let mut stages: Vec<AnyStage> =
            (0..scans).map(|p| AnyStage::Shopper(stage(p, partitions, guards), p)).collect();
        stages.push(AnyStage::Code(stage(0, partitions, guards), 0));
        stages.push(AnyStage::Campaign(stage(0, partitions, guards), 0));
        let actors = stages.into_iter().map(|now| Actor { kept: vec![now.clone()], now, last: None }).collect();
        let url = format!("file:{name}?mode=memory&cache=shared");
        let anchor = rusqlite::Connection::open(&url).expect("a database in memory");
        create(&anchor, Origin::Service).expect("tables");
        let mut world =
            Self { library, partitions, log, actors, url, anchor, ledgers: Vec::new(), guards, lost: false };
        world.ledgers.push(world.ledger());
        world
    }

    fn ledger(&self) -> Writer {
        let db = rusqlite::Connection::open(&self.url).expect("the database in memory");
        let mut writer = Writer::over(db, Durability::Rebuild, 0).expect("a ledger");
        writer.positions.guards = self.guards;
        writer
    }

    fn append(&mut self, output: Output) {
        assert!(output.partition < self.partitions.of(output.topic));
        self.log.entry((output.topic, output.partition)).or_default().push(output.record);
    }

    fn step(&mut self, actor: usize, records: usize) -> Result<(), LedgerError> {
        for _ in 0..records {
            let Some(answers) = self.actors[actor].now.step(&self.log, &self.library)? else { break };
            self.actors[actor].last = answers.last().cloned();
            answers.into_iter().for_each(|answer| self.append(answer));
        }
        Ok(())
    }

    fn read_facts(&mut self, ledger: usize, records: usize) -> Result<bool, LedgerError> {
        let facts = self.log.get(&(Topic::Facts, 0)).map_or(&[][..], Vec::as_slice);
        for i in 0..records {
            let offset = self.ledgers[ledger].next_offset();
            let Some(record) = facts.get(usize::try_from(offset).expect("small")) else { return Ok(i > 0) };
            self.ledgers[ledger].apply(offset, record)?;
        }
        Ok(records > 0)
    }

    fn act(&mut self, op: Op) -> Result<(), LedgerError> {
        let actors = self.actors.len();
        match op {
            Op::Step { actor, records } => self.step(actor % actors, records)?,
            Op::Keep { actor } => {
                let actor = &mut self.actors[actor % actors];
                actor.kept.push(actor.now.clone());
            }
            Op::Crash { actor, answers, kept } => {
                let at = actor % actors;
                let written = self.actors[at].now.step(&self.log, &self.library)?.unwrap_or_default();
                written.into_iter().take(answers).for_each(|answer| self.append(answer));
                let actor = &mut self.actors[at];
                actor.now = actor.kept[kept % actor.kept.len()].clone();
            }
            Op::Zombie { actor, records } => {
                let mut zombie = self.actors[actor % actors].now.clone();
                for _ in 0..records {
                    // A zombie may stop; nobody hears it.
                    let Ok(Some(answers)) = zombie.step(&self.log, &self.library) else { break };
                    answers.into_iter().for_each(|answer| self.append(answer));
                }
            }
            Op::Twice { actor } => {
                if let Some(last) = self.actors[actor % actors].last.clone() {
                    self.append(last);
                }
            }
            Op::Lose { actor } => {
                let at = actor % actors;
                if let Some(answers) = self.actors[at].now.step(&self.log, &self.library)? {
                    self.lost |= !answers.is_empty();
                    answers.into_iter().skip(1).for_each(|answer| self.append(answer));
                }
                // The state that lost it is all that is left.
                let actor = &mut self.actors[at];
                actor.kept = vec![actor.now.clone()];
            }
            Op::Commit => {
                self.read_facts(0, 7)?;
                self.ledgers[0].commit()?;
            }
            Op::LedgerCrash => {
                self.read_facts(0, 3)?;
                self.ledgers[0] = self.ledger();
            }
            Op::LedgerZombie { records } => {
                let zombie = self.ledger();
                self.ledgers.push(zombie);
                self.read_facts(1, records)?;
                self.read_facts(0, 2)?;
                self.ledgers[0].commit()?;
                match self.ledgers.pop().expect("the zombie").commit() {
                    Ok(()) | Err(LedgerError::Moved) => {}
                    Err(other) => return Err(other),
                }
                // Whoever committed last, the next one goes on from there.
                self.ledgers[0] = self.ledger();
            }
        }
        Ok(())
    }

    /// Lets everything come to rest and says what the ledger holds.
    fn settle(mut self, tables: &[Table]) -> Result<String, LedgerError> {
        loop {
            let before: usize = self.log.values().map(Vec::len).sum();
            for actor in 0..self.actors.len() {
                self.step(actor, usize::MAX)?;
            }
            if self.log.values().map(Vec::len).sum::<usize>() == before {
                break;
            }
        }
        self.read_facts(0, usize::MAX)?;
        self.ledgers[0].commit()?;
        let mut text = Vec::new();
        for &table in tables {
            export(&self.anchor, table, Format::Csv, &mut text)?;
        }
        Ok(String::from_utf8(text).expect("UTF-8"))
    }
}

/// Every database in memory needs a name of its own.
fn unique() -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    format!("ledger-{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

/// Tables that do not hang on races between shoppers for a code or a prize.
const WITHOUT_RACES: [Table; 4] = [Table::Postings, Table::Orders, Table::Members, Table::Funnels];

fn undisturbed(case: &Case, tables: &[Table]) -> String {
    World::new(case, &unique(), &[1], 1, Guards::default()).settle(tables).expect("nothing stops an undisturbed run")
}

fn ops() -> impl Strategy<Value = Op> {
    let actor = || 0..5_usize;
    prop_oneof![
        6 => (actor(), 1..30_usize).prop_map(|(actor, records)| Op::Step { actor, records }),
        2 => actor().prop_map(|actor| Op::Keep { actor }),
        2 => (actor(), 0..3_usize, 0..8_usize).prop_map(|(actor, answers, kept)| Op::Crash { actor, answers, kept }),
        2 => (actor(), 1..12_usize).prop_map(|(actor, records)| Op::Zombie { actor, records }),
        1 => actor().prop_map(|actor| Op::Twice { actor }),
        1 => Just(Op::Commit),
        1 => Just(Op::LedgerCrash),
        1 => (0..20_usize).prop_map(|records| Op::LedgerZombie { records }),
    ]
}

/// What a run under fire came to.
enum End {
    Ledger(String),
    Alarm(LedgerError),
}

fn under_fire(
    case: &Case,
    cuts: &[usize],
    ops: &[Op],
    scans: u16,
    guards: Guards,
    compare: bool,
    tables: &[Table],
) -> (End, bool) {
    let mut world = World::new(case, &unique(), cuts, scans, guards);
    world.ledgers[0].compare = compare;
    for &op in ops {
        if let Err(alarm) = world.act(op) {
            return (End::Alarm(alarm), world.lost);
        }
    }
    let lost = world.lost;
    (world.settle(tables).map_or_else(End::Alarm, End::Ledger), lost)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn crashes_replays_and_zombies_change_nothing(
        seed in 0..2_000_u64,
        cuts in proptest::collection::vec(1..40_usize, 1..8),
        ops in proptest::collection::vec(ops(), 0..60),
        scans in prop_oneof![2 => Just(1_u16), 1 => Just(3)],
    ) {
        let case = generate(seed, EVENTS);
        let tables = if scans == 1 { &Table::ALL[..] } else { &WITHOUT_RACES };
        match under_fire(&case, &cuts, &ops, scans, Guards::default(), true, tables) {
            (End::Ledger(found), _) => prop_assert_eq!(found, undisturbed(&case, tables)),
            (End::Alarm(alarm), _) => prop_assert!(false, "stopped: {}", alarm),
        }
    }

    #[test]
    fn a_lost_frame_is_an_alarm_never_a_wrong_number(
        seed in 0..2_000_u64,
        ops in proptest::collection::vec(prop_oneof![8 => ops(), 1 => (0..5_usize).prop_map(|actor| Op::Lose { actor })], 0..60),
    ) {
        let case = generate(seed, EVENTS);
        match under_fire(&case, &[3], &ops, 1, Guards::default(), true, &Table::ALL) {
            // A frame that was the last of its chain is missed by nobody; the next one would tell.
            (End::Ledger(found), lost) => prop_assert!(lost || found == undisturbed(&case, &Table::ALL)),
            (End::Alarm(alarm), lost) => prop_assert!(lost, "stopped without a loss: {}", alarm),
        }
    }
}

/// The first case in which a safeguard that is off gives a wrong ledger without an alarm.
fn first_wrong(guards: Guards, ops: &[Op]) -> Option<u64> {
    (0..CASES_MAX).find(|&seed| {
        let case = generate(seed, EVENTS);
        let (end, _) = under_fire(&case, &[3], ops, 1, guards, true, &Table::ALL);
        matches!(end, End::Ledger(found) if found != undisturbed(&case, &Table::ALL))
    })
}

#[test]
fn without_the_drop_rule_a_replay_counts_twice() {
    let ops = [Op::Step { actor: 0, records: 20 }, Op::Crash { actor: 0, answers: 9, kept: 0 }];
    let guards = Guards { drop: false, previous: false };
    println!("found by case {:?}", first_wrong(guards, &ops).expect("a wrong ledger"));
    // With the previous-one rule alone it is at least noticed.
    let guards = Guards { drop: false, previous: true };
    let (end, _) = under_fire(&generate(1, EVENTS), &[3], &ops, 1, guards, true, &Table::ALL);
    assert!(matches!(end, End::Alarm(LedgerError::Stop(Stop::Gap { .. }))));
}

#[test]
fn without_the_previous_one_rule_a_lost_frame_goes_unnoticed() {
    let ops = [Op::Step { actor: 0, records: 10 }, Op::Lose { actor: 0 }, Op::Step { actor: 0, records: 10 }];
    let guards = Guards { drop: true, previous: false };
    println!("found by case {:?}", first_wrong(guards, &ops).expect("a wrong ledger"));
    let (end, _) = under_fire(&generate(1, EVENTS), &[3], &ops, 1, Guards::default(), true, &Table::ALL);
    let End::Alarm(alarm) = end else { panic!("no alarm") };
    assert!(alarm.to_string().contains("a frame is lost"), "{alarm}");
}

#[test]
fn a_second_ledger_writer_changes_nothing() {
    let case = generate(1, EVENTS);
    let mut world = World::new(&case, &unique(), &[3], 1, Guards::default());
    world.step(0, usize::MAX).expect("no alarm");
    let late = world.ledger();
    world.ledgers.push(late);
    world.read_facts(0, 5).expect("no alarm");
    world.read_facts(1, 9).expect("no alarm");
    world.ledgers[0].commit().expect("the first one commits");
    assert!(matches!(world.ledgers[1].commit(), Err(LedgerError::Moved)));
    // Without the comparison it would count five frames twice.
    let mut zombie = world.ledgers.pop().expect("the second one");
    zombie.compare = false;
    zombie.commit().expect("nothing holds it");
    world.ledgers[0] = world.ledger();
    assert_ne!(world.settle(&Table::ALL).expect("no alarm"), undisturbed(&case, &Table::ALL));
}

#[test]
fn another_log_a_diverging_desk_and_a_torn_record_are_named() {
    let case = generate(1, EVENTS);
    let world = || {
        let mut world = World::new(&case, &unique(), &[3], 1, Guards::default());
        world.step(0, 12).expect("no alarm");
        world
    };
    let stop = |world: &mut World| world.read_facts(0, usize::MAX).expect_err("an alarm").to_string();

    let mut torn = world();
    let record = torn.log.get_mut(&(Topic::Facts, 0)).and_then(|log| log.get_mut(4)).expect("a record");
    let middle = record.len() / 2;
    record[middle] ^= 1;
    assert!(stop(&mut torn).contains("facts partition 0 offset 4: the frame's checksum"));

    let mut recreated = world();
    let other = Stage::new(ShopperDesk::default(), 7, 0, recreated.partitions);
    recreated.actors[0].now = AnyStage::Shopper(Box::new(other), 0);
    recreated.step(0, 20).expect("the desk itself notices nothing");
    assert!(stop(&mut recreated).contains("the topic was recreated"));

    let mut diverging = world();
    let without_first = diverging.log.get(&(Topic::Scans, 0)).map(|log| log[log.len() - 20].clone()).expect("records");
    let scans = diverging.log.get_mut(&(Topic::Scans, 0)).expect("scans");
    scans[6] = without_first;
    diverging.actors[0].now = diverging.actors[0].kept[0].clone();
    diverging.step(0, usize::MAX).expect("the desk itself notices nothing");
    assert!(stop(&mut diverging).contains("two desks gave different answers"));
}

#[test]
fn rules_change_at_their_marker_and_an_order_keeps_its_own() {
    let rules = |rate: &str| {
        let text = format!(
            "merchant = \"m\"\ncurrency = \"CNY\"\ntime_zone = \"UTC\"\n[[commission]]\nrate = \"{rate}\"\n\
             [[store]]\nid = \"s\"\n[[guide]]\nid = \"g\"\nstore = \"s\"\n"
        );
        wire::rules::read("m.toml", &text, &mut |_| Err("none".to_owned())).expect("rules").rules
    };
    let book = |order: u32, rate: &str| {
        let rules = rules(rate);
        let sha256 = wire::rules::version(&wire::rules::object(&rules));
        (order, Arc::new(Rulebook::new(rules, order, sha256, &BTreeMap::new()).expect("rules that work")))
    };
    let library: Library = [book(1, "5%"), book(2, "8%")].into();
    let marker = |order: u32| {
        let sha256 = library[&order].sha256;
        marker_record(&Marker { merchant: "m", order, sha256, behaviour: BEHAVIOUR })
    };
    let merchants = Merchants::new([("m", "CNY")]);
    let event = |id: &str, rest: &str| {
        let line = format!("{{\"id\":\"{id}\",\"shopper\":\"u\",\"time\":1794326400000,{rest}}}");
        let arena = bumpalo::Bump::new();
        let mut body = Body::default();
        let mut event = read(line.as_bytes(), &merchants, &arena).expect("an event").event;
        event.stamp = 1_794_326_400_000;
        body.push(&event);
        let mut record = Vec::new();
        body.drain(|bytes, count| record = seal(Kind::Events, event.stamp, None, count, bytes));
        record
    };
    let pay = |id, action, order, amount| {
        event(id, &format!("\"action\":\"{action}\",\"order\":\"{order}\",\"amount\":{amount}"))
    };
    let records = [
        marker(1),
        event("t", "\"action\":\"visit\",\"guide\":\"g\""),
        pay("o1", "order", "1", 10_000),
        marker(2),
        pay("o2", "order", "2", 10_000),
        pay("r1", "refund", "1", 4_000),
        // A late copy of the first marker takes nobody back.
        marker(1),
        pay("r2", "refund", "2", 4_000),
    ];
    let mut stage = stage::<ShopperDesk>(0, Partitions::all(1), Guards::default());
    let mut postings = Vec::new();
    for record in &records {
        let mut answers = Vec::new();
        stage.step(stage.next_offset(), Millis::MAX, record, &library, &mut answers).expect("no alarm");
        for answer in &answers {
            let frame = Frame::open(&answer.record).expect("a frame");
            for fact in frame.items::<Fact<'_>>() {
                if let What::Posting(posting) = fact.expect("a fact").what {
                    postings.push((posting.order.to_owned(), posting.amount));
                }
            }
        }
    }
    let wanted = [("1", 500), ("2", 800), ("1", -200), ("2", -320)];
    assert_eq!(postings, wanted.map(|(order, amount)| (order.to_owned(), amount)));
}

#[test]
fn the_generator_reaches_every_action_and_every_outcome() {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..120 {
        let case = generate(seed, EVENTS);
        let dir = tempfile::tempdir().expect("a directory");
        crate::differential::write(&case, dir.path());
        let files: Vec<_> = case.rules_files.iter().map(Into::into).collect();
        for (what, n) in naive::run(dir.path(), &files, &BTreeMap::new(), &case.lines).seen {
            *seen.entry(what).or_default() += n;
        }
    }
    for (what, n) in &seen {
        println!("{n:8} {what}");
    }
    let wanted = [
        "action: scan",
        "action: visit",
        "action: follow",
        "action: join",
        "action: claim",
        "action: redeem",
        "action: order",
        "action: refund",
        "draw: no-campaign",
        "draw: not-started",
        "draw: ended",
        "draw: out-of-area",
        "draw: yours",
        "draw: limit",
        "draw: already-claimed",
        "draw: nothing drawn",
        "draw: prize",
        "draw: thanks",
        "draw: else granted",
        "grant: no stock",
        "grant: no budget",
        "grant: limit_wins",
        "refund before order",
        "late",
        "duplicate",
        "scan: repeat",
    ];
    for what in wanted {
        assert!(seen.contains_key(what), "never reached: {what}");
    }
}
