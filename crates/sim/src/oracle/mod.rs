//! The checks at the end of a run: every export and every result of a scan equals that of the naive model on the log's own
//! order, no acknowledged event is lost, every event was sent by a client, no prize is given twice.
//!
//! - [`results`]: the results of scans

mod results;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use domain::model::address::Partitions;
use domain::model::rules::rulebook::Rulebook;
use domain::model::rules::{Campaign, Mode, Prize, RulesSeq, version_text};
use domain::model::time::Millis;
use jiff::tz::TimeZone;
use ledger::export::Table;

use self::results::Facts;
use crate::alarm::{Alarm, hold};
use crate::clients::Clients;
use crate::database::Database;
use crate::edge::Edge;
use crate::generate::Case;
use crate::naive;

const TABLES: [(Table, &str); 7] = [
    (Table::Postings, "postings"),
    (Table::Orders, "orders"),
    (Table::Members, "members"),
    (Table::Awards, "awards"),
    (Table::Counters, "counters"),
    (Table::Funnels, "funnels"),
    (Table::Codes, "codes"),
];

/// An event in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Logged {
    pub received: Millis,
    pub partition: u16,
    pub offset: u64,
    pub at: usize,
    pub key: u128,
}

/// What a run leaves for the checks.
pub(crate) struct Evidence<'a> {
    pub case: &'a Case,
    pub clients: &'a Clients,
    pub edges: Vec<&'a Edge>,
    pub partitions: Partitions,
    /// The events of the log in its own order, each with the number of the rules that are in force for it.
    pub events: Vec<(Logged, RulesSeq)>,
    /// By version number, each with its file.
    pub rulebooks: BTreeMap<RulesSeq, (Arc<Rulebook>, PathBuf)>,
    /// The ledger's tables, exported.
    pub tables: BTreeMap<&'static str, String>,
    /// The ledger, for readers of results.
    pub database: &'a Database,
    /// All records of `facts`, including removed ones.
    pub facts: Vec<&'a [u8]>,
}

/// Every table of a ledger, by name.
///
/// # Errors
/// The database refuses.
pub(crate) fn tables(export: impl Fn(Table) -> Result<String, Alarm>) -> Result<BTreeMap<&'static str, String>, Alarm> {
    TABLES.into_iter().map(|(table, name)| Ok((name, export(table)?))).collect()
}

