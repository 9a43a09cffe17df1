//! A log, three kinds of desks and a ledger on one thread, and what can happen to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::desk::campaign::CampaignDesk;
use domain::desk::code::CodeDesk;
use domain::desk::shopper::ShopperDesk;
use domain::frame::{Body, Kind, seal};
use domain::model::address::{Partitions, Topic};
use domain::model::ids;
use domain::model::rulebook::{Library, Rulebook};
use domain::model::time::Millis;
use domain::protocol::positions::ProtocolError;
use domain::protocol::stage::{BEHAVIOUR, Desk, Marker, Output, Stage, StageOptions, marker_record};
use ledger::error::LedgerError;
use ledger::export::{Format, Table};
use ledger::reader::Ledger;
use ledger::schema::{Origin, create};
use ledger::writer::{Durability, Writer};
use sim::generate::Case;
use sim::safeguards::Without;
use sim::safeguards::records::rewritten;
use wire::event::{Merchants, read};
use wire::rules::Reference;

/// The next step of the world.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// An actor takes `records` records.
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
    /// An actor is taken for dead and replaced by itself; the old one takes `records` more records.
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
pub(super) struct World {
    library: Library,
    pub(super) partitions: Partitions,
    pub(super) log: BTreeMap<(Topic, u16), Vec<Vec<u8>>>,
    pub(super) actors: Vec<Actor>,
    url: String,
    /// Keeps the database in memory while writers come and go.
    anchor: rusqlite::Connection,
    pub(super) ledgers: Vec<Writer>,
    without: Without,
    pub(super) lost: bool,
}

#[derive(Clone)]
pub(super) struct Actor {
    pub(super) now: AnyStage,
    pub(super) kept: Vec<AnyStage>,
    last: Option<Output>,
}

#[derive(Clone)]
pub(super) enum AnyStage {
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
    pub(super) fn step(
        &mut self,
        without: Without,
        log: &BTreeMap<(Topic, u16), Vec<Vec<u8>>>,
        library: &Library,
    ) -> Result<Option<Vec<Output>>, ProtocolError> {
        fn step<D: Desk>(
            stage: &mut Stage<D>,
            without: Without,
            log: &[Vec<u8>],
            library: &Library,
        ) -> Result<Option<Vec<Output>>, ProtocolError> {
            let offset = stage.next_offset();
            let Some(record) = log.get(usize::try_from(offset).expect("small")) else { return Ok(None) };
            let mut answers = Vec::new();
            let record = rewritten(without, stage.positions(), record);
            stage.step(offset, Millis::MAX, &record, library, &mut answers)?;
            Ok(Some(answers))
        }
        let input = log.get(&self.input()).map_or(&[][..], Vec::as_slice);
        match self {
            Self::Shopper(stage, _) => step(stage, without, input, library),
            Self::Code(stage, _) => step(stage, without, input, library),
            Self::Campaign(stage, _) => step(stage, without, input, library),
        }
    }
}

pub(super) fn stage<D: Desk + Default>(partition: u16, partitions: Partitions) -> Box<Stage<D>> {
    let log = ids::digest128(&["test", D::TOPIC.as_str()]);
    Box::new(Stage::new(StageOptions::default(), D::default(), log, partition, partitions))
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
    pub(super) fn new(case: &Case, name: &str, cuts: &[usize], scans: u16, without: Without) -> Self {
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
        let mut stages: Vec<AnyStage> = (0..scans).map(|p| AnyStage::Shopper(stage(p, partitions), p)).collect();
        stages.push(AnyStage::Code(stage(0, partitions), 0));
        stages.push(AnyStage::Campaign(stage(0, partitions), 0));
        let actors = stages.into_iter().map(|now| Actor { kept: vec![now.clone()], now, last: None }).collect();
        let url = format!("file:{name}?mode=memory&cache=shared");
        let anchor = rusqlite::Connection::open(&url).expect("a database in memory");
        create(&anchor, Origin::Service).expect("tables");
        let mut world =
            Self { library, partitions, log, actors, url, anchor, ledgers: Vec::new(), without, lost: false };
        world.ledgers.push(world.ledger());
        world
    }

    /// Changes the database behind the ledger's back.
    pub(super) fn disturb(&self, sql: &str) {
        self.anchor.execute_batch(sql).expect("the database in memory");
    }

    pub(super) fn ledger(&self) -> Writer {
        let db = rusqlite::Connection::open(&self.url).expect("the database in memory");
        Writer::over(db, Durability::Rebuild, [0]).expect("a ledger")
    }

    fn append(&mut self, output: Output) {
        assert!(output.partition < self.partitions.of(output.topic));
        self.log.entry((output.topic, output.partition)).or_default().push(output.record);
    }

    pub(super) fn step(&mut self, actor: usize, records: usize) -> Result<(), LedgerError> {
        for _ in 0..records {
            let Some(answers) = self.actors[actor].now.step(self.without, &self.log, &self.library)? else { break };
            self.actors[actor].last = answers.last().cloned();
            answers.into_iter().for_each(|answer| self.append(answer));
        }
        Ok(())
    }

    pub(super) fn read_facts(&mut self, ledger: usize, records: usize) -> Result<bool, LedgerError> {
        let facts = self.log.get(&(Topic::Facts, 0)).map_or(&[][..], Vec::as_slice);
        for i in 0..records {
            let offset = self.ledgers[ledger].next_offset(0);
            let Some(record) = facts.get(usize::try_from(offset).expect("small")) else { return Ok(i > 0) };
            let record = rewritten(self.without, self.ledgers[ledger].positions(0), record);
            self.ledgers[ledger].apply(0, offset, &record)?;
        }
        Ok(records > 0)
    }

    pub(super) fn act(&mut self, op: Op) -> Result<(), LedgerError> {
        let actors = self.actors.len();
        match op {
            Op::Step { actor, records } => self.step(actor % actors, records)?,
            Op::Keep { actor } => {
                let actor = &mut self.actors[actor % actors];
                actor.kept.push(actor.now.clone());
            }
            Op::Crash { actor, answers, kept } => {
                let at = actor % actors;
                let written = self.actors[at].now.step(self.without, &self.log, &self.library)?.unwrap_or_default();
                written.into_iter().take(answers).for_each(|answer| self.append(answer));
                let actor = &mut self.actors[at];
                actor.now = actor.kept[kept % actor.kept.len()].clone();
            }
            Op::Zombie { actor, records } => {
                let mut zombie = self.actors[actor % actors].now.clone();
                for _ in 0..records {
                    // A zombie may stop; its error is ignored.
                    let Ok(Some(answers)) = zombie.step(self.without, &self.log, &self.library) else { break };
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
                if let Some(answers) = self.actors[at].now.step(self.without, &self.log, &self.library)? {
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
                    Ok(()) | Err(LedgerError::Moved { .. }) => {}
                    Err(other) => return Err(other),
                }
                // The next writer goes on from the last commit of either.
                self.ledgers[0] = self.ledger();
            }
        }
        Ok(())
    }

    /// Lets everything come to rest and says what the ledger holds.
    pub(super) fn settle(mut self, tables: &[Table]) -> Result<String, LedgerError> {
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
        let mut ledger = Ledger::over(rusqlite::Connection::open(&self.url)?);
        for &table in tables {
            ledger.export(table, Format::Csv, &mut text)?;
        }
        Ok(String::from_utf8(text).expect("UTF-8"))
    }
}

/// Every database in memory needs a name of its own.
pub(super) fn unique() -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    format!("ledger-{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}
