//! Partitions move between writers while facts arrive.

use ledger::error::LedgerError;
use ledger::reader::Ledger;
use ledger::url::LedgerUrl;
use ledger::writer::Writer;
use testkit::postgres::Postgres;

use crate::traffic::{Facts, PARTITIONS, Rng, facts};

const WRITERS: usize = 3;

/// One step of one writer, as its member of a consumer group does it.
fn step(writer: &mut Writer, facts: &Facts, rng: &mut Rng) {
    let facts_of = |rng: &mut Rng| u16::try_from(rng.below(usize::from(PARTITIONS.facts))).expect("small");
    match rng.below(10) {
        0 => writer.adopt(facts_of(rng)).expect("the database is there"),
        1 => writer.release(facts_of(rng)),
        2..7 => {
            let own: Vec<u16> = writer.partitions().collect();
            for partition in own {
                facts.add(writer, partition, rng.below(3));
            }
        }
        _ => commit(writer),
    }
}

/// Commits; releases partitions that another writer has continued.
fn commit(writer: &mut Writer) {
    loop {
        match writer.commit() {
            Ok(()) => return,
            Err(LedgerError::Moved { facts }) => writer.release(facts),
            Err(error) if error.is_passing() => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn finish(url: &LedgerUrl, facts: &Facts) {
    let mut last = Writer::open(url, 0..PARTITIONS.facts).expect("a ledger");
    facts.add_all(&mut last, 5);
    assert_eq!(facts.everything(url), facts.undisturbed());
}

#[test]
fn partitions_move_in_turns_on_both_databases() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut urls = vec![LedgerUrl::file(&dir.path().join("ledger.sqlite"))];
    urls.extend(Postgres::shared().map(|p| p.create_database("moving").parse().expect("a URL")));
    let facts = facts(5, 400);
    for url in urls {
        let mut rng = Rng::new(5);
        let mut writers: Vec<Writer> = (0..WRITERS).map(|_| Writer::open(&url, []).expect("a ledger")).collect();
        for _ in 0..400 {
            let at = rng.below(WRITERS);
            step(&mut writers[at], &facts, &mut rng);
        }
        let written: u64 =
            Ledger::open(&url).expect("a ledger").progress().expect("the progress").iter().map(|p| p.1).sum();
        assert!(written > 50, "the writers committed only {written} records");
        drop(writers);
        finish(&url, &facts);
    }
}

#[test]
fn partitions_move_between_concurrent_writers() {
    let Some(postgres) = Postgres::shared() else { return };
    let facts = facts(6, 600);
    let url: LedgerUrl = postgres.create_database("moving_at_once").parse().expect("a URL");
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (url, facts) = (&url, &facts);
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                let mut writer = Writer::open(url, []).expect("a ledger");
                for _ in 0..300 {
                    step(&mut writer, facts, &mut rng);
                }
            });
        }
    });
    finish(&url, &facts);
    // The writers share rows of answers, and lock them in one order.
    let rings = postgres.sql("postgres", "SELECT deadlocks FROM pg_stat_database WHERE datname = 'moving_at_once'");
    assert_eq!(rings, "0", "no deadlock");
}