/// Checks a world at rest. Returns how many results of each kind it compared.
///
/// # Errors
/// The first check that fails.
pub(crate) fn check(evidence: &Evidence<'_>) -> Result<BTreeMap<&'static str, u64>, Alarm> {
    evidence.acknowledged()?;
    let wanted = evidence.compare(&TABLES.map(|(_, name)| name))?;
    evidence.prizes()?;
    evidence.results(&Facts::of(&evidence.facts)?, &wanted.results)
}

impl Evidence<'_> {
    /// Every acknowledged event is in the log, and every event that reached an edge has an outcome.
    fn acknowledged(&self) -> Result<(), Alarm> {
        let logged: BTreeSet<u128> = self.events.iter().map(|(event, _)| event.key).collect();
        for key in self.clients.acked() {
            hold(logged.contains(&key), || format!("an acknowledged event, key {key:032x}, is not in the log"))?;
        }
        for edge in &self.edges {
            hold(edge.received == edge.accepted + edge.refused, || format!("an event has no outcome: {edge:?}"))?;
        }
        Ok(())
    }

    /// Compares tables with those of the model, which is returned.
    ///
    /// # Errors
    /// The first table that differs.
    pub(crate) fn compare(&self, names: &[&str]) -> Result<naive::Outcome, Alarm> {
        let model = self.model()?;
        for name in names {
            let (found, wanted) =
                (self.comparable(name, &self.tables[name]), self.comparable(name, &model.tables[name]));
            hold(found == wanted, || difference(name, &found, &wanted))?;
        }
        Ok(model)
    }

    /// The log's events, as lines of a dump.
    fn lines(&self) -> Result<Vec<String>, Alarm> {
        let lines = self.clients.lines().iter().enumerate();
        let sent: BTreeMap<u128, usize> = lines.filter_map(|(at, line)| line.key.map(|key| (key, at))).collect();
        let line = |(event, _): &(Logged, RulesSeq)| {
            let line = sent.get(&event.key).copied();
            let line = line.ok_or_else(|| Alarm::Broken(format!("no client sent the event {event:?}")))?;
            Ok(self.clients.dumped(line, event.received, event.partition, event.offset))
        };
        self.events.iter().map(line).collect()
    }

    fn model(&self) -> Result<naive::Outcome, Alarm> {
        let broken = |e: std::io::Error| Alarm::Broken(e.to_string());
        let lines = self.lines()?;
        let dir = tempfile::tempdir().map_err(broken)?;
        for (name, content) in &self.case.files {
            let path = dir.path().join(name);
            path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(broken)?;
            std::fs::write(path, content).map_err(broken)?;
        }
        let index: BTreeMap<RulesSeq, usize> = self.rulebooks.keys().copied().zip(0..).collect();
        let rulebooks: Vec<(PathBuf, String)> =
            self.rulebooks.values().map(|(book, file)| (file.clone(), version_text(&book.sha256))).collect();
        let ruled = lines.iter().zip(&self.events).map(|(line, (_, seq))| (line.as_str(), index.get(seq).copied()));
        Ok(naive::run_published(dir.path(), &rulebooks, ruled))
    }

    fn is_one_path(&self) -> bool {
        let Partitions { scans, draws, awards, .. } = self.partitions;
        (scans, draws, awards) == (1, 1, 1)
    }

    /// The part of a table that the order of `scans` alone decides. If there are several partitions, the order of frames in
    /// other topics decides some races: who claimed a code first, and who won.
    fn comparable(&self, name: &str, table: &str) -> String {
        if self.is_one_path() {
            return table.to_owned();
        }
        let keep = |line: &str| match name {
            "awards" => None,
            "counters" if line.contains(",wins,") || line.contains(",prize_cash,") => None,
            "codes" if self.partitions.scans > 1 => {
                // Kind and number of scans do not depend on the order; time and region of the first scan do.
                Some(line.splitn(5, ',').take(4).collect::<Vec<_>>().join(","))
            }
            _ => Some(line.to_owned()),
        };
        table.lines().filter_map(keep).map(|line| line + "\n").collect()
    }

    /// Stock, budget and limits of wins are never exceeded, those of a day neither, and an item code draws once.
    fn prizes(&self) -> Result<(), Alarm> {
        let rulebooks = self.rulebooks.values().map(|(book, _)| book);
        let campaigns = rulebooks.flat_map(|b| {
            let zone = TimeZone::get(&b.rules.time_zone).expect("a zone of the rules");
            b.rules.campaigns.iter().map(move |c| ((b.rules.merchant.clone(), c.id.clone()), (c, zone.clone())))
        });
        let campaigns: BTreeMap<(String, String), (&Campaign, TimeZone)> = campaigns.collect();
        // With a day, and over all days.
        let (mut given, mut cash): (BTreeMap<_, u64>, BTreeMap<_, i64>) = Default::default();
        let (mut wins, mut items): (BTreeMap<_, u32>, BTreeSet<_>) = Default::default();
        for row in csv::Reader::from_reader(self.tables["awards"].as_bytes()).records() {
            let row = row.map_err(|e| Alarm::Broken(e.to_string()))?;
            let campaign = (row[0].to_owned(), row[1].to_owned());
            let (code, shopper, awarded) = (row[3].to_owned(), row[4].to_owned(), row[8].to_owned());
            if code.contains(':') {
                hold(items.insert((campaign.clone(), code)), || format!("an item code draws twice: {row:?}"))?;
            }
            if awarded != "thanks" {
                let time: jiff::Timestamp = row[6].parse().map_err(|e| Alarm::Broken(format!("{e}: {row:?}")))?;
                let day = campaigns[&campaign].1.to_datetime(time).date().to_string();
                let amount = if &row[9] == "cash" { row[10].parse().unwrap_or(0) } else { 0 };
                for day in [None, Some(day)] {
                    *cash.entry((campaign.clone(), day.clone())).or_default() += amount;
                    *given.entry((campaign.clone(), awarded.clone(), day)).or_default() += 1;
                }
                *wins.entry((campaign, shopper)).or_default() += 1;
            }
        }
        for ((campaign, prize, day), n) in given {
            let of = campaigns[&campaign].0;
            let stock = of.prizes.iter().find(|p| p.id == prize);
            let stock = stock.and_then(|p| if day.is_some() { p.stock_day } else { stock_of(of, p) });
            hold(stock.is_none_or(|stock| n <= stock), || {
                format!("{campaign:?} granted {n} of {prize}, the stock is {stock:?}, the day {day:?}")
            })?;
        }
        for ((campaign, day), spent) in cash {
            let of = campaigns[&campaign].0;
            let budget = if day.is_some() { of.budget_day } else { of.budget };
            hold(budget.is_none_or(|b| spent <= b), || format!("{campaign:?} spent {spent} of {budget:?}, {day:?}"))?;
        }
        for ((campaign, shopper), n) in wins {
            let limit = campaigns[&campaign].0.limit_wins;
            hold(limit.is_none_or(|l| n <= l), || {
                format!("{shopper} won {n} times in {campaign:?}, the limit is {limit:?}")
            })?;
        }
        Ok(())
    }
}

/// A prize's stock, with its default: the count, unless it is what is granted instead of another.
fn stock_of(campaign: &Campaign, prize: &Prize) -> Option<u64> {
    let is_otherwise = campaign.prizes.iter().any(|p| p.otherwise.as_deref() == Some(&*prize.id));
    let count = if campaign.mode == Mode::Odds || is_otherwise { None } else { prize.count };
    prize.stock.or(count)
}

fn difference(name: &str, found: &str, wanted: &str) -> String {
    let mut text = format!("{name} differs from the model:");
    for line in wanted.lines().filter(|l| !found.lines().any(|f| f == *l)).take(6) {
        let _ = write!(text, "\n  missing: {line}");
    }
    for line in found.lines().filter(|l| !wanted.lines().any(|w| w == *l)).take(6) {
        let _ = write!(text, "\n  unexpected: {line}");
    }
    text
}
