//! How fast each database writes counters, side by side; figures, not a test. Run it alone:
//! `cargo test --release -p ledger --test it speed -- --ignored --nocapture`

use std::time::Instant;

use domain::model::fact::{Fact, Metric, Scope, What};
use ledger::export::{Format, Table};
use ledger::reader::Ledger;
use ledger::url::LedgerUrl;
use ledger::writer::Writer;
use testkit::postgres::{Postgres, Wanted};

use crate::traffic::{PARTITIONS, apply, facts};

/// Number of rows of one commit: the most that one second brings.
const ROWS: usize = 200_000;
const COMMITS: i64 = 4;
const RECORD_FACTS: usize = 500;

#[test]
#[ignore = "figures of this machine"]
fn counters_a_second() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(postgres) = Postgres::start(Wanted::default()) else { return };
    let urls = [
        ("SQLite", LedgerUrl::file(&dir.path().join("ledger.sqlite"))),
        ("Postgres", postgres.create_database("speed").parse().expect("a URL")),
    ];
    for (name, url) in urls {
        let mut writer = Writer::open(&url, [0]).expect("a ledger");
        for round in 1..=COMMITS {
            add(&mut writer, round);
            let began = Instant::now();
            writer.commit().expect("written");
            let ms = began.elapsed().as_millis();
            let what = if round == 1 { "new" } else { "known" };
            println!("{name}: {ROWS} {what} counters in {ms} ms, {} a second", ROWS as u128 * 1000 / ms.max(1));
        }
        let began = Instant::now();
        let mut ledger = Ledger::open(&url).expect("a ledger");
        ledger.export(Table::Counters, Format::Csv, &mut std::io::sink()).expect("exported");
        println!("{name}: exported in {} ms", began.elapsed().as_millis());
    }
}

/// Generated events of all kinds, with a commit for each few thousand facts, and the size of a row of each table.
#[test]
#[ignore = "figures of this machine"]
fn facts_a_second() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(postgres) = Postgres::start(Wanted::default()) else { return };
    let facts = facts(1, 30_000);
    let urls = [
        ("SQLite", LedgerUrl::file(&dir.path().join("ledger.sqlite"))),
        ("Postgres", postgres.create_database("facts").parse().expect("a URL")),
    ];
    for (name, url) in urls {
        let mut writer = Writer::open(&url, 0..PARTITIONS.facts).expect("a ledger");
        let (mut taken, mut ms) = (0, 0);
        loop {
            let partitions: Vec<u16> = writer.partitions().collect();
            let records: usize = partitions.iter().map(|&p| facts.add(&mut writer, p, 1_000)).sum();
            if records == 0 {
                break;
            }
            taken += writer.pending();
            let began = Instant::now();
            writer.commit().expect("written");
            ms += began.elapsed().as_millis();
        }
        println!("{name}: {taken} facts in {ms} ms, {} a second", taken as u128 * 1000 / ms.max(1));
    }
    let sql = "ANALYZE; SELECT relname, reltuples::bigint, pg_total_relation_size(oid) / greatest(reltuples, 1)::bigint
      FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples > 0 ORDER BY relname";
    println!("table|rows|bytes a row, indexes too\n{}", postgres.sql("facts", sql));
}

fn add(writer: &mut Writer, round: i64) {
    let keys: Vec<String> = (0..ROWS / 4).map(|store| format!("store-{store:08}")).collect();
    let metrics = [Metric::Scans, Metric::Visits, Metric::Orders, Metric::Gmv];
    let facts: Vec<Fact<'_>> = keys
        .iter()
        .flat_map(|key| {
            metrics.map(|metric| Fact {
                merchant: "acme",
                what: What::Count { scope: Scope::Store, key, day: 20_000, metric, delta: round },
            })
        })
        .collect();
    for facts in facts.chunks(RECORD_FACTS) {
        apply(writer, 0, 1, facts);
    }
}
