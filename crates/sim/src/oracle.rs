//! What must be true at the end: every export is what the naive model says of the log's own order, nothing that was
//! acknowledged is lost, nothing comes from nowhere, no prize is given twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use domain::model::rules::{Campaign, version_text};
use ledger::export::Table;

use crate::alarm::{Alarm, hold};
use crate::generate::Case;
use crate::naive;
use crate::world::World;

const TABLES: [(Table, &str); 7] = [
    (Table::Postings, "postings"),
    (Table::Orders, "orders"),
    (Table::Members, "members"),
    (Table::Awards, "awards"),
    (Table::Counters, "counters"),
    (Table::Funnels, "funnels"),
    (Table::Codes, "codes"),
];

/// Checks a world that came to rest.
///
/// # Errors
/// What does not hold.
pub fn check(world: &mut World, case: &Case) -> Result<(), Alarm> {
    let lines = dumped(world)?;
    let wanted = model(world, case, &lines)?;
    for (table, name) in TABLES {
        let found = world.ledgers.export(table)?;
        world.trace.bytes(found.as_bytes());
        let (found, wanted) = (comparable(world, name, &found), comparable(world, name, &wanted.tables[name]));
        hold(found == wanted, || difference(name, &found, &wanted))?;
    }
    prizes(world)
}

/// The log's events in its own order, as lines; whoever was acknowledged is among them.
fn dumped(world: &World) -> Result<Vec<String>, Alarm> {
    let sent: BTreeMap<u128, usize> =
        world.clients.lines().iter().enumerate().filter_map(|(at, line)| line.key.map(|key| (key, at))).collect();
    let mut logged = BTreeSet::new();
    let mut lines = Vec::new();
    for event in world.logs.events() {
        let line = sent.get(&event.key).copied();
        let line = line.ok_or_else(|| Alarm::Broken(format!("nobody sent what {event:?} says")))?;
        lines.push(world.clients.dumped(line, event.received, event.partition, event.offset));
        logged.insert(event.key);
    }
    for key in world.clients.acked() {
        hold(logged.contains(&key), || format!("an acknowledged event, key {key:032x}, is not in the log"))?;
    }
    for edge in &world.edges {
        hold(edge.received == edge.accepted + edge.refused, || format!("an event has no outcome: {edge:?}"))?;
    }
    Ok(lines)
}

fn model(world: &World, case: &Case, lines: &[String]) -> Result<naive::Outcome, Alarm> {
    let broken = |e: std::io::Error| Alarm::Broken(e.to_string());
    let dir = tempfile::tempdir().map_err(broken)?;
    for (name, content) in &case.files {
        let path = dir.path().join(name);
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(broken)?;
        std::fs::write(path, content).map_err(broken)?;
    }
    let books = world.library.values();
    let versions = books.map(|b| (b.rules.merchant.clone(), version_text(&b.sha256))).collect();
    let files: Vec<PathBuf> = case.rules_files.iter().map(PathBuf::from).collect();
    Ok(naive::run(dir.path(), &files, &versions, lines))
}

/// What of a table the order of `scans` alone decides. Where shoppers or codes are spread over partitions, races between
/// them are decided on the way: who came first to a code, and who won.
fn comparable(world: &World, name: &str, table: &str) -> String {
    if world.plan.is_one_road() {
        return table.to_owned();
    }
    let keep = |line: &str| match name {
        "awards" => None,
        "counters" if line.contains(",wins,") || line.contains(",prize_cash,") => None,
        "codes" if world.plan.partitions.scans > 1 => {
            // Kind and scans are everybody's; when and where it was first is the race.
            Some(line.splitn(5, ',').take(4).collect::<Vec<_>>().join(","))
        }
        _ => Some(line.to_owned()),
    };
    table.lines().filter_map(keep).map(|line| line + "\n").collect()
}

fn difference(name: &str, found: &str, wanted: &str) -> String {
    let mut text = format!("{name} differs from the model:");
    for line in wanted.lines().filter(|l| !found.lines().any(|f| f == *l)).take(6) {
        let _ = write!(text, "\n  missing: {line}");
    }
    for line in found.lines().filter(|l| !wanted.lines().any(|w| w == *l)).take(6) {
        let _ = write!(text, "\n  too much: {line}");
    }
    text
}

/// Stock, budget and wins are never exceeded, and an item code is drawn for once.
fn prizes(world: &World) -> Result<(), Alarm> {
    let campaigns = world
        .library
        .values()
        .flat_map(|b| b.rules.campaigns.iter().map(|c| ((b.rules.merchant.clone(), c.id.clone()), c)));
    let campaigns: BTreeMap<(String, String), &Campaign> = campaigns.collect();
    let (mut given, mut cash): (BTreeMap<_, u64>, BTreeMap<_, i64>) = Default::default();
    let (mut wins, mut items): (BTreeMap<_, u32>, BTreeSet<_>) = Default::default();
    let text = world.ledgers.export(Table::Awards)?;
    for row in csv::Reader::from_reader(text.as_bytes()).records() {
        let row = row.map_err(|e| Alarm::Broken(e.to_string()))?;
        let campaign = (row[0].to_owned(), row[1].to_owned());
        let (code, shopper, awarded) = (row[3].to_owned(), row[4].to_owned(), row[8].to_owned());
        if code.contains(':') {
            hold(items.insert((campaign.clone(), code)), || format!("drawn for twice: {row:?}"))?;
        }
        if awarded != "thanks" {
            let amount = if &row[9] == "cash" { row[10].parse().unwrap_or(0) } else { 0 };
            *cash.entry(campaign.clone()).or_default() += amount;
            *wins.entry((campaign.clone(), shopper)).or_default() += 1;
            *given.entry((campaign, awarded)).or_default() += 1;
        }
    }
    for ((campaign, prize), n) in given {
        let stock = campaigns[&campaign].prizes.iter().find(|p| p.id == prize).and_then(|p| p.stock);
        hold(stock.is_none_or(|stock| n <= stock), || {
            format!("{campaign:?} gave {n} of {prize}, there were {stock:?}")
        })?;
    }
    for (campaign, spent) in cash {
        let budget = campaigns[&campaign].budget;
        hold(budget.is_none_or(|b| spent <= b), || format!("{campaign:?} spent {spent} of {budget:?}"))?;
    }
    for ((campaign, shopper), n) in wins {
        let limit = campaigns[&campaign].limit_wins;
        hold(limit.is_none_or(|l| n <= l), || {
            format!("{shopper} won {n} times in {campaign:?}, {limit:?} are allowed")
        })?;
    }
    Ok(())
}
