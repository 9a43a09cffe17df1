//! Both databases hold the same tables.

use ledger::url::LedgerUrl;
use ledger::writer::Writer;
use testkit::postgres::Postgres;

use crate::traffic::{Facts, PARTITIONS, facts};

const EVENTS: usize = 400;

/// Writes all facts into a Postgres database with one writer.
fn written(postgres: &Postgres, name: &str, facts: &Facts, step: usize) -> LedgerUrl {
    let url = postgres.create_database(name).parse().expect("a URL");
    let mut writer = Writer::open(&url, 0..PARTITIONS.facts).expect("a ledger");
    facts.add_all(&mut writer, step);
    writer.close().expect("closed");
    url
}

#[test]
fn both_databases_give_the_same_bytes() {
    let Some(postgres) = Postgres::shared() else { return };
    for seed in 0..8 {
        let facts = facts(seed, EVENTS);
        let url = written(postgres, &format!("same_{seed}"), &facts, 3 + usize::try_from(seed).expect("small"));
        let (found, wanted) = (facts.everything(&url), facts.undisturbed());
        assert!(wanted.lines().count() > EVENTS, "there are lines to compare");
        assert_eq!(found, wanted, "seed {seed}");
    }
}
