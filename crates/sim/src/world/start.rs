//! The start of a world.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use domain::model::address::Topic;
use domain::model::rules::RulesSeq;
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::protocol::stage::{BEHAVIOUR, Marker, marker_record};
use eventlog::api::Append;
use wire::event::Merchants;
use wire::rules::Reference;
use worker::snapshot::Snapshots;

use super::World;
use super::ledgers::Ledgers;
use super::logs::Logs;
use super::plan::Plan;
use super::queues::Queues;
use crate::SEGMENT_SIZES;
use crate::alarm::Alarm;
use crate::bundles::Bundler;
use crate::clients::Clients;
use crate::edge::Edge;
use crate::generate::rng::Rng;
use crate::generate::{Case, generate};
use crate::safeguards::Without;
use crate::safeguards::records::are_rewritten;
use crate::safeguards::unsynced_states::snapshot_files;
use crate::trace::Trace;

pub(super) const SNAPSHOTS: &str = "data/snapshots";

impl World {
    /// The world of a seed, with published rules and no events.
    ///
    /// # Errors
    /// The log or the ledger cannot be created.
    pub(crate) fn new(seed: u64, without: Without, keeps_lines: bool) -> Result<(Self, Case), Alarm> {
        let mut rng = Rng::new(seed ^ 0x51D);
        let plan = Plan::draw(&mut rng);
        let case = generate(seed, plan.events);
        Ok((Self::of(seed, &case, (plan, rng), without, keeps_lines)?, case))
    }

    pub(super) fn of(
        seed: u64,
        case: &Case,
        (plan, mut rng): (Plan, Rng),
        without: Without,
        keeps_lines: bool,
    ) -> Result<Self, Alarm> {
        let library = library(case);
        let merchants = Merchants::new(library.values().map(|b| (b.rules.merchant.clone(), b.rules.currency.clone())));
        // Lines mark the scans that are keyless.
        let merchants = merchants.with_dump_lines();
        let clients = Clients::new(&case.lines, &merchants, &mut rng);
        let now = clients.lines().first().map_or(0, |l| l.at);
        let logs = Logs::new(&plan, u128::from(seed) + 1)?;
        let snapshots =
            Snapshots::new(snapshot_files(without, &logs.disk), Path::new(SNAPSHOTS)).with_sizes(SEGMENT_SIZES);
        let ledgers = Ledgers::new(&logs, plan.partitions.facts, without)?;
        let mut world = Self {
            trace: Trace::new(keeps_lines),
            merchants,
            now,
            log_skew: 0,
            queues: Queues::default(),
            bundler: Bundler::new(seed, are_rewritten(without)),
            edges: Vec::new(),
            clients,
            tasks: Vec::new(),
            zombies: Vec::new(),
            ledgers,
            kills_left: 0,
            retired: 0,
            snapshots,
            logs,
            library,
            without,
            plan,
            rng,
        };
        world.trace.note("world", format_args!("{:?}", world.plan));
        world.publish()?;
        world.begin()?;
        Ok(world)
    }

    /// The rules' markers, downstream first.
    fn publish(&mut self) -> Result<(), Alarm> {
        let markers: Vec<Append> = self.markers();
        let now = self.log_now();
        self.logs.append(&markers, now)?;
        self.logs.copy()
    }

    pub(super) fn markers(&self) -> Vec<Append> {
        let partitions = self.plan.partitions;
        let mut markers = Vec::new();
        for book in self.library.values() {
            let merchant = &book.rules.merchant;
            let marker = Marker { merchant, seq: book.seq, sha256: book.sha256, behaviour: BEHAVIOUR };
            for topic in [Topic::Awards, Topic::Draws, Topic::Scans] {
                let records = (0..partitions.of(topic)).map(|partition| (partition, marker_record(&marker)));
                markers.extend(records.map(|(partition, record)| Append { topic, partition, record }));
            }
        }
        markers
    }

    fn begin(&mut self) -> Result<(), Alarm> {
        let last = self.event_clock();
        for _ in 0..self.plan.edges {
            let mut edge = Edge::new(self.queues.producer(), last);
            edge.skew = self.some_skew();
            self.edges.push(edge);
        }
        for topic in [Topic::Scans, Topic::Draws, Topic::Awards] {
            for partition in 0..self.plan.partitions.of(topic) {
                let task = self.open_task(topic, partition)?;
                self.tasks.push(task);
            }
        }
        Ok(())
    }

    pub(super) fn some_skew(&mut self) -> i64 {
        let most = self.plan.skew_ms;
        if self.rng.percent(30) { 0 } else { self.rng.range(-most, most + 1) }
    }
}

/// The rulebooks of a case, numbered from 1.
pub(crate) fn library(case: &Case) -> Library {
    let files: BTreeMap<&str, &str> = case.files.iter().map(|(name, content)| (&**name, &**content)).collect();
    let mut open = |reference: Reference<'_>| {
        let name = match reference {
            Reference::Register(name) => name,
            Reference::Secret(path) => path.strip_prefix("file:").expect("a file"),
        };
        files.get(name).map(|content| content.as_bytes().to_vec()).ok_or_else(|| "is not there".to_owned())
    };
    let book = |(seq, name): (RulesSeq, &String)| {
        let checked = wire::rules::read(name, files[&**name], &mut open).expect("the generator makes valid rules");
        let sha256 = wire::rules::version(&wire::rules::object(&checked.rules));
        (seq, Arc::new(Rulebook::new(checked.rules, seq, sha256, &checked.secrets).expect("valid rules")))
    };
    (1..).map(RulesSeq).zip(&case.rules_files).map(book).collect()
}
